"""The release before goes on, while this one migrates its database and after."""

import io
import subprocess
import tarfile
import threading
from collections import Counter
from pathlib import Path

import pytest
import requests

from tests.support.environment import SERVICE_KEY
from tests.support.project import ROOT, Database, Project, wait_for
from tests.support.seeding import add_agency, add_user
from tests.ultravox import Ultravox

# The last commit of the release before; at each release, put the new one's here.
RELEASE = "06175d248b94d2146fde542b602ea077b931bb3d"
READS = ("/api/voices/?page_size=5", "/api/sync-runs/", "/functions/v1/voices-list")
ADDED = (
    "INSERT INTO ultravox_voices (id, name, last_synced_at)"
    " VALUES ('theirs', 'Theirs', '2026-01-01 00:00:00')"
)


class Release(Project):
    """The release before, in a folder of its own."""

    def __init__(self, database: Database, folder: Path, **environment: str) -> None:
        super().__init__(database, folder, **environment)
        archive = subprocess.run(
            ["git", "archive", RELEASE], cwd=ROOT, capture_output=True, check=False
        )
        if archive.returncode:
            pytest.skip(f"commit {RELEASE} is not here: git fetch --unshallow")
        self.root = folder / "release"
        with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as files:
            files.extractall(self.root, filter="data")


def keep_asking(url: str, stopped: threading.Event, answers: Counter[tuple[str, int]]) -> None:
    while not stopped.wait(0.02):
        for path in READS:
            answer = requests.get(f"{url}{path}", headers={"apikey": SERVICE_KEY}, timeout=60)
            answers[path, answer.status_code] += 1


def sync(url: str) -> int:
    headers = {"apikey": SERVICE_KEY}
    return requests.post(f"{url}/api/voices/sync/", headers=headers, timeout=60).status_code


def test_the_release_before_goes_on_while_its_database_is_migrated(
    tmp_path: Path, ultravox: Ultravox
) -> None:
    database = Database.create(tmp_path)
    old = Release(database, tmp_path, ULTRAVOX_API_URL=ultravox.url)
    new = Project(database, tmp_path, ULTRAVOX_API_URL=ultravox.url)
    try:
        done = old.manage("migrate", "-v", "0")
        assert done.returncode == 0, done.stderr
        agency = add_agency(old)
        add_user(old, agency)
        assert old.manage("sync_voices").returncode == 0
        database.rows(ADDED)
        url = old.serve("--workers=1")
        answers: Counter[tuple[str, int]] = Counter()
        stopped = threading.Event()
        reader = threading.Thread(target=keep_asking, args=(url, stopped, answers))
        reader.start()
        wait_for(lambda: len(answers) == len(READS))
        done = new.manage("migrate", "-v", "0")
        assert done.returncode == 0, done.stderr
        before = answers.total()
        wait_for(lambda: answers.total() > before + 10)
        assert sync(url) == 200  # by the old code, on the new tables
        stopped.set()
        reader.join(60)
        assert {status for _, status in answers} == {200}
        # Rolling back is to go on with it; the new one finds all that there was.
        assert sync(new.serve("--workers=1")) == 200
        runs = "SELECT trigger, status, synced FROM voice_sync_runs ORDER BY id"
        good = ("succeeded", 300)
        assert database.rows(runs) == [("command", *good), ("service", *good), ("service", *good)]
        assert database.value("SELECT count(*) FROM ultravox_voices") == 301
        assert database.value("SELECT count(*) FROM users") == 1
    finally:
        old.stop()
        new.stop()
