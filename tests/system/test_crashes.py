"""`kill -9` at each step of a sync, and how the next sync recovers.

Ultravox holds a page, or the database a row, so that the process dies at that step.
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
from tests.ultravox import Ultravox
from voices.runs import LEASE

ROWS = "SELECT id, name, description, last_synced_at FROM ultravox_voices ORDER BY id"
RUNS = "SELECT status FROM voice_sync_runs ORDER BY id"


def start_command(project: Project) -> subprocess.Popen[str]:
    return project.start("manage.py", "sync_voices")


def start_web(project: Project) -> subprocess.Popen[str]:
    url = project.serve("--workers=1")

    def post() -> None:
        with contextlib.suppress(requests.RequestException):
            requests.post(f"{url}/api/voices/sync/", headers={"apikey": SERVICE_KEY}, timeout=60)

    threading.Thread(target=post, daemon=True).start()
    return project.server


def kill(process: subprocess.Popen[str]) -> None:
    os.killpg(process.pid, signal.SIGKILL)
    process.wait(10)


def let_lease_expire(project: Project) -> None:
    project.database.rows(
        "UPDATE voice_sync_runs SET heartbeat_at = '2020-01-01 00:00:00' WHERE status = 'running'"
    )


def assert_recovery(project: Project, ultravox: Ultravox, rows: list[Any]) -> None:
    """Assert that the table is as before, and that the next sync waits no longer than the lease."""
    assert project.database.rows(ROWS) == rows
    ultravox.release()
    began = time.monotonic()
    done = project.manage("sync_voices")
    assert (done.returncode, done.stderr) == (0, "")
    assert time.monotonic() - began < LEASE + 5
    changed = "SELECT count(*) FROM ultravox_voices WHERE description = 'changed'"
    assert project.database.value(changed) == 300
    assert [status for (status,) in project.database.rows(RUNS)] == [
        "succeeded",
        "abandoned",
        "succeeded",
    ]


def test_the_next_sync_waits_for_the_lease(before: Project, ultravox: Ultravox) -> None:
    rows = before.database.rows(ROWS)
    ultravox.hold_after(1)
    process = start_web(before)
    ultravox.wait_for_requests(2, 30)
    kill(process)
    assert_recovery(before, ultravox, rows)


@pytest.mark.parametrize("pages", [0, 2])
def test_killed_while_fetching(pages: int, before: Project, ultravox: Ultravox) -> None:
    rows = before.database.rows(ROWS)
    ultravox.hold_after(pages)
    process = start_command(before)
    ultravox.wait_for_requests(pages + 1, 30)
    kill(process)
    let_lease_expire(before)
    assert_recovery(before, ultravox, rows)


@pytest.mark.parametrize(
    ("start", "step"),
    [
        (start_command, "first voice"),
        (start_command, "last voice"),
        (start_command, "run's end"),
        (start_web, "run's end"),
    ],
)
def test_killed_while_writing(
    start: Callable[[Project], subprocess.Popen[str]],
    step: str,
    before: Project,
    ultravox: Ultravox,
) -> None:
    rows = before.database.rows(ROWS)
    with before.database.trigger(SLOW, **STEPS[step]):
        process = start(before)
        wait_for(before.database.is_busy, 30, what="the transaction")
        kill(process)
        wait_for(lambda: not before.database.is_busy(), 10, what="the database's clean-up")
    let_lease_expire(before)
    assert_recovery(before, ultravox, rows)
