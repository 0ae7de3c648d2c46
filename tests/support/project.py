"""A whole project in processes of its own: a database, the command line, the web server, workers."""

import contextlib
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar, Self

import psycopg
import pytest
import requests

from tests.support.environment import ENVIRONMENT

ROOT = Path(__file__).resolve().parent.parent.parent
IS_POSTGRESQL = ENVIRONMENT["DATABASE_URL"].startswith("postgres")
on_postgresql = pytest.mark.skipif(not IS_POSTGRESQL, reason="run with DATABASE_URL=postgres://...")
on_sqlite = pytest.mark.sqlite


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def wait_for(condition: Callable[[], Any], timeout: float = 20, what: str = "") -> Any:
    """Return the first true value of the condition, which is asked again until the timeout."""
    end = time.monotonic() + timeout
    while not (value := condition()):
        assert time.monotonic() < end, f"not within {timeout} s: {what or condition}"
        time.sleep(0.05)
    return value


def children(pid: int) -> list[int]:
    """Return the ids of a process's children."""
    return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


# What a trigger does, on PostgreSQL or not
SLOW = {
    True: "PERFORM pg_sleep({seconds})",
    False: "SELECT (WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n"
    " LIMIT 3000000 * {seconds}) SELECT count(*) FROM n)",
}
FAIL = {True: "RAISE SQLSTATE '53100'", False: "SELECT RAISE(ABORT, 'refused')"}
STEPS = {  # of the transaction that writes the voices of `before`
    "first voice": {"table": "ultravox_voices", "when": "NEW.name = 'first'"},
    "last voice": {"table": "ultravox_voices", "when": "NEW.name = 'last'"},
    "run's end": {"table": "voice_sync_runs", "when": "NEW.status = 'succeeded'"},
}
END_OTHER_SESSIONS = (  # of PostgreSQL with this database, as when it restarts
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
    " WHERE datname = current_database() AND pid <> pg_backend_pid()"
)


class Database:
    """A migrated database of one test's own: a file, or a database of the PostgreSQL server."""

    created: ClassVar[list[str]] = []

    def __init__(self, url: str) -> None:
        self.url = url

    @classmethod
    def create(cls, folder: Path, template: "Database | None" = None) -> Self:
        if not IS_POSTGRESQL:
            file = folder / "db.sqlite3"
            if template:
                template.rows("PRAGMA wal_checkpoint(TRUNCATE)")  # all of it is in the one file
                shutil.copyfile(template.path, file)
            return cls(f"sqlite:///{file}")
        name = f"voices_{uuid.uuid4().hex[:12]}"
        server, _, _ = ENVIRONMENT["DATABASE_URL"].rpartition("/")
        origin = template.url.rpartition("/")[2] if template else "template1"
        cls(f"{server}/postgres").rows(f"CREATE DATABASE {name} TEMPLATE {origin}")
        cls.created.append(name)
        return cls(f"{server}/{name}")

    @classmethod
    def drop_all(cls) -> None:
        """Drop what was created: at the end, since each time PostgreSQL syncs all databases' files first."""
        server = cls(ENVIRONMENT["DATABASE_URL"].rpartition("/")[0] + "/postgres")
        while cls.created:
            server.rows(f"DROP DATABASE IF EXISTS {cls.created.pop()} WITH (FORCE)")

    @property
    def path(self) -> Path:
        return Path(self.url.removeprefix("sqlite:///"))

    @property
    def is_postgresql(self) -> bool:
        return not self.url.startswith("sqlite")

    def connect(self) -> Any:
        if self.is_postgresql:
            return psycopg.connect(self.url, autocommit=True)
        return sqlite3.connect(self.path, timeout=20, isolation_level=None)

    def rows(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        """Return the rows of a query, or [] of a statement without any."""
        with contextlib.closing(self.connect()) as connection:
            cursor = connection.execute(query, *([values] if values else []))
            return cursor.fetchall() if cursor.description else []

    def value(self, query: str) -> Any:
        return self.rows(query)[0][0]

    @contextlib.contextmanager
    def trigger(
        self,
        action: dict[bool, str],
        event: str = "UPDATE",
        *,
        table: str,
        when: str,
        seconds: str = "30",
    ) -> Iterator[None]:
        """Let SLOW or FAIL meet an `event` on a `table`'s rows `when` a condition holds."""
        statement = action[self.is_postgresql].format(seconds=seconds)
        trigger = f"CREATE TRIGGER fault BEFORE {event} ON {table} FOR EACH ROW"
        if self.is_postgresql:
            self.script(
                "CREATE FUNCTION fault() RETURNS trigger LANGUAGE plpgsql AS"
                f" $$ BEGIN {statement}; RETURN NEW; END $$;"
                f"{trigger} WHEN ({when}) EXECUTE FUNCTION fault()"
            )
        else:
            self.script(f"{trigger} WHEN {when} BEGIN {statement}; END")
        try:
            yield
        finally:
            self.script(
                "DROP FUNCTION fault CASCADE" if self.is_postgresql else "DROP TRIGGER fault"
            )

    def script(self, statements: str) -> None:
        with contextlib.closing(self.connect()) as connection:
            if self.is_postgresql:
                connection.execute(statements)
            else:
                connection.executescript(statements)

    def is_busy(self) -> bool:
        """Return whether a session is in the middle of a slow trigger, or waits for a lock."""
        if self.is_postgresql:
            waiting = (
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
                " AND (wait_event = 'PgSleep' OR wait_event_type = 'Lock')"
            )
            return bool(self.value(waiting))
        with contextlib.closing(sqlite3.connect(self.path, timeout=0.3)) as connection:
            try:
                connection.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError:
                return True
        return False


class Project:
    """The project on a database, with variables of its own."""

    root = ROOT  # where its code is

    def __init__(self, database: Database, folder: Path, **environment: str) -> None:
        self.database = database
        self.folder = folder
        own = {"DATABASE_URL": database.url, "PREVIEW_FOLDER": str(folder / "previews")}
        self.environment = os.environ | ENVIRONMENT | own | environment
        self.environment.pop("DJANGO_SETTINGS_MODULE", None)
        self.processes: list[subprocess.Popen[str]] = []

    def start(
        self, *command: str, log: str = "process", **environment: str
    ) -> subprocess.Popen[str]:
        """Start a Python module (`-m` of the test's Python) in a process group of its own."""
        with (self.folder / f"{log}.log").open("a") as file:
            process = subprocess.Popen(
                [sys.executable, *command],
                cwd=self.root,
                env=self.environment | environment,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                text=True,
                start_new_session=True,
            )
        self.processes.append(process)
        return process

    def log(self, name: str = "process") -> str:
        file = self.folder / f"{name}.log"
        return file.read_text() if file.exists() else ""

    def manage(
        self, *arguments: str, timeout: float = 60, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        """Run `manage.py` to its end, and return what it printed; its failure is the caller's."""
        return subprocess.run(
            [sys.executable, "manage.py", *arguments],
            cwd=self.root,
            env=self.environment | environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    def send_sync(self) -> None:
        """Send the task of the schedule to the broker."""
        code = "from voices.tasks import sync_voices; sync_voices.delay()"
        done = self.manage("shell", "-v", "0", "-c", code)
        assert done.returncode == 0, done.stderr

    def sync_every(self, seconds: int) -> None:
        """Schedule syncs so often, as an operator does."""
        self.database.rows(
            "UPDATE django_celery_beat_intervalschedule"
            f" SET every = {seconds}, period = 'seconds' WHERE period = 'hours'"
        )

    def serve(self, *options: str, **environment: str) -> str:
        """Start the web server as the README does, and return its URL once it answers."""
        port = free_port()
        self.server = self.start(
            "-m",
            "gunicorn",
            "--config",
            "gunicorn.conf.py",
            f"--bind=127.0.0.1:{port}",
            *options,
            log="web",
            **environment,
        )
        url = f"http://127.0.0.1:{port}"
        wait_for(lambda: _responds(url) or self.server.poll() is not None, what="the web server")
        assert self.server.poll() is None, self.log("web")
        return url

    def stop(self) -> None:
        """End all processes that were started, with their children."""
        for process in self.processes:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait(10)


def _responds(url: str) -> bool:
    try:
        requests.get(f"{url}/nothing-here", timeout=5, allow_redirects=False)
    except requests.RequestException:
        return False
    return True


@contextlib.contextmanager
def own_project(template: Database | None, folder: Path, **environment: str) -> Iterator[Project]:
    """Give a project on a database of its own, a copy; its processes end with the block."""
    database = Database.create(folder, template)
    project = Project(database, folder, **environment)
    try:
        yield project
    finally:
        project.stop()
