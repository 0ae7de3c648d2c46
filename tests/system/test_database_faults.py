"""The database fails during a sync: `save_failed`, nothing half written, and the next sync works."""

import contextlib
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psycopg
import pytest
import requests
from rest_framework_simplejwt.tokens import AccessToken

from agencies.models import User
from tests.support.environment import SERVICE_KEY
from tests.support.project import (
    END_OTHER_SESSIONS,
    FAIL,
    IS_POSTGRESQL,
    SLOW,
    STEPS,
    Project,
    free_port,
    on_postgresql,
    on_sqlite,
    own_project,
    wait_for,
)
from tests.support.seeding import add_agency
from tests.support.tools import run
from tests.ultravox import Ultravox

ROWS = "SELECT id, name, last_synced_at FROM ultravox_voices ORDER BY id"
RUNS = "SELECT status, error_code FROM voice_sync_runs ORDER BY id"
SAVE_FAILED = "CommandError: The database couldn't save the voices."


def post(url: str, **headers: str) -> requests.Response:
    return requests.post(f"{url}/api/voices/sync/", headers=headers, timeout=30)


def assert_failed(done: subprocess.CompletedProcess[str]) -> None:
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(SAVE_FAILED)
    assert done.stderr.count("\n") == 1


def assert_next_sync_works(project: Project) -> None:
    done = project.manage("sync_voices")
    assert (done.returncode, done.stdout) == (0, "Synced 300 voices from Ultravox\n"), done.stderr
    outcomes = [("succeeded", ""), ("failed", "save_failed"), ("succeeded", "")]
    assert project.database.rows(RUNS) == outcomes


def test_it_rejects_a_row(before: Project) -> None:
    rows = before.database.rows(ROWS)
    with before.database.trigger(FAIL, **STEPS["run's end"]):
        assert_failed(before.manage("sync_voices"))
        assert before.database.rows(ROWS) == rows
    assert_next_sync_works(before)


def test_the_web_server_cannot_reach_it(before: Project, ultravox: Ultravox) -> None:
    gone = f"postgres://postgres@127.0.0.1:{free_port()}/x" if IS_POSTGRESQL else "sqlite:////x/y/z"
    token = AccessToken.for_user(User())
    url = before.serve(DATABASE_URL=gone)
    for headers in ({"apikey": SERVICE_KEY}, {"authorization": f"Bearer {token}"}):
        response = post(url, **headers)
        assert (response.status_code, response.json()["code"]) == (500, "save_failed")


@pytest.mark.parametrize(
    ("url", "advice"),
    [
        ("{own}", "The database is not migrated. Run `manage.py migrate`."),
        pytest.param(
            "postgres://nobody:secret@{host}/postgres",
            "The database rejects the user or password in DATABASE_URL. Check both.",
            marks=on_postgresql,
        ),
        pytest.param(
            "sqlite:////x/y/z",
            "The database can't be reached. Check DATABASE_URL, and that the database is running.",
            marks=on_sqlite,
        ),
    ],
)
def test_the_error_explains_how_to_fix_it(url: str, advice: str, tmp_path: Path) -> None:
    with own_project(None, tmp_path) as project:
        own = project.database.url
        url = url.format(own=own, host=own.rpartition("/")[0].rpartition("@")[2])
        done = project.manage("sync_voices", DATABASE_URL=url)
        assert (done.returncode, done.stdout, done.stderr) == (1, "", f"{SAVE_FAILED} {advice}\n")


@contextlib.contextmanager
def write_lock(project: Project) -> Iterator[None]:
    """Hold the write lock in another session."""
    with contextlib.closing(project.database.connect()) as connection:
        if IS_POSTGRESQL:
            connection.autocommit = False
            connection.execute("LOCK TABLE ultravox_voices IN EXCLUSIVE MODE")
        else:
            connection.execute("BEGIN IMMEDIATE")
        yield
        connection.rollback()


def test_another_session_writes_for_a_while(before: Project, ultravox: Ultravox) -> None:
    ultravox.hold_after(2)
    process = before.start("manage.py", "sync_voices")
    ultravox.wait_for_requests(3, 30)
    with write_lock(before):
        ultravox.release()
        ultravox.wait_until(lambda: ultravox.open_connections == 0)
        if IS_POSTGRESQL:
            wait_for(before.database.is_busy)
        assert process.poll() is None
    assert process.wait(30) == 0, before.log()
    assert before.database.rows(RUNS) == [("succeeded", "")] * 2


def test_another_session_writes_beyond_the_deadline(before: Project, ultravox: Ultravox) -> None:
    url = before.serve(
        ULTRAVOX_DEADLINE="2",
        DATABASE_URL=before.database.url + ("" if IS_POSTGRESQL else "?timeout=1"),
    )
    ultravox.hold_after(2)
    rows = before.database.rows(ROWS)
    with ThreadPoolExecutor(1) as pool:
        call = pool.submit(post, url, apikey=SERVICE_KEY)
        ultravox.wait_for_requests(3, 30)
        with write_lock(before):
            ultravox.release()
            response = call.result(10)
    assert (response.status_code, response.json()["code"]) == (500, "save_failed")
    assert before.database.rows(ROWS) == rows


@on_postgresql
class TestPostgreSQL:
    def test_it_ends_the_session_during_the_write(self, before: Project) -> None:
        rows = before.database.rows(ROWS)
        with before.database.trigger(SLOW, **STEPS["last voice"]):
            process = before.start("manage.py", "sync_voices")
            wait_for(before.database.is_busy, 30)
            before.database.rows(END_OTHER_SESSIONS)
            assert process.wait(20) == 1
            assert before.log().startswith(SAVE_FAILED)
            assert before.database.rows(ROWS) == rows
        assert_next_sync_works(before)

    def test_a_deadlock_with_another_session(self, before: Project, ultravox: Ultravox) -> None:
        first, last = (ultravox.voices[i]["voiceId"] for i in (0, -1))
        lock = "SELECT 1 FROM ultravox_voices WHERE id = %s FOR UPDATE"
        with psycopg.connect(before.database.url) as other:
            # The session that checks for a deadlock first is cancelled: this one checks late.
            other.execute("SET deadlock_timeout = '30s'")
            other.execute(lock, [last])
            process = before.start("manage.py", "sync_voices", "-v", "2")
            wait_for(before.database.is_busy, 30)
            other.execute(lock, [first])
            other.commit()
        assert process.wait(20) == 0, before.log()
        assert "Writing again after: OperationalError 40P01" in before.log()
        assert before.database.rows(RUNS) == [("succeeded", "")] * 2


@on_sqlite
class TestSQLite:
    def test_the_disk_is_full(self, before: Project, ultravox: Ultravox) -> None:
        rows = before.database.rows(ROWS)
        ultravox.voices = [v | {"description": "long" * 1000} for v in ultravox.voices]
        kilobytes = before.database.path.stat().st_size // 1024 + 40
        command = f'ulimit -f {kilobytes}; exec "$0" manage.py sync_voices'
        environment: Any = before.environment | {"DJANGO_SETTINGS_MODULE": "voiceproject.settings"}
        assert_failed(run("bash", "-c", command, sys.executable, **environment))
        assert before.database.rows(ROWS) == rows
        assert_next_sync_works(before)

    def test_many_writers(self, before: Project, ultravox: Ultravox) -> None:
        ultravox.keys |= {f"key-{n}" for n in range(4)}
        ids = [add_agency(before, key=f"key-{n}") for n in range(4)]
        processes = [
            before.start("manage.py", "sync_voices", "--agency", each, log=each) for each in ids
        ]
        with contextlib.closing(before.database.connect()) as other:
            while any(process.poll() is None for process in processes):
                other.execute("UPDATE agencies SET updated_at = updated_at")
        assert [before.log(each) for each in ids] == ["Synced 300 voices from Ultravox\n"] * 4
