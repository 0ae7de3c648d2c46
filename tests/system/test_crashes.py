"""`kill -9` at each step of a sync, by whoever started it; and what the next sync makes of it.

The steps are reached from outside: Ultravox holds a page, another session locks a table.
"""

import contextlib
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
import requests

from tests.support.environment import SERVICE_KEY
from tests.support.project import SLOW, STEPS, Project, wait_for
from tests.support.reliability import shows
from tests.ultravox import Ultravox
from voices.runs import LEASE

ROWS = "SELECT id, name, description, last_synced_at FROM ultravox_voices ORDER BY id"
RUNS = "SELECT status, error_code FROM voice_sync_runs ORDER BY id"


def start_command(project: Project) -> subprocess.Popen[str]:
    return project.start("manage.py", "sync_voices")


def start_web(project: Project) -> subprocess.Popen[str]:
    url = project.serve("--workers=1")

    def post() -> None:
        with contextlib.suppress(requests.RequestException):
            requests.post(f"{url}/api/voices/sync/", headers={"apikey": SERVICE_KEY}, timeout=60)

    threading.Thread(target=post, daemon=True).start()
    return project.server


def start_beat(project: Project) -> subprocess.Popen[str]:
    project.sync_every(1)
    return project.start("-m", "celery", "--app", "voiceproject", "beat", log="beat")


def kill(process: subprocess.Popen[str]) -> None:
    os.killpg(process.pid, signal.SIGKILL)
    process.wait(10)


def let_lease_pass(project: Project) -> None:
    """Turn back the dead run's clock, as if its lease were over."""
    project.database.rows(
        "UPDATE voice_sync_runs SET heartbeat_at = '2020-01-01 00:00:00' WHERE status = 'running'"
    )


def assert_next_sync_is_good(project: Project, ultravox: Ultravox, rows: list[Any]) -> None:
    """Assert that the table is as before, and that the next sync waits no longer than the lease."""
    assert project.database.rows(ROWS) == rows
    ultravox.release()
    began = time.monotonic()
    done = project.manage("sync_voices")
    took = time.monotonic() - began
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "Synced 300 voices from Ultravox\n"
    assert took < LEASE + 5
    changed = "SELECT count(*) FROM ultravox_voices WHERE description = 'changed'"
    assert project.database.value(changed) == 300
    statuses = [status for status, _ in project.database.rows(RUNS)]
    assert statuses == ["succeeded", "abandoned", "succeeded"]


@pytest.mark.parametrize("start", [start_command, start_web, start_beat])
@shows("crash")
def test_next_sync_waits_no_longer_than_the_lease(
    start: Callable[[Project], subprocess.Popen[str]],
    before: Project,
    ultravox: Ultravox,
    record_property: Callable[[str, object], None],
) -> None:
    """Killed between two pages, and nobody turns a clock: the next sync waits for the lease."""
    rows = before.database.rows(ROWS)
    ultravox.hold_after(1)
    process = start(before)
    ultravox.wait_for_requests(2, 30)
    kill(process)
    killed = time.monotonic()
    assert_next_sync_is_good(before, ultravox, rows)
    record_property("seconds_from_kill_to_next_good_sync", round(time.monotonic() - killed, 1))


@pytest.mark.parametrize("pages", [0, 1, 2], ids=lambda pages: f"after_{pages}_pages")
@shows("crash")
def test_killed_while_fetching(pages: int, before: Project, ultravox: Ultravox) -> None:
    """Killed after so many pages: kept, run abandoned, next sync good."""
    rows = before.database.rows(ROWS)
    ultravox.hold_after(pages)
    process = start_command(before)
    ultravox.wait_for_requests(pages + 1, 30)
    kill(process)
    let_lease_pass(before)
    assert_next_sync_is_good(before, ultravox, rows)


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("start", [start_command, start_web, start_beat])
@shows("crash")
def test_killed_while_writing(
    start: Callable[[Project], subprocess.Popen[str]],
    step: str,
    before: Project,
    ultravox: Ultravox,
) -> None:
    """Killed in the transaction, at this row: kept, run abandoned, next sync good."""
    rows = before.database.rows(ROWS)
    with before.database.trigger(SLOW, **STEPS[step]):
        process = start(before)
        wait_for(before.database.is_busy, 30, what="the transaction")
        kill(process)
        wait_for(lambda: not before.database.is_busy(), 10, what="the database's clean-up")
    let_lease_pass(before)
    assert_next_sync_is_good(before, ultravox, rows)
