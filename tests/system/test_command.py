"""`manage.py sync_voices` as a process: its output, signals, a terminal."""

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.support.project import ROOT, Project, wait_for
from tests.support.seeding import add_agency
from tests.ultravox import Ultravox

SYNCED = "Synced 300 voices from Ultravox\n"


@pytest.fixture
def site(project: Callable[..., Project], ultravox: Ultravox) -> Project:
    return project(ULTRAVOX_API_URL=ultravox.url)


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
    site: Project, ultravox: Ultravox, number: int, status: int, output: str
) -> None:
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


class Terminal:
    """A terminal of 100 columns, and the text shown on it."""

    def __init__(self) -> None:
        self._screen, self.line = pty.openpty()
        fcntl.ioctl(self.line, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 100, 0, 0))
        self._bytes = b""

    def text(self) -> str:
        while select.select([self._screen], [], [], 0)[0]:
            self._bytes += os.read(self._screen, 65536)
        return self._bytes.decode()

    def close(self) -> None:
        os.close(self.line)
        os.close(self._screen)


@pytest.fixture
def terminal() -> Iterator[Terminal]:
    terminal = Terminal()
    yield terminal
    terminal.close()


def start_on(terminal: Terminal, project: Project, stdout: int | None = None) -> Any:
    return subprocess.Popen(
        [sys.executable, "manage.py", "sync_voices"],
        cwd=ROOT,
        env=project.environment | {"TERM": "xterm"},
        stdin=terminal.line,
        stdout=terminal.line if stdout is None else stdout,
        stderr=terminal.line,
        text=True,
    )


def test_a_terminal_shows_progress(site: Project, ultravox: Ultravox, terminal: Terminal) -> None:
    add_agency(site)
    ultravox.hold_after(2)
    with start_on(terminal, site) as command:
        wait_for(lambda: re.search(r"200/300 .*page 2\b", terminal.text()), what="the second page")
        ultravox.release()
        assert command.wait(20) == 0
    # The bar is cleared before the result is shown.
    assert re.search(r"\r *\r" + SYNCED.strip() + r"\s*$", terminal.text())


def test_a_terminal_shows_progress_while_the_output_is_a_pipe(
    site: Project, terminal: Terminal
) -> None:
    add_agency(site)
    with start_on(terminal, site, subprocess.PIPE) as command:
        assert command.communicate(timeout=20)[0] == SYNCED
    assert "Voices: " in terminal.text()
    assert "Synced" not in terminal.text()


def test_a_terminal_shows_an_error_in_one_line(site: Project, terminal: Terminal) -> None:
    with start_on(terminal, site) as command:
        assert command.wait(20) == 1
    lines = re.sub(r"\x1b\[[0-9;]*m", "", terminal.text()).split("\r")
    assert [line.strip() for line in lines if line.strip(" \n") and "Voices:" not in line] == [
        "CommandError: No agency has an Ultravox API key. Add one in the admin."
    ]
