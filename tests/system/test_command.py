"""`manage.py sync_voices` as a process: its output and signals."""

import signal
from collections.abc import Callable
from typing import Any

import pytest

from tests.support.project import Project
from tests.support.seeding import add_agency
from tests.ultravox import Ultravox

SYNCED = "Synced 300 voices from Ultravox\n"


def rows(project: Project) -> list[tuple[Any, ...]]:
    return project.database.rows("SELECT * FROM ultravox_voices ORDER BY id")


@pytest.mark.parametrize(
    ("number", "status", "output"),
    [
        pytest.param(
            signal.SIGINT,
            130,
            "CommandError: Interrupted. Nothing was changed.\n",
            marks=pytest.mark.entry_point,
        ),
        (signal.SIGTERM, 143, ""),
    ],
)
def test_it_syncs_and_a_signal_ends_it_at_once(
    project: Callable[..., Project], ultravox: Ultravox, number: int, status: int, output: str
) -> None:
    site = project(ULTRAVOX_API_URL=ultravox.url)
    add_agency(site)
    done = site.manage("sync_voices")
    assert (done.returncode, done.stdout, done.stderr) == (0, SYNCED, "")
    before = rows(site)
    assert len(before) == 300
    ultravox.voices = [voice | {"name": "changed"} for voice in ultravox.voices]
    ultravox.reset()
    ultravox.hold_after(1)
    command = site.start("manage.py", "sync_voices", log="command")
    ultravox.wait_until(lambda: ultravox.held > 0, 20)
    command.send_signal(number)
    assert command.wait(5) == status  # Ultravox has 10 seconds to respond
    assert site.log("command") == output
    [run] = site.database.rows(
        "SELECT trigger, status, error_code FROM voice_sync_runs ORDER BY id DESC LIMIT 1"
    )
    assert run == ("command", "failed", "interrupted")
    assert rows(site) == before
    ultravox.release()
    assert site.manage("sync_voices").returncode == 0  # at once: no lock is left
    assert rows(site) != before
