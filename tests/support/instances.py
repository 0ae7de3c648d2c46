"""PostgreSQL, Redis and RabbitMQ of a test's own, on ports of their own, which it may stop and start."""

import contextlib
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
from pathlib import Path
from typing import Any, Self

import psycopg
import redis

from tests.support.project import free_port, wait_for
from tests.support.tools import find


class Instance:
    """A server, as a process; a context manager."""

    stop_signal = signal.SIGTERM

    def __init__(self, folder: Path) -> None:
        self.folder = folder / type(self).__name__.lower()
        self.folder.mkdir(mode=0o755)
        self.port = free_port()
        self.prepare()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()

    def start(self) -> None:
        with (self.folder / "log").open("a") as log:
            self.process = subprocess.Popen(
                self.command(),
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                cwd="/",
                **self.options(),
            )
        wait_for(self.answers, 60, str(self.folder))

    def stop(self) -> None:
        self.process.send_signal(self.stop_signal)
        self.process.wait(60)

    def answers(self) -> bool:
        try:
            self.connect()
        except (OSError, psycopg.Error, redis.RedisError):
            assert self.process.poll() is None, (self.folder / "log").read_text()
            return False
        return True

    def prepare(self) -> None:
        pass

    def options(self) -> dict[str, Any]:
        return {}

    def command(self) -> list[str]:
        raise NotImplementedError

    def connect(self) -> None:
        """Connect once, and raise what says that it does not answer yet."""
        raise NotImplementedError


class PostgreSQL(Instance):
    stop_signal = signal.SIGINT  # ends sessions, and keeps what was committed

    def prepare(self) -> None:
        self.url = f"postgres://postgres@127.0.0.1:{self.port}/postgres"
        self.user = "postgres" if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name
        self.data = tempfile.mkdtemp()  # pytest's folders are closed to other users
        shutil.chown(self.data, self.user)
        make = ("initdb", "--auth=trust", "--username=postgres", "--no-sync", "-D", self.data)
        subprocess.run(
            [find(make[0], "postgresql"), *make[1:]],
            cwd=self.data,
            check=True,
            stdout=subprocess.DEVNULL,
            **self.options(),
        )

    def __exit__(self, *error: object) -> None:
        super().__exit__(*error)
        shutil.rmtree(self.data)

    def options(self) -> dict[str, Any]:
        return (
            {"user": self.user, "group": self.user, "extra_groups": []} if os.geteuid() == 0 else {}
        )

    def command(self) -> list[str]:
        settings = {
            "port": self.port,
            "listen_addresses": "127.0.0.1",
            "max_connections": 300,
            "unix_socket_directories": "",
            "deadlock_timeout": "200ms",
        }
        options = [
            option for name, value in settings.items() for option in ("-c", f"{name}={value}")
        ]
        return [find("postgres", "postgresql"), "-D", self.data, *options]

    def connect(self) -> None:
        psycopg.connect(self.url, connect_timeout=2).close()


class Redis(Instance):
    def prepare(self) -> None:
        self.url = f"redis://127.0.0.1:{self.port}/0"

    def command(self) -> list[str]:
        options = (
            "--port",
            str(self.port),
            "--bind",
            "127.0.0.1",
            "--appendonly",
            "yes",
            "--save",
            "",
            "--dir",
            str(self.folder),
        )
        return [find("redis-server"), *options]

    def connect(self) -> None:
        with redis.Redis.from_url(self.url) as client:
            client.ping()


class RabbitMQ(Instance):
    def prepare(self) -> None:
        self.url = f"amqp://guest:guest@127.0.0.1:{self.port}//"
        (self.folder / "plugins").write_text("[].")
        self.distribution_port = free_port()

    def options(self) -> dict[str, Any]:
        folder, node = str(self.folder), f"voices-{self.port}@localhost"
        own = {
            "RABBITMQ_NODENAME": node,
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_DIST_PORT": str(self.distribution_port),
            "RABBITMQ_MNESIA_BASE": folder,
            "RABBITMQ_LOG_BASE": folder,
            "HOME": folder,
            "RABBITMQ_ENABLED_PLUGINS_FILE": f"{folder}/plugins",
            "RABBITMQ_CONFIG_FILE": f"{folder}/none",
            "RABBITMQ_PID_FILE": f"{folder}/pid",
        }
        return {"env": os.environ | own, "start_new_session": True}

    def command(self) -> list[str]:
        server = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")  # the one on PATH changes the user
        return [str(server) if server.exists() else find("rabbitmq-server")]

    def stop(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGTERM)
        self.process.wait(60)

    def connect(self) -> None:
        with socket.create_connection(("127.0.0.1", self.port), 2) as connection:
            connection.sendall(b"AMQP\0\0\x09\x01")
            if not connection.recv(8):
                raise OSError("It does not speak yet")
