"""A Redis database or a RabbitMQ virtual host for one test.

`TEST_REDIS_URL` needs an empty database between 1 and 15. `TEST_AMQP_URL` needs a server whose `rabbitmqctl`
this user may run. Otherwise the URL's own virtual host is used, and Celery's queues in it are deleted.
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
from typing import Any
from urllib.parse import unquote, urlsplit

import amqp  # type: ignore[import-untyped]
import pytest
import redis

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
            assert _rabbitmqctl(
                "set_permissions", "-p", name, parts.username or "guest", *[".*"] * 3
            )
            yield parts._replace(path=f"/{name}").geturl()
        else:
            _lock(stack, "rabbitmq", wait=True)
            _clean(url)
            stack.callback(_clean, url)
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


@contextlib.contextmanager
def channel(url: str) -> Iterator[Any]:
    parts = urlsplit(url)
    with amqp.Connection(
        f"{parts.hostname}:{parts.port or 5672}",
        userid=parts.username or "guest",
        password=parts.password or "guest",
        virtual_host=unquote(parts.path[1:]) or "/",
    ) as connection:
        yield connection.channel()


def _clean(url: str) -> None:
    """Delete Celery's queues and exchanges. The 28 pairs are for delayed tasks."""
    with channel(url) as open_channel:
        open_channel.queue_delete(QUEUE)
        for name in [f"celery_delayed_{number}" for number in range(28)]:
            open_channel.queue_delete(name)
            open_channel.exchange_delete(name)
        for name in ("celery_delayed_delivery", QUEUE, "celeryev", "celery.pidbox"):
            open_channel.exchange_delete(name)
        open_channel.exchange_delete("reply.celery.pidbox")


class Relay:
    """A connection to a server that can be cut and restored."""

    def __init__(self, server: tuple[str, int]) -> None:
        self.server = server
        self.port = 0  # chosen by the first restore()
        self.restore()

    def restore(self) -> None:
        self.open: list[socket.socket] = []
        listener = socket.create_server(("127.0.0.1", self.port))
        self.listener, self.port = listener, listener.getsockname()[1]
        threading.Thread(target=self._accept, args=(listener, self.open), daemon=True).start()

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
