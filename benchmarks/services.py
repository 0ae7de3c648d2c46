"""What contenders run against: databases of their own, and an Ultravox in a process of its own."""

import contextlib
import os
import shutil
import socket
import sqlite3
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg
from psycopg import sql

from benchmarks.floor import API_KEY

ROOT = Path(__file__).resolve().parent.parent
SERVICE_KEY = "service-key-of-the-benchmarks"
ENVIRONMENT = {
    "DJANGO_SECRET_KEY": "the-secret-key-of-the-benchmarks-0123456789-abcdefghijklmnop",
    "DJANGO_DEBUG": "false",
    "DJANGO_ALLOWED_HOSTS": "127.0.0.1",
    "DJANGO_LOG_LEVEL": "WARNING",
    "CREDENTIALS_KEYS": "YmVuY2htYXJrLWJlbmNobWFyay1iZW5jaG1hcmstMDA=",
    "SERVICE_API_KEYS": SERVICE_KEY,
    "RATE_LIMIT_SYNC": "100000/min",
}
EMAIL, PASSWORD = "user@example.com", "a password of the benchmarks"
SEED = f"""
from agencies.models import Agency, User
agency = Agency.objects.create(name="Agency", ultravox_api_key={API_KEY!r})
User.objects.create_user({EMAIL!r}, {PASSWORD!r}, agency=agency)
"""


def environment(database: str, sandbox: str) -> dict[str, str]:
    """Return the variables of a process on this database, with the sandbox as Ultravox."""
    ours = ENVIRONMENT | {"DATABASE_URL": database, "ULTRAVOX_API_URL": sandbox}
    others = {name: value for name, value in os.environ.items() if name != "DJANGO_SETTINGS_MODULE"}
    return others | ours | {"DJANGO_SETTINGS_MODULE": "voiceproject.settings"}


def run(arguments: Sequence[str], variables: dict[str, str], folder: Path = ROOT) -> str:
    """Run this Python to its end and return what it printed. Raises RuntimeError where it fails."""
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env=variables,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise RuntimeError(f"{' '.join(arguments)}\n{done.stdout}{done.stderr}")
    return done.stdout


@dataclass(frozen=True)
class Database:
    """A database of the benchmarks' own, by its URL."""

    url: str

    @property
    def is_postgresql(self) -> bool:
        return not self.url.startswith("sqlite")

    def connect(self) -> Any:
        if self.is_postgresql:
            return psycopg.connect(self.url, autocommit=True)
        return sqlite3.connect(
            self.url.removeprefix("sqlite:///"), timeout=20, isolation_level=None
        )

    def rows(self, statement: str) -> list[tuple[Any, ...]]:
        """Return the rows of a statement, [] where it has none."""
        with contextlib.closing(self.connect()) as connection:
            cursor = connection.execute(statement)
            return cursor.fetchall() if cursor.description else []

    def empty(self) -> None:
        """Leave no voices, and no traces of them that slow down whoever comes next."""
        if self.is_postgresql:
            self.rows("TRUNCATE ultravox_voices")
            self.rows("CHECKPOINT")
        else:
            self.rows("DELETE FROM ultravox_voices")
            self.rows("VACUUM")
            self.rows("PRAGMA wal_checkpoint(TRUNCATE)")

    def __str__(self) -> str:
        if self.is_postgresql:
            return f"PostgreSQL {self.rows('SHOW server_version')[0][0].split()[0]}"
        return f"SQLite {sqlite3.sqlite_version}"


class Databases:
    """Makes migrated databases with one agency, and drops them all in the end."""

    def __init__(self, engine: str, server: str, folder: Path) -> None:
        self._engine = engine
        self._server = server.rpartition("/")[0]
        self._folder = folder
        self._made: list[str] = []
        self._template = self._create("template1", None)
        variables = environment(self._template, "http://127.0.0.1:9")
        run(["manage.py", "migrate", "-v", "0"], variables)
        run(["manage.py", "shell", "-v", "0", "-c", SEED], variables)
        if engine == "sqlite":
            Database(self._template).rows("PRAGMA wal_checkpoint(TRUNCATE)")

    def create(self) -> Database:
        """Return a new database."""
        name = self._template.rpartition("/")[2]
        return Database(self._create(name, Path(self._template.removeprefix("sqlite:///"))))

    def _create(self, template: str, file: Path | None) -> str:
        name = f"benchmark_{uuid.uuid4().hex[:12]}"
        if self._engine == "sqlite":
            copy = self._folder / f"{name}.sqlite3"
            if file:
                shutil.copyfile(file, copy)
            return f"sqlite:///{copy}"
        self._execute("CREATE DATABASE {} TEMPLATE {}", name, template)
        self._made.append(name)
        return f"{self._server}/{name}"

    def drop(self) -> None:
        while self._made:
            self._execute("DROP DATABASE IF EXISTS {} WITH (FORCE)", self._made.pop())

    def _execute(self, statement: str, *names: str) -> None:
        with psycopg.connect(f"{self._server}/postgres", autocommit=True) as connection:
            identifiers = map(sql.Identifier, names)
            connection.execute(sql.SQL(statement).format(*identifiers))


@contextlib.contextmanager
def databases(engine: str, server: str, folder: Path) -> Iterator[Databases]:
    made = Databases(engine, server, folder)
    try:
        yield made
    finally:
        made.drop()


class Sandbox:
    """The sandbox's process, with all pages made ahead."""

    def __init__(self, voices: int) -> None:
        self.voices = voices
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.ultravox", str(voices)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        self.url = self._process.stdout.readline().strip()
        if not self.url:
            raise RuntimeError("The sandbox did not start.")

    def set_latency(self, milliseconds: float) -> int:
        """Wait this long before each page from now on, and return how many requests have come."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(milliseconds, file=self._process.stdin, flush=True)
        return int(self._process.stdout.readline())

    def pages_per_second(self) -> float:
        """Read the listing with a client that does not even parse, and return its speed."""
        host = urlsplit(self.url).netloc
        request = "GET {} HTTP/1.1\r\nHost: {}\r\nX-API-Key: {}\r\n\r\n"
        target, pages, began = "/api/voices?pageSize=100&limit=100", 0, time.perf_counter()
        with socket.create_connection(
            (urlsplit(self.url).hostname, urlsplit(self.url).port)
        ) as connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            while target:
                connection.sendall(request.format(target, host, API_KEY).encode())
                body = _read_body(connection)
                pages += 1
                following = body[len(b'{"next":"') : body.index(b",")].strip(b'"').decode()
                target = following.removeprefix(self.url) if following.startswith(self.url) else ""
        return pages / (time.perf_counter() - began)

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(10)


@contextlib.contextmanager
def sandbox(voices: int) -> Iterator[Sandbox]:
    started = Sandbox(voices)
    try:
        yield started
    finally:
        started.stop()


def _read_body(connection: socket.socket) -> bytes:
    data = b""
    while (end := data.find(b"\r\n\r\n") + 4) < 4:
        data += connection.recv(1 << 18)
    length = int(data[:end].partition(b"Content-Length: ")[2].split()[0])
    parts, size = [data[end:]], len(data) - end
    while size < length:
        parts.append(connection.recv(1 << 18))
        size += len(parts[-1])
    return b"".join(parts)


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def wait_for(condition: Any, timeout: float = 120) -> None:
    """Ask again until it is true. Raises TimeoutError."""
    end = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError(str(condition))
        time.sleep(0.05)
