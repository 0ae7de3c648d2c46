"""Contenders in processes of their own, held to leave the same rows."""

import contextlib
import hashlib
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass

from benchmarks.floor import COLUMNS
from benchmarks.services import ROOT, Database, Databases, Sandbox, environment

NAMES = ("floor", "project", "textbook")


@dataclass(frozen=True)
class Cost:
    """Of one sync: seconds, and bytes over what the process had before."""

    seconds: float
    peak: int


class Contender:
    """A process that syncs when told to, on a database of its own."""

    def __init__(self, name: str, database: Database, sandbox: Sandbox) -> None:
        self.name = name
        self.database = database
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.worker", name],
            cwd=ROOT,
            env=environment(database.url, sandbox.url),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._answer()

    def _answer(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"The contender {self.name} failed.")
        return line

    def sync(self) -> Cost:
        assert self._process.stdin is not None
        self._process.stdin.write("sync\n")
        self._process.stdin.flush()
        return Cost(**json.loads(self._answer()))

    def fingerprint(self) -> str:
        """Return a hash over all rows and all columns but `last_synced_at`, the same on both engines.

        Raises AssertionError where the rows do not have one time of syncing.
        """
        times = self.database.rows("SELECT count(DISTINCT last_synced_at) FROM ultravox_voices")
        assert times == [(1,)], f"{self.name} left {times[0][0]} times of syncing"
        names = ", ".join(COLUMNS[:-2])
        rows = self.database.rows(f"SELECT {names}, CAST(definition AS text) FROM ultravox_voices")
        digest = hashlib.sha256()
        for *texts, definition in sorted(rows, key=lambda row: row[0]):
            value = None if definition is None else json.loads(definition)
            digest.update(json.dumps([texts, value], sort_keys=True).encode())
        return digest.hexdigest()

    def spoil(self) -> None:
        """Change every row, so that a sync has to put every column right."""
        values = ", ".join(f"{column} = 'spoilt'" for column in COLUMNS[1:-2])
        self.database.rows(
            f"UPDATE ultravox_voices SET {values}, definition = '[]',"
            " last_synced_at = '2000-01-01 00:00:00'"
        )

    def stop(self) -> None:
        self._process.kill()
        self._process.wait()


@contextlib.contextmanager
def contenders(
    names: tuple[str, ...], databases: Databases, sandbox: Sandbox
) -> Iterator[list[Contender]]:
    started: list[Contender] = []
    try:
        for name in names:
            started.append(Contender(name, databases.create(), sandbox))
        yield started
    finally:
        for contender in started:
            contender.stop()


def check(contenders: list[Contender]) -> None:
    """Warm all up, and hold them to the same rows. Raises AssertionError."""
    for contender in contenders:
        contender.database.empty()
        contender.sync()
    prints = {contender.name: contender.fingerprint() for contender in contenders}
    for contender in contenders:
        contender.spoil()
        contender.sync()
        prints[f"{contender.name}, again"] = contender.fingerprint()
    assert len(set(prints.values())) == 1, f"They left different rows: {prints}"
