"""How long a sync takes: the floor, textbook Django and the project in turns, each on its own database."""

import hashlib
import json
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from functools import partial

from benchmarks.floor import COLUMNS
from benchmarks.report import Bar
from benchmarks.services import Database, Process, environment, medians, run, seconds_of

CONTENDERS = ("floor", "textbook", "project")
PHASES = ("first sync", "re-sync without changes")
# By database: voices, milliseconds a page, the reference, and the limits of both phases.
BARS = {
    "PostgreSQL": (
        (1000, 20, "floor", (1.40, 1.25)),
        (1000, 0, "textbook", (1.20, 0.85)),
        (20_000, 0, "textbook", (1.25, 1.0)),
    ),
    "SQLite": (
        (1000, 0, "textbook", (1.20, 0.75)),
        (20_000, 0, "textbook", (1.25, 0.75)),
    ),
}
COMMANDS = {"floor": ["-m", "benchmarks.floor"], "project": ["manage.py", "sync_voices"]}
PROCESS_LIMIT = 2.2
FEW, MANY, SIZE_LIMIT = 2000, 100_000, 1.3  # voices

Databases = Mapping[str, Database]  # by contender


def in_running_process(databases: Databases, engine: str, rounds: int) -> list[Bar]:
    """Measure syncs in processes that are already running."""
    bars = []
    for voices, latency, reference, limits in BARS[engine]:
        title = f"{engine}, {voices:,} voices, {latency} ms a page"
        fewer = rounds if voices <= 1000 else max(1, rounds // 3)
        seconds = _compare(databases, voices, latency, fewer)
        for phase, limit in zip(PHASES, limits, strict=True):
            by_contender = {name: seconds[name, phase] for name in CONTENDERS}
            bars.append(Bar(f"{title}: {phase}", by_contender, reference, limit))
    return bars


def in_whole_process(databases: Databases, engine: str, rounds: int) -> list[Bar]:
    """Measure `manage.py sync_voices` and the floor from the start of Python to its end."""
    title = f"{engine}, 1,000 voices, 20 ms a page: `manage.py sync_voices`"
    with Process("ultravox", 1000, 20) as ultravox:
        commands = {
            name: partial(run, arguments, environment(databases[name], ultravox.first_line))
            for name, arguments in COMMANDS.items()
        }
        timed = {name: partial(seconds_of, command) for name, command in commands.items()}
        return [Bar(title, medians(timed, rounds), "floor", PROCESS_LIMIT)]


def by_size(databases: Databases, engine: str, rounds: int) -> list[Bar]:
    """Measure the time for each voice in first syncs of few and of many voices."""
    title = f"{engine}, {MANY:,} voices, 0 ms a page: first sync, for each voice"
    with ExitStack() as stack:

        def first_sync(voices: int) -> Callable[[], float]:
            ultravox = stack.enter_context(Process("ultravox", voices, 0))
            contender = Contender("project", databases["project"], ultravox, stack)
            return lambda: contender.first_sync() / voices

        few = f"{FEW:,} voices"
        syncs = {few: first_sync(FEW), "project": first_sync(MANY)}
        return [Bar(title, medians(syncs, max(1, rounds // 5)), few, SIZE_LIMIT)]


class Contender:
    """A process that syncs, and the digests of the rows that it stored."""

    def __init__(self, name: str, database: Database, ultravox: Process, stack: ExitStack) -> None:
        variables = environment(database, ultravox.first_line)
        self._process = stack.enter_context(Process("worker", name, variables=variables))
        self._database = database
        self.digests: set[str] = set()

    def first_sync(self) -> float:
        """Return the seconds of a sync into an empty table."""
        self._database.empty()
        return self.sync()

    def sync(self) -> float:
        """Return the seconds of a sync."""
        seconds = float(self._process.request())
        self.digests.add(_digest(self._database))
        self._database.settle()
        return seconds


def _compare(
    databases: Databases, voices: int, latency: int, rounds: int
) -> dict[tuple[str, str], float]:
    """Return the median seconds by contender and phase."""
    syncs = {}
    with ExitStack() as stack:
        ultravox = stack.enter_context(Process("ultravox", voices, latency))
        contenders = [Contender(name, databases[name], ultravox, stack) for name in CONTENDERS]
        for name, contender in zip(CONTENDERS, contenders, strict=True):
            syncs[name, PHASES[0]] = contender.first_sync
            syncs[name, PHASES[1]] = contender.sync
        seconds = medians(syncs, rounds)
        digests = set.union(*(contender.digests for contender in contenders))
        assert len(digests) == 1, "The contenders stored different rows"
    return seconds


def _digest(database: Database) -> str:
    """Return a hash of all rows without `last_synced_at`, which must be the same in all rows."""
    *columns, definition, time = COLUMNS
    rows = database.rows(
        f"SELECT {', '.join(columns)}, CAST({definition} AS text), {time} FROM ultravox_voices"
    )
    assert len({row[-1] for row in rows}) == 1, "Rows have different times"
    texts = sorted((*row[:-2], json.dumps(json.loads(row[-2]), sort_keys=True)) for row in rows)
    return hashlib.sha256(repr(texts).encode()).hexdigest()
