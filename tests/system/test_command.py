"""`manage.py sync_voices` as a process: what operators and cron jobs see, signals, a terminal."""

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
def shop(project: Callable[..., Project], ultravox: Ultravox) -> Project:
    """A project without agencies."""
    return project(ULTRAVOX_API_URL=ultravox.url, ULTRAVOX_DEADLINE="3")


def last_run(project: Project) -> tuple[Any, ...]:
    """Return trigger, status, pages, synced, skipped and error code of the newest run."""
    return project.database.rows(
        "SELECT trigger, status, pages, synced, skipped, error_code FROM voice_sync_runs"
        " ORDER BY id DESC LIMIT 1"
    )[0]


def table(project: Project) -> list[tuple[Any, ...]]:
    return project.database.rows("SELECT * FROM ultravox_voices ORDER BY id")


def outcome(done: subprocess.CompletedProcess[str]) -> tuple[int, str, str]:
    return done.returncode, done.stdout, done.stderr


# What it says


def test_says_how_many_voices_and_nothing_else(shop: Project) -> None:
    add_agency(shop)
    assert outcome(shop.manage("sync_voices")) == (0, SYNCED, "")
    assert len(table(shop)) == 300
    assert last_run(shop) == ("command", "succeeded", 3, 300, 0, "")


# What goes wrong


@pytest.mark.parametrize(
    ("signum", "status", "said"),
    [
        (signal.SIGINT, 130, "CommandError: Interrupted; nothing was changed.\n"),
        (signal.SIGTERM, 143, ""),
    ],
)
def test_a_signal_ends_it_at_once(
    shop: Project, ultravox: Ultravox, signum: int, status: int, said: str
) -> None:
    add_agency(shop)
    assert shop.manage("sync_voices").returncode == 0
    before = table(shop)
    ultravox.voices = [voice | {"name": "changed"} for voice in ultravox.voices]
    ultravox.reset()
    ultravox.hold_after(1)
    command = shop.start("manage.py", "sync_voices", log="command")
    ultravox.wait_until(lambda: ultravox.held > 0, 20)
    command.send_signal(signum)
    assert command.wait(5) == status  # Ultravox is given 10 seconds to answer
    assert shop.log("command") == said
    trigger, ended, _, synced, _, code = last_run(shop)
    assert (trigger, ended, synced, code) == ("command", "failed", 0, "interrupted")
    assert table(shop) == before
    ultravox.release()
    assert outcome(shop.manage("sync_voices")) == (0, SYNCED, "")  # at once: no lock is left
    assert table(shop) != before


# On a terminal


class Terminal:
    """A terminal of 100 columns, and what has been shown on it."""

    def __init__(self) -> None:
        self._ours, self.theirs = pty.openpty()
        fcntl.ioctl(self.theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 100, 0, 0))
        self._shown = b""

    def shown(self) -> str:
        while select.select([self._ours], [], [], 0)[0]:
            self._shown += os.read(self._ours, 65536)
        return self._shown.decode()

    def close(self) -> None:
        os.close(self.theirs)
        os.close(self._ours)


@pytest.fixture
def terminal() -> Iterator[Terminal]:
    terminal = Terminal()
    yield terminal
    terminal.close()


@pytest.fixture
def on_terminal(
    shop: Project, terminal: Terminal
) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start the command with errors, and output unless it is a pipe, on the terminal."""
    started: list[subprocess.Popen[str]] = []

    def start(stdout: int | None = None) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "manage.py", "sync_voices"],
            cwd=ROOT,
            env=shop.environment | {"TERM": "xterm"},
            stdin=terminal.theirs,
            stdout=terminal.theirs if stdout is None else stdout,
            stderr=terminal.theirs,
            text=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def test_a_terminal_shows_progress(
    shop: Project,
    ultravox: Ultravox,
    terminal: Terminal,
    on_terminal: Callable[..., subprocess.Popen[str]],
) -> None:
    add_agency(shop)
    ultravox.hold_after(2)
    command = on_terminal()
    wait_for(
        lambda: re.search(r"200/300 .*page 2\b", terminal.shown()), 20, "the second page's progress"
    )
    ultravox.release()
    assert command.wait(20) == 0
    # The bar is wiped out before the result is shown.
    assert re.search(r"\r *\r" + SYNCED.strip() + r"\s*$", terminal.shown())


def test_a_terminal_shows_progress_while_the_output_is_a_pipe(
    shop: Project, terminal: Terminal, on_terminal: Callable[..., subprocess.Popen[str]]
) -> None:
    add_agency(shop)
    output, _ = on_terminal(subprocess.PIPE).communicate(timeout=20)
    assert output == SYNCED
    assert "Voices: " in terminal.shown()
    assert "Synced" not in terminal.shown()


def test_a_terminal_shows_an_error_in_one_line(
    shop: Project, terminal: Terminal, on_terminal: Callable[..., subprocess.Popen[str]]
) -> None:
    command = on_terminal()
    assert command.wait(20) == 1
    words = re.sub(r"\x1b\[[0-9;]*m", "", terminal.shown()).split("\r")
    assert [word.strip() for word in words if word.strip(" \n") and "Voices:" not in word] == [
        "CommandError: No Ultravox API key is configured; add one to an agency in the admin."
    ]
