"""Databases for the benchmarks, and processes that run on them."""

import contextlib
import os
import sqlite3
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import psycopg

from benchmarks.floor import API_KEY

ROOT = Path(__file__).resolve().parent.parent
SERVICE_KEY = "service-key-of-the-benchmarks"
ENVIRONMENT = {
    "DJANGO_SETTINGS_MODULE": "voiceproject.settings",
    "DJANGO_SECRET_KEY": "the-secret-key-of-the-benchmarks-0123456789-abcdefghijklmnop",
    "DJANGO_DEBUG": "false",
    "DJANGO_LOG_LEVEL": "WARNING",
    "CREDENTIALS_KEYS": "YmVuY2htYXJrLWJlbmNobWFyay1iZW5jaG1hcmstMDA=",
    "SERVICE_API_KEYS": SERVICE_KEY,
}
SEED = f"""
from agencies.models import Agency
agency = Agency(name="Agency")
agency.ultravox_api_key = {API_KEY!r}
agency.save()
"""

T = TypeVar("T")


@dataclass(frozen=True)
class Database:
    url: str

    @property
    def is_postgresql(self) -> bool:
        return self.url.startswith("postgres")

    @property
    def version(self) -> str:
        if self.is_postgresql:
            return self.rows("SHOW server_version")[0][0].split()[0]
        return sqlite3.sqlite_version

    def rows(self, *statements: str) -> list[tuple[Any, ...]]:
        """Return the rows of the last statement."""
        connection: Any
        if self.is_postgresql:
            connection = psycopg.connect(self.url, autocommit=True)
        else:
            file = self.url.removeprefix("sqlite:///")
            connection = sqlite3.connect(file, isolation_level=None)
        with contextlib.closing(connection):
            for statement in statements:
                cursor = connection.execute(statement)
            return cursor.fetchall() if cursor.description else []

    def empty(self) -> None:
        """Delete all voices."""
        if self.is_postgresql:
            self.rows("TRUNCATE ultravox_voices, agency_voices", "CHECKPOINT")
        else:
            self.rows("DELETE FROM ultravox_voices", "DELETE FROM agency_voices", "VACUUM")

    def settle(self) -> None:
        """Do what a database does in the background until the next sync."""
        if self.is_postgresql:
            self.rows("VACUUM ANALYZE ultravox_voices, agency_voices", "CHECKPOINT")
        else:
            self.rows("PRAGMA wal_checkpoint(TRUNCATE)")


@contextlib.contextmanager
def database(server: str, name: str) -> Iterator[Database]:
    """Create a migrated database with one agency, and drop it at the end.

    `server` is the URL of a PostgreSQL server, or of a folder for SQLite.
    """
    name = f"benchmark_{name}_{os.getpid()}"
    created = Database(f"{server}/{name}")
    administration = Database(f"{server}/postgres")
    if created.is_postgresql:
        administration.rows(f"CREATE DATABASE {name}")
    try:
        run(["manage.py", "migrate", "-v", "0"], environment(created))
        run(["manage.py", "shell", "-v", "0", "-c", SEED], environment(created))
        yield created
    finally:
        if created.is_postgresql:
            administration.rows(f"DROP DATABASE {name} WITH (FORCE)")


def environment(database: Database, ultravox: str = "http://127.0.0.1:9") -> dict[str, str]:
    """Return the environment of a process that uses this database, and Ultravox at this URL."""
    return os.environ | ENVIRONMENT | {"DATABASE_URL": database.url, "ULTRAVOX_API_URL": ultravox}


def run(arguments: Sequence[str], variables: Mapping[str, str]) -> str:
    """Run Python and return its output. Raises CalledProcessError."""
    command = [sys.executable, *arguments]
    return subprocess.check_output(command, cwd=ROOT, env=variables, text=True)


class Process:
    """A module of the benchmarks that prints lines, and runs until the end of the `with` block."""

    def __init__(self, module: str, *arguments: object, variables: Any = None) -> None:
        self._name = f"benchmarks.{module}"
        self._process = subprocess.Popen(
            [sys.executable, "-m", self._name, *map(str, arguments)],
            cwd=ROOT,
            env=variables,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
        )
        self.first_line = self._read_line()

    def __enter__(self) -> "Process":
        return self

    def __exit__(self, *error: object) -> None:
        self._process.kill()
        self._process.communicate()

    def request(self) -> str:
        """Send an empty line, and return the line of the response."""
        print(file=self._process.stdin)
        return self._read_line()

    def _read_line(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, f"{self._name} failed"
        return line.strip()


def seconds_of(function: Callable[[], object]) -> float:
    """Return the seconds that a call takes."""
    began = time.perf_counter()
    function()
    return time.perf_counter() - began


def medians(functions: Mapping[T, Callable[[], float]], rounds: int) -> dict[T, float]:
    """Call the functions in turns; return the median result of each, without the first round."""
    results = [{name: measure() for name, measure in functions.items()} for _ in range(rounds + 1)]
    return {name: statistics.median(result[name] for result in results[1:]) for name in functions}
