"""`make run`, in a folder of its own, and what may be wrong there."""

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from tests.support.project import ROOT, free_port, on_sqlite, wait_for
from tests.ultravox import API_KEY, Ultravox

pytestmark = on_sqlite  # it is what `make run` runs on

ADD_AGENCY = "Agency.objects.create(name='Other', ultravox_api_key='a key of another account')"


class Clone:
    """A clone of the project, in a path with a space, and what was started there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.processes: list[subprocess.Popen[str]] = []
        for name in ("agencies", "operations", "voices", "voiceproject", "sandbox", "scripts"):
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(ROOT / name, folder / name, ignore=ignored)
        for name in ("manage.py", "gunicorn.conf.py", "Makefile"):
            shutil.copy(ROOT / name, folder)

    def run(self, log: str = "log", **environment: str) -> subprocess.Popen[str]:
        """Start what `make run` runs, with nothing from the tests' environment."""
        self.url = f"http://127.0.0.1:{(port := free_port())}"
        with (self.folder / log).open("w") as file:
            process = subprocess.Popen(
                [sys.executable, "scripts/run.py"],
                cwd=self.folder,
                text=True,
                env={"PATH": os.environ["PATH"], "PORT": str(port)} | environment,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.processes.append(process)
        return process

    def log(self, name: str = "log") -> str:
        return (self.folder / name).read_text()

    def password(self) -> str | None:
        found = re.search(r"admin@example.com, password (\S+) ", self.log())
        return found and found[1]


@pytest.fixture
def clone(tmp_path: Path) -> Iterator[Clone]:
    folder = tmp_path / "with a space"
    folder.mkdir()
    clone = Clone(folder)
    yield clone
    for process in clone.processes:
        if process.poll() is None:
            end(process)


def end(process: subprocess.Popen[str], by: int = signal.SIGINT) -> int:
    """Press Ctrl-C, which all processes of the terminal get."""
    os.killpg(process.pid, by)
    return process.wait(30)


def test_it_serves_and_says_how_to_log_in_when_all_is_up(clone: Clone) -> None:
    process = clone.run()
    password = wait_for(clone.password, 60, "the password")
    login = {"email": "admin@example.com", "password": password}
    assert requests.post(f"{clone.url}/api/token/", json=login, timeout=10).status_code == 200
    assert "Synced 300 voices" in clone.log()
    # One at a time
    other = clone.run("other")
    assert other.wait(20) == 1
    assert "runs in this folder already" in clone.log("other")
    assert "Traceback" not in clone.log("other")
    # Nobody else of this machine reads its files
    wait_for(lambda: "celery@" in clone.log(), 30, "the worker")
    files = [clone.folder / ".env", *clone.folder.glob("db.sqlite3*"), clone.folder / ".celery"]
    assert len(files) >= 3
    assert {file.stat().st_mode & 0o077 for file in files} == {0}
    assert end(process) == 0
    assert "Traceback" not in clone.log()
    # A further agency's key is no reason to ask Ultravox with the oldest one's, which is the sandbox's
    subprocess.run(
        [sys.executable, "manage.py", "shell", "--command", ADD_AGENCY],
        cwd=clone.folder,
        env={"PATH": os.environ["PATH"]},
        check=True,
        capture_output=True,
    )
    process = clone.run("again")
    wait_for(lambda: "Login   as before" in clone.log("again"), 60, "the second start")
    assert "made up by a sandbox" in clone.log("again")
    assert end(process) == 0


def test_ctrl_c_ends_it_in_the_first_sync(clone: Clone, ultravox: Ultravox) -> None:
    ultravox.hold_after(0)
    environment = {"ULTRAVOX_API_URL": ultravox.url, "ULTRAVOX_API_KEY": API_KEY}
    process = clone.run(**environment)
    ultravox.wait_for_requests(1, 30)
    assert end(process) == 130
    assert clone.password() is None
    # What nobody was told is not lost
    ultravox.release()
    process = clone.run(**environment, DJANGO_ALLOWED_HOSTS="voices.example.com,127.0.0.1")
    assert wait_for(clone.password, 60, "the password")
    assert "does not answer yet" not in clone.log()
    # As it ends when its terminal is closed
    assert end(process, signal.SIGHUP) == 0
    with pytest.raises(requests.ConnectionError):
        requests.get(clone.url, timeout=5)


def test_it_says_what_is_wrong(clone: Clone) -> None:
    nowhere = f"postgres://127.0.0.1:{free_port()}/x"
    (clone.folder / ".env").write_text("DJANGO_LOG_LEVEL=INFO\n")
    for expected, environment in {
        "DJANGO_SECRET_KEY is not set": {},
        "CREDENTIALS_KEYS is not set": {"DJANGO_DEBUG": "true"},
        "The database cannot be reached": {"DJANGO_DEBUG": "true", "DATABASE_URL": nowhere},
    }.items():
        assert clone.run(**environment).wait(20) == 1
        assert clone.log().startswith("make run: ")
        assert expected in clone.log()
        assert "Traceback" not in clone.log()


def test_two_at_once_make_a_virtual_environment_whose_python_is_gone_anew(clone: Clone) -> None:
    venv = clone.folder / ".venv"
    (venv / "bin").mkdir(parents=True)
    (venv / "bin/python").symlink_to("/usr/bin/python-of-last-year")
    (clone.folder / "requirements.txt").write_text("")
    (venv / "run").touch()
    command = ("make", "--no-print-directory", ".venv/run", f"PYTHON={sys.executable}")

    def start() -> subprocess.Popen[str]:
        return subprocess.Popen(
            command, cwd=clone.folder, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )

    both = [start()]
    wait_for((venv / "bin/python").exists, 60, "the first one's Python")
    both.append(start())
    outcomes = [(process.communicate(timeout=60)[0], process.returncode) for process in both]
    assert outcomes == [("", 0), ("", 0)]
    subprocess.run([venv / "bin/python", "-m", "pip", "--version"], check=True)
    assert (venv / "run").exists()
