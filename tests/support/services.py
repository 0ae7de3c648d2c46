"""Redis and RabbitMQ, each for one test at a time, and connections that can be cut.

Database 15 of `TEST_REDIS_URL` is emptied. Celery's queue in the virtual host of `TEST_AMQP_URL` is deleted.
"""

import contextlib
import fcntl
import os
import socket
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import redis
from kombu.connection import Connection

QUEUE = "celery"


@contextlib.contextmanager
def redis_database() -> Iterator[str]:
    """Yield the URL of an empty Redis database."""
    with _server("TEST_REDIS_URL") as server:
        url = urlsplit(server)._replace(path="/15").geturl()
        with redis.Redis.from_url(url) as client:
            client.flushdb()
            yield url
            client.flushdb()


@contextlib.contextmanager
def rabbitmq_host() -> Iterator[str]:
    """Yield the URL of a RabbitMQ virtual host without Celery's queue."""
    with _server("TEST_AMQP_URL") as url:
        _delete_queue(url)
        yield url
        _delete_queue(url)


@contextlib.contextmanager
def _server(variable: str) -> Iterator[str]:
    """Yield the URL in an environment variable. Wait for other test processes that use it."""
    url = os.environ.get(variable) or pytest.skip(f"{variable} is not set")
    with (Path(tempfile.gettempdir()) / f"voices-sync-{variable}.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield url


def _delete_queue(url: str) -> None:
    with Connection(url) as connection:
        connection.default_channel.queue_delete(QUEUE)


class Relay:
    """A connection to a server that can be cut and restored. `url` leads through it."""

    def __init__(self, url: str, default_port: int) -> None:
        parts = urlsplit(url)
        self.server = (parts.hostname or "", parts.port or default_port)
        self.port = 0  # chosen by the first restore()
        self.restore()
        login, _, _ = parts.netloc.rpartition("@")
        netloc = f"{login}@127.0.0.1:{self.port}".removeprefix("@")
        self.url = parts._replace(netloc=netloc).geturl()

    def restore(self) -> None:
        self.open: list[socket.socket] = []
        self.listener = socket.create_server(("127.0.0.1", self.port))
        self.port = self.listener.getsockname()[1]
        arguments = (self.listener, self.open)
        threading.Thread(target=self._accept, args=arguments, daemon=True).start()

    def cut(self) -> None:
        """Close all connections and refuse new ones."""
        for end in (self.listener, *self.open):
            with contextlib.suppress(OSError):  # closed by its other side
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    def _accept(self, listener: socket.socket, ends: list[socket.socket]) -> None:
        with contextlib.suppress(OSError):  # cut
            while True:
                pair = (listener.accept()[0], socket.create_connection(self.server))
                ends.extend(pair)
                for direction in (pair, pair[::-1]):
                    threading.Thread(target=self._pass_on, args=direction, daemon=True).start()

    @staticmethod
    def _pass_on(source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)
