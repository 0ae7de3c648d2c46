"""The database misbehaves: a clear `save_failed`, nothing half written, and the next sync works."""

import contextlib
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
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
    ROOT,
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
from tests.ultravox import Ultravox

ROWS = "SELECT id, name, last_synced_at FROM ultravox_voices ORDER BY id"
RUNS = "SELECT status, error_code FROM voice_sync_runs ORDER BY id"
SAVE_FAILED = "CommandError: The database could not save the voices; nothing was changed."


def assert_failed(done: subprocess.CompletedProcess[str]) -> None:
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(SAVE_FAILED)
    assert done.stderr.count("\n") == 1


def assert_next_sync_works(project: Project, *statuses: tuple[str, str]) -> None:
    done = project.manage("sync_voices")
    assert (done.returncode, done.stdout) == (0, "Synced 300 voices from Ultravox\n"), done.stderr
    assert project.database.rows(RUNS) == [("succeeded", ""), *statuses, ("succeeded", "")]


STATES = {"disk full": "53100", "any": "P0001"}


@pytest.mark.parametrize("state", STATES if IS_POSTGRESQL else ["any"])
@pytest.mark.parametrize("step", ["last voice", "run's end"])
def test_refuses(step: str, state: str, before: Project, ultravox: Ultravox) -> None:
    """The database refuses a row: kept, `save_failed`."""
    rows = before.database.rows(ROWS)
    with before.database.trigger(FAIL, state=STATES[state], **STEPS[step]):
        assert_failed(before.manage("sync_voices"))
        assert before.database.rows(ROWS) == rows
    assert_next_sync_works(before, ("failed", "save_failed"))


def test_refuses_the_run_itself(before: Project) -> None:
    """The database refuses to open a run: kept, `save_failed`, nothing to record."""
    rows = before.database.rows(ROWS)
    step = {"table": "voice_sync_runs", "event": "INSERT", "when": "NEW.status = 'running'"}
    with before.database.trigger(FAIL, state="P0001", **step):
        assert_failed(before.manage("sync_voices"))
    assert before.database.rows(ROWS) == rows
    assert_next_sync_works(before)


def test_cannot_be_reached(before: Project, ultravox: Ultravox) -> None:
    """Connection refused, for the command and for the web server: kept, `save_failed`."""
    rows = before.database.rows(ROWS)
    gone = f"postgres://postgres@127.0.0.1:{free_port()}/x" if IS_POSTGRESQL else "sqlite:////x/y/z"
    done = before.manage("sync_voices", DATABASE_URL=gone)
    assert_failed(done)
    token = AccessToken.for_user(User())
    url = before.serve(DATABASE_URL=gone)
    for headers in ({"apikey": SERVICE_KEY}, {"authorization": f"Bearer {token}"}):
        answer = requests.post(f"{url}/api/voices/sync/", headers=headers, timeout=30)
        assert (answer.status_code, answer.json()["code"]) == (500, "save_failed")
    assert before.database.rows(ROWS) == rows
    assert_next_sync_works(before)


@pytest.mark.parametrize(
    ("url", "advice"),
    [
        ("{own}", "The database is not migrated: run `manage.py migrate`."),
        pytest.param(
            "{server}/nothing",
            "The database that DATABASE_URL names does not exist: create it.",
            marks=on_postgresql,
        ),
        pytest.param(
            "postgres://nobody:secret@{host}/postgres",
            "The database refuses the login of DATABASE_URL: correct it.",
            marks=on_postgresql,
        ),
        pytest.param(
            "postgres://postgres:secret@127.0.0.1:9/postgres",
            "The database cannot be reached: check DATABASE_URL, and whether it runs.",
        ),
        pytest.param(
            "sqlite:////x/y/z",
            "The database cannot be reached: check DATABASE_URL, and whether it runs.",
        ),
        (
            f"sqlite:///{ROOT}/README.md",
            "The file that DATABASE_URL names is no database: correct it.",
        ),
    ],
)
def test_says_what_is_wrong_with_the_database(url: str, advice: str, tmp_path: Path) -> None:
    with own_project(None, tmp_path) as project:
        server, own = project.database.url.rpartition("/")[0], project.database.url
        url = url.format(own=own, server=server, host=server.rpartition("@")[2])
        for options in ((), ("--agency", "6b1b7a5e-8f0c-4a43-9d0e-b4f0f8c0d3a1")):
            done = project.manage("sync_voices", *options, DATABASE_URL=url)
            said = (done.returncode, done.stdout, done.stderr)
            assert said == (1, "", f"{SAVE_FAILED} {advice}\n")
        if url.startswith("postgres:") and url != own:
            done = project.manage("check", "--database", "default", DATABASE_URL=url)
            assert f"?: (voices.E003) {advice}\n" in done.stderr
            assert "Traceback" not in done.stderr


@on_postgresql
def test_says_which_rights_are_missing(before: Project) -> None:
    as_another = f"{before.database.url}?options=-c%20role%3Dpg_read_all_data"
    name = before.database.url.rpartition("/")[2]
    for revoke in ("", f"REVOKE TEMPORARY ON DATABASE {name} FROM PUBLIC"):
        if revoke:
            before.database.rows(revoke)
        done = before.manage("check", "--database", "default", DATABASE_URL=as_another)
        assert (done.returncode, "temporary tables" in done.stderr) == (0, bool(revoke))
    done = before.manage("sync_voices", DATABASE_URL=as_another)
    assert "may not be written to by the user of DATABASE_URL: let it." in done.stderr


@contextlib.contextmanager
def held_write_lock(project: Project) -> Iterator[Any]:
    """Another session writes to the table, and does not come to an end."""
    with contextlib.closing(project.database.connect()) as connection:
        if IS_POSTGRESQL:
            connection.autocommit = False
            connection.execute("LOCK TABLE ultravox_voices IN EXCLUSIVE MODE")
        else:
            connection.execute("BEGIN IMMEDIATE")
        yield connection
        connection.rollback()


def test_waits_for_another_writer(before: Project, ultravox: Ultravox) -> None:
    """Another session holds the write lock for a while: synced, after a wait."""
    ultravox.hold_after(2)
    process = before.start("manage.py", "sync_voices")
    ultravox.wait_for_requests(3, 30)
    with held_write_lock(before):
        ultravox.release()
        ultravox.wait_until(lambda: ultravox.open_connections == 0)
        if IS_POSTGRESQL:
            wait_for(before.database.is_busy)
        assert process.poll() is None
    assert process.wait(30) == 0, before.log()
    assert before.database.rows(RUNS) == [("succeeded", "")] * 2


def test_another_writer_never_ends(before: Project, ultravox: Ultravox) -> None:
    """Another session holds the write lock beyond the deadline: kept, `save_failed` in time."""
    url = before.serve(
        ULTRAVOX_DEADLINE="2",
        DATABASE_URL=before.database.url + ("" if IS_POSTGRESQL else "?timeout=1"),
    )
    ultravox.hold_after(2)
    rows = before.database.rows(ROWS)
    answers: list[requests.Response] = []
    thread = threading.Thread(
        target=lambda: answers.append(
            requests.post(f"{url}/api/voices/sync/", headers={"apikey": SERVICE_KEY}, timeout=60)
        )
    )
    thread.start()
    ultravox.wait_for_requests(3, 30)
    with held_write_lock(before):
        ultravox.release()
        began = time.monotonic()
        thread.join(30)
        took = time.monotonic() - began
    assert (answers[0].status_code, answers[0].json()["code"]) == (500, "save_failed")
    assert took < 10
    assert before.database.rows(ROWS) == rows


@on_postgresql
def test_is_terminated_in_the_transaction(before: Project, ultravox: Ultravox) -> None:
    """The server ends the session in the middle of the write: kept, `save_failed`."""
    rows = before.database.rows(ROWS)
    with before.database.trigger(SLOW, **STEPS["last voice"]):
        process = before.start("manage.py", "sync_voices")
        wait_for(before.database.is_busy, 30)
        before.database.rows(END_OTHER_SESSIONS)
        assert process.wait(20) == 1
        assert before.log().startswith(SAVE_FAILED)
        assert before.database.rows(ROWS) == rows
    assert_next_sync_works(before, ("failed", "save_failed"))


@on_postgresql
def test_statement_timeout(before: Project, ultravox: Ultravox) -> None:
    """The server cancels a statement that takes too long: kept, `save_failed`."""
    rows = before.database.rows(ROWS)
    name = before.database.url.rpartition("/")[2]
    before.database.rows(f"ALTER DATABASE {name} SET statement_timeout = '1s'")
    with before.database.trigger(SLOW, **STEPS["last voice"]):
        assert_failed(before.manage("sync_voices"))
        assert before.database.rows(ROWS) == rows
    assert_next_sync_works(before, ("failed", "save_failed"))


@on_postgresql
def test_read_only(before: Project, ultravox: Ultravox) -> None:
    """The server was made read-only: kept, `save_failed`."""
    rows = before.database.rows(ROWS)
    name = before.database.url.rpartition("/")[2]
    before.database.rows(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    assert_failed(before.manage("sync_voices"))
    assert before.database.rows(ROWS) == rows
    options = "-c default_transaction_read_only=off"
    with psycopg.connect(before.database.url, autocommit=True, options=options) as connection:
        connection.execute(f"ALTER DATABASE {name} RESET ALL")
    assert_next_sync_works(before)


@on_postgresql
def test_restarts_while_ultravox_is_waited_for(before: Project, ultravox: Ultravox) -> None:
    """All sessions are ended between two pages: synced, by a new session."""
    ultravox.hold_after(1)
    process = before.start("manage.py", "sync_voices")
    ultravox.wait_for_requests(2, 30)
    before.database.rows(END_OTHER_SESSIONS)
    ultravox.release()
    assert process.wait(20) == 0, before.log()
    assert before.database.rows(RUNS) == [("succeeded", "")] * 2


@on_postgresql
def test_deadlock(before: Project, ultravox: Ultravox) -> None:
    """A deadlock with another session: synced, at the second try."""
    first, last = (ultravox.voices[i]["voiceId"] for i in (0, -1))
    lock = "SELECT 1 FROM ultravox_voices WHERE id = %s FOR UPDATE"
    with psycopg.connect(before.database.url) as other:
        # The one that waited longer looks for a deadlock first, and is the one to give way.
        other.execute("SET deadlock_timeout = '30s'")
        other.execute(lock, [last])
        process = before.start("manage.py", "sync_voices", "-v", "2")
        wait_for(before.database.is_busy, 30)
        other.execute(lock, [first])
        other.commit()
    assert process.wait(20) == 0, before.log()
    assert "Writing again after: OperationalError 40P01" in before.log()
    assert before.database.rows(RUNS) == [("succeeded", "")] * 2


@on_postgresql
def test_serialization_failure(before: Project, ultravox: Ultravox) -> None:
    """Under REPEATABLE READ another session changes a row: synced, at the second try."""
    name = before.database.url.rpartition("/")[2]
    before.database.rows(
        f"ALTER DATABASE {name} SET default_transaction_isolation = 'repeatable read'"
    )
    with psycopg.connect(before.database.url) as other:
        other.execute("UPDATE ultravox_voices SET name = 'theirs'")
        process = before.start("manage.py", "sync_voices", "-v", "2")
        wait_for(before.database.is_busy, 30)
        other.commit()
    assert process.wait(20) == 0, before.log()
    assert "Writing again after: OperationalError 40001" in before.log()
    assert before.database.value("SELECT count(*) FROM ultravox_voices WHERE name = 'theirs'") == 0


@on_sqlite
def test_disk_full(before: Project, ultravox: Ultravox) -> None:
    """The disk is full: kept, `save_failed`."""
    rows = before.database.rows(ROWS)
    ultravox.voices = [v | {"description": "long" * 1000} for v in ultravox.voices]
    kilobytes = before.database.path.stat().st_size // 1024 + 40
    done = subprocess.run(
        ["bash", "-c", f'ulimit -f {kilobytes}; exec "$0" manage.py sync_voices', sys.executable],
        cwd=ROOT,
        env=before.environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert_failed(done)
    assert before.database.rows(ROWS) == rows
    assert_next_sync_works(before, ("failed", "save_failed"))


@on_sqlite
def test_many_writers(before: Project, ultravox: Ultravox) -> None:
    """Four processes sync while another one writes all the time: synced, all four."""
    ultravox.keys |= {f"key-{n}" for n in range(4)}
    ids = [add_agency(before, key=f"key-{n}") for n in range(4)]
    processes = [
        before.start("manage.py", "sync_voices", "--agency", each, log=each) for each in ids
    ]
    with contextlib.closing(before.database.connect()) as other:
        while any(process.poll() is None for process in processes):
            other.execute("UPDATE agencies SET updated_at = updated_at")
    assert [before.log(each) for each in ids] == ["Synced 300 voices from Ultravox\n"] * 4
