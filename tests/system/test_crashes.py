"""`kill -9` at each step of a sync, and how the next sync recovers."""

import contextlib
import os
import signal
import subprocess
import threading
from collections.abc import Callable
from typing import Any

import pytest
import requests

from tests.support.environment import SERVICE_KEY
from tests.support.project import SLOW, STEPS, Project, wait_for
from tests.ultravox import Ultravox

ROWS = "SELECT id, name, description, last_synced_at FROM ultravox_voices ORDER BY id"
RUNS = "SELECT status FROM voice_sync_runs ORDER BY id"


Start = Callable[[Project], subprocess.Popen[str]]


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


def assert_recovery(project: Project, ultravox: Ultravox, rows: list[Any]) -> None:
    """Assert that the table is as before, and that the next sync works when the lease has expired."""
    assert project.database.rows(ROWS) == rows
    ultravox.release()
    project.database.rows(
        "UPDATE voice_sync_runs SET heartbeat_at = '2020-01-01 00:00:00' WHERE status = 'running'"
    )
    done = project.manage("sync_voices")
    assert (done.returncode, done.stderr) == (0, "")
    changed = "SELECT count(*) FROM ultravox_voices WHERE description = 'changed'"
    assert project.database.value(changed) == 300
    statuses = [status for (status,) in project.database.rows(RUNS)]
    assert statuses == ["succeeded", "abandoned", "succeeded"]


@pytest.mark.parametrize("start", [start_command, start_web])
def test_killed_while_fetching(start: Start, before: Project, ultravox: Ultravox) -> None:
    rows = before.database.rows(ROWS)
    ultravox.hold_after(2)
    process = start(before)
    ultravox.wait_for_requests(3, 30)
    kill(process)
    assert_recovery(before, ultravox, rows)


@pytest.mark.parametrize(
    ("start", "step"),
    [
        (start_command, "first voice"),
        (start_command, "run's end"),
        (start_web, "last voice"),
    ],
)
def test_killed_while_writing(start: Start, step: str, before: Project, ultravox: Ultravox) -> None:
    rows = before.database.rows(ROWS)
    with before.database.trigger(SLOW, **STEPS[step]):
        process = start(before)
        wait_for(before.database.is_busy, 30, what="the transaction")
        kill(process)
        wait_for(lambda: not before.database.is_busy(), 10, what="the database's clean-up")
    assert_recovery(before, ultravox, rows)
