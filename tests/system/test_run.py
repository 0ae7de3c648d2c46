"""`make run` in a copy of the project."""

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

import sandbox
from tests.support.environment import ENVIRONMENT
from tests.support.project import ROOT, Database, Project, free_port, on_sqlite, wait_for
from tests.support.seeding import add_agency, add_user
from tests.ultravox import API_KEY, Ultravox

pytestmark = on_sqlite  # the database of `make run`

FOLDERS = ("agencies", "operations", "sandbox", "scripts", "ultravox", "voiceproject", "voices")
SECRETS = {name: ENVIRONMENT[name] for name in ("DJANGO_SECRET_KEY", "CREDENTIALS_KEYS")}


class Clone:
    """A clone of the project in a path with a space, and `make run` there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.processes: list[subprocess.Popen[str]] = []
        ignored = shutil.ignore_patterns("__pycache__")
        for name in FOLDERS:
            shutil.copytree(ROOT / name, folder / name, ignore=ignored)
        for name in ("manage.py", "gunicorn.conf.py"):
            shutil.copy(ROOT / name, folder)

    def run(self, **environment: str) -> None:
        """Start `make run` without the virtual environment and the tests' variables."""
        self.url = f"http://127.0.0.1:{(port := free_port())}"
        with (self.folder / "log").open("w") as file:
            process = subprocess.Popen(
                [sys.executable, "-m", "scripts.run"],
                cwd=self.folder,
                text=True,
                env={"PATH": os.environ["PATH"], "PORT": str(port)} | environment,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.processes.append(process)

    def stop(self, number: int = signal.SIGINT) -> int:
        """Press Ctrl-C, which signals all processes of the terminal, and return the exit status."""
        process = self.processes.pop()
        os.killpg(process.pid, number)
        return process.wait(8)  # Ultravox has 10 seconds to respond

    def log(self) -> str:
        return (self.folder / "log").read_text()

    def password(self) -> str | None:
        match = re.search(r"admin@example.com, password (\S+) ", self.log())
        return match and match[1]


@pytest.fixture
def clone(tmp_path: Path) -> Iterator[Clone]:
    clone = Clone(tmp_path / "with a space")
    yield clone
    while clone.processes:
        clone.stop()


@pytest.mark.entry_point
def test_it_syncs_and_serves(clone: Clone) -> None:
    clone.run()
    password = wait_for(clone.password, 60, "the password")
    login = {"email": "admin@example.com", "password": password}
    browser = requests.Session()  # its connection stays open
    assert browser.post(f"{clone.url}/api/token/", json=login, timeout=10).status_code == 200
    assert "Synced 300 voices" in clone.log()
    # Other users of this machine cannot read its files.
    files = [clone.folder / ".env", *clone.folder.glob("db.sqlite3*")]
    assert len(files) >= 2
    assert {file.stat().st_mode & 0o077 for file in files} == {0}
    wait_for(lambda: "beat: Starting" in clone.log(), 30, "beat")
    assert clone.stop() == 0
    for text in ("SIGKILL", "Traceback", "ERROR"):
        assert text not in clone.log()


def test_it_keeps_data(clone: Clone, migrated: Database) -> None:
    """The sandbox stays while the oldest agency has its key, whatever other agencies have."""
    environment = "".join(f"{name}={value}\n" for name, value in SECRETS.items())
    (clone.folder / ".env").write_text(environment)
    project = Project(Database.create(clone.folder, migrated), clone.folder)
    add_user(project, add_agency(project, key=sandbox.API_KEY))
    add_agency(project, name="Other", key="a key of another account")
    clone.run()
    wait_for(lambda: "Login   your existing account" in clone.log(), 60, "the start")
    assert "voices from the sandbox" in clone.log()
    assert (clone.folder / ".env").read_text() == environment
    assert project.database.rows("SELECT email FROM users") == [("user@example.com",)]
    # Closing the terminal
    assert clone.stop(signal.SIGHUP) == 0
    with pytest.raises(requests.ConnectionError):
        requests.get(clone.url, timeout=5)


def test_a_key_from_ultravox(clone: Clone, ultravox: Ultravox) -> None:
    """The first start is interrupted in its sync, so the next one shows the password."""
    ultravox.hold_after(0)
    environment = {"ULTRAVOX_API_URL": ultravox.url, "ULTRAVOX_API_KEY": API_KEY}
    clone.run(**environment)
    ultravox.wait_for_requests(1, 30)
    assert (clone.stop(), clone.password()) == (130, None)
    ultravox.release()
    clone.run(**environment)
    assert wait_for(clone.password, 60, "the password")
    assert f"Source  {ultravox.url}\n" in clone.log()
