"""A Redis database or a RabbitMQ virtual host for one test.

`TEST_REDIS_URL` needs an empty database between 1 and 15. `TEST_AMQP_URL` needs a server whose `rabbitmqctl`
this user may run. Otherwise the URL's own virtual host is used, and Celery's queue in it is deleted.
"""

import contextlib
import fcntl
import os
import shutil
import socket
import subprocess
import tempfile
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import redis
from kombu.connection import Connection

QUEUE = "celery"


@contextlib.contextmanager
def redis_database() -> Iterator[str]:
    """Yield the URL of an empty Redis database that no other test uses."""
    url = os.environ.get("TEST_REDIS_URL")
    if not url:
        pytest.skip("TEST_REDIS_URL is not set, for example to redis://127.0.0.1:6379/0")
    server = urlsplit(url)._replace(path="").geturl()
    for number in range(1, 16):
        with contextlib.ExitStack() as stack:
            client = stack.enter_context(redis.Redis.from_url(f"{server}/{number}"))
            if _lock(stack, f"redis-{number}") and not client.dbsize():
                stack.callback(client.flushdb)
                yield f"{server}/{number}"
                return
    pytest.skip("None of the databases 1 to 15 of TEST_REDIS_URL is empty")


@contextlib.contextmanager
def rabbitmq_host() -> Iterator[str]:
    """Yield the URL of a RabbitMQ virtual host that no other test uses."""
    url = os.environ.get("TEST_AMQP_URL")
    if not url:
        pytest.skip("TEST_AMQP_URL is not set, for example to amqp://guest:guest@127.0.0.1:5672//")
    parts = urlsplit(url)
    name = f"voices-{uuid.uuid4().hex[:12]}"
    with contextlib.ExitStack() as stack:
        if _rabbitmqctl("add_vhost", name):
            stack.callback(_rabbitmqctl, "delete_vhost", name)
            user = parts.username or "guest"
            assert _rabbitmqctl("set_permissions", "-p", name, user, *[".*"] * 3)
            yield parts._replace(path=f"/{name}").geturl()
        else:
            _lock(stack, "rabbitmq", wait=True)
            _delete_queue(url)
            stack.callback(_delete_queue, url)
            yield url


def _rabbitmqctl(*arguments: str) -> bool:
    """Return whether `rabbitmqctl` exists and the command succeeded."""
    if not (command := shutil.which("rabbitmqctl")):
        return False
    return not subprocess.run([command, *arguments], capture_output=True, check=False).returncode


def _lock(stack: contextlib.ExitStack, name: str, *, wait: bool = False) -> bool:
    """Lock a name among all test processes until the stack closes."""
    file = stack.enter_context((Path(tempfile.gettempdir()) / f"voices-sync-{name}.lock").open("w"))
    try:
        fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        return False
    return True


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
