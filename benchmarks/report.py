"""The results as tables, as plots, and as docs/performance.md."""

import importlib
import importlib.metadata
import os
import platform
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.contenders import NAMES
from benchmarks.joined import Joined
from benchmarks.measure import Series
from benchmarks.processes import Processes
from benchmarks.reading import LISTENERS, Reading
from benchmarks.services import ROOT

DOCUMENT = ROOT / "docs" / "performance.md"
PLOTS = ROOT / "docs" / "performance"
FINDINGS = Path(__file__).with_name("findings.md")
PACKAGES = ("Django", "psycopg", "orjson", "urllib3", "requests")
MB = 1_000_000
# The most that the project may cost, as ratios to another: by engine, voices, milliseconds a page.
LIMITS = {
    ("PostgreSQL", 20_000, 0): ("floor", 2.0),
    ("PostgreSQL", 20_000, 20): ("floor", 1.10),
    ("PostgreSQL", 1_000, 20): ("floor", 1.35),
    ("SQLite", 20_000, 0): ("textbook", 1.1),
}
# The most that reading may cost, as ratios to another request.
READING = {
    "list": ("textbook", 1.25),
    "search": ("textbook, search", 1.5),
    "preview": ("list", 1.0),
}
PAGE_REQUESTS, PAGE_SIZE = 6, 60_000
PROCESS_LIMIT, START_LIMIT, JOINED_LIMIT = 2.2, 2.0, 1.5
MEMORY_LIMIT, GROWTH_LIMIT, LINEAR_LIMIT = 120 * MB, 1500, 1.15  # bytes, bytes a voice, ratio


@dataclass
class Results:
    """All that one run of the benchmarks measured."""

    servers: list[str] = field(default_factory=list)
    series: list[Series] = field(default_factory=list)
    speeds: dict[tuple[str, int], float] = field(default_factory=dict)
    scaling: list[Series] = field(default_factory=list)
    processes: list[Processes] = field(default_factory=list)
    joined: list[Joined] = field(default_factory=list)
    reading: list[Reading] = field(default_factory=list)

    def markdown(self) -> str:
        """Return all tables."""
        parts = [f"{machine()}\n\n{versions(self.servers)}"]
        makers: list[tuple[str, list[Any], Callable[[], str]]] = [
            ("In a running process", self.series, self._in_process),
            ("Whole processes", self.processes, self._processes),
            ("Many POSTs at once", self.joined, self._joined),
            ("Finding and hearing a voice", self.reading, self._reading),
            ("Time and memory against the number of voices", self.scaling, self._scaling),
        ]
        parts += [f"## {title}\n\n{make()}" for title, measured, make in makers if measured]
        return "\n\n".join(parts) + "\n"

    def _in_process(self) -> str:
        rows = []
        for series in self.series:
            key = (series.engine.split()[0], series.voices, int(series.latency))
            other, limit = LIMITS.get(key, ("floor", None))
            at_most = _limit(series.ratio("project", other), limit)
            costs = [
                f"{_time(series.seconds(name))} ({series.ratio(name):.2f})"
                for name in NAMES
                if name != "floor"
            ]
            rows.append(
                [
                    series.engine,
                    f"{series.voices:,}",
                    f"{series.latency:g} ms",
                    series.phase,
                    _time(series.seconds("floor")),
                    *costs,
                    at_most and f"{at_most} x {other}",
                ]
            )
        rounds = len(self.series[0].costs["floor"])
        speeds = "; ".join(
            f"{voices:,} voices, {engine} run: {speed:,.0f}"
            for (engine, voices), speed in self.speeds.items()
        )
        return (
            f"Medians of up to {rounds} interleaved rounds, and ratios to the floor. All contenders"
            " left the same rows: after a first sync, and after one over rows that had been spoilt.\n\n"
            + _table(
                ["database", "voices", "a page", "", "floor", *NAMES[1:], "project at most"], rows
            )
            + "\n\nPages a second that the sandbox gives a client on a bare socket that does not"
            f" parse: {speeds}."
        )

    def _processes(self) -> str:
        rows = [
            [
                it.engine,
                _time(it.floor),
                f"{_time(it.project)} ({it.project / it.floor:.2f})",
                _limit(it.project / it.floor, _for_postgresql(it.engine, PROCESS_LIMIT)),
                _time(it.empty),
                f"{_time(it.start)} ({it.start / it.empty:.2f})",
                _limit(it.start / it.empty, START_LIMIT),
                f"{_time(it.usage)} ({it.usage / it.empty:.2f})",
            ]
            for it in self.processes
        ]
        return (
            "1,000 voices, 20 ms a page. The start-up is the command's whole time without that of the"
            " same sync in a running process; beside it, an empty Django project's command that only"
            " connects to the same database, and `manage.py sync_voices --help`.\n\n"
            + _table(
                [
                    "database",
                    "floor",
                    "`manage.py sync_voices`",
                    "at most",
                    "empty project",
                    "start-up",
                    "at most",
                    "`--help`",
                ],
                rows,
            )
        )

    def _joined(self) -> str:
        rows = [
            [
                it.engine,
                _time(it.alone),
                f"{it.posts}",
                _time(it.slowest),
                f"{it.syncs:g}",
                f"{it.slowest / it.alone:.2f}",
                _limit(it.slowest / it.alone, JOINED_LIMIT),
            ]
            for it in self.joined
        ]
        return "1,000 voices, 20 ms a page, gunicorn with two processes.\n\n" + _table(
            ["database", "one alone", "at once", "the slowest", "syncs", "ratio", "at most"], rows
        )

    def _reading(self) -> str:
        rows = []
        for name, (other, limit) in READING.items():
            for suffix in ("", ", after a commit"):
                ratios = [
                    it.median(name + suffix) / it.median(other + suffix) for it in self.reading
                ]
                times = [
                    f"{_time(it.median(name + suffix))} ({ratio:.2f})"
                    for it, ratio in zip(self.reading, ratios, strict=True)
                ]
                others = [_time(it.median(other + suffix)) for it in self.reading]
                bar = "" if suffix else _limit(ratios[0], limit)
                rows.append([name + suffix, *times, other, *others, bar])
        heads = [f"{it.voices:,} voices" for it in self.reading]
        asked = " and ".join(str(it.asked) for it in self.reading)
        return (
            f"To the first byte, on {self.reading[0].engine} and gunicorn with two processes; medians of"
            " interleaved requests by a service, and ratios to another. The textbook is a ModelViewSet with"
            ' django-filter, with the same columns and without facets. "After a commit" is what a first'
            " request costs once anybody has written anything to the PostgreSQL server."
            f" {LISTENERS} listeners of one voice at once made {asked} requests to Ultravox: at most one a"
            " process.\n\n" + _table(["", *heads, "beside", *heads, "at most"], rows) + self._page()
        )

    def _page(self) -> str:
        pages = [(it.voices, it.page) for it in self.reading if it.page]
        if not pages:
            return "\n\nThe page was not measured: there is no Chromium."
        rows = [
            [
                f"{voices:,}",
                f"{page.requests}{_verdict(page.requests, PAGE_REQUESTS)}",
                f"{page.size / 1000:.1f} kB{_verdict(page.size, PAGE_SIZE)}",
                _time(page.seconds),
            ]
            for voices, page in pages
        ]
        return (
            "\n\nThe page at `/`, from its address to the first voice in view, in a Chromium that has"
            f" never seen it: at most {PAGE_REQUESTS} requests, and {PAGE_SIZE / 1000:.0f} kB of script"
            " and style before compression.\n\n"
            + _table(["voices", "requests", "script and style", "time"], rows)
        )

    def _scaling(self) -> str:
        rows = []
        for engine in dict.fromkeys(series.engine for series in self.scaling):
            curve = [series for series in self.scaling if series.engine == engine]
            for before, series in zip([None, *curve], curve, strict=False):
                peak, growth = _peak(series, "project"), ""
                if before:
                    more = (peak - _peak(before, "project")) / (series.voices - before.voices)
                    growth = f"{more:,.0f} B{_verdict(more, GROWTH_LIMIT)}"
                rise = _of_a_voice(series, "project") / _of_a_voice(curve[0], "project")
                rows.append(
                    [
                        engine,
                        f"{series.voices:,}",
                        *[
                            f"{_time(series.seconds(name))}, {_of_a_voice(series, name):.1f} µs"
                            for name in ("floor", "project")
                        ],
                        f"{rise:.2f}{_verdict(rise, LINEAR_LIMIT)}",
                        f"{_peak(series, 'floor') / MB:.0f} MB",
                        f"{peak / MB:.0f} MB"
                        + (_verdict(peak, MEMORY_LIMIT) if series.voices == 20_000 else ""),
                        growth,
                    ]
                )
        head = [
            "database",
            "voices",
            "floor, a voice",
            "project, a voice",
            "rise",
            "floor's peak",
            "project's peak",
            "a further voice",
        ]
        return (
            "First syncs at 0 ms a page. The time that a voice takes may rise by"
            f" {LINEAR_LIMIT - 1:.0%} from the fewest voices to the most. Memory is the peak over the"
            f" process at rest, in a process that has not synced before: at most {MEMORY_LIMIT // MB} MB"
            f" at 20,000 voices, and {GROWTH_LIMIT:,} bytes more for each further voice.\n\n"
            + _table(head, rows)
        )

    def write(self) -> None:
        """Write docs/performance.md and its plots."""
        if self.scaling:
            _plot(self.scaling)
        plots = [f"![{file.stem}](performance/{file.name})" for file in sorted(PLOTS.glob("*.svg"))]
        findings = f"## Findings\n\n{FINDINGS.read_text()}" if FINDINGS.exists() else ""
        parts = [INTRODUCTION, self.markdown(), "\n".join(plots), findings]
        DOCUMENT.parent.mkdir(exist_ok=True)
        DOCUMENT.write_text("\n\n".join(part.strip() for part in parts if part) + "\n")


INTRODUCTION = """# Performance

What a sync costs, beside what it costs at least. Written by `make bench`; see `benchmarks/`.

- The floor only does what is indispensable: raw `http.client` on one connection, orjson, then on
  PostgreSQL binary COPY into a temporary table and one `INSERT ... SELECT ... ON CONFLICT`, on SQLite
  one `executemany` upsert. No retries, no checks, no history, no record of who saw what.
- The project is `voices.sync.sync_voices`, with all that it promises.
- Textbook is Django as its documentation shows it: requests, `r.json()`, model instances, one
  `bulk_create(update_conflicts=True)`.

All of them write the text that searches read. Each contender is a process of its own with a database of its
own on the same server, told to sync in turns; the sandbox is another process, its pages made ahead. Ratios
are to the floor.
"""


def machine() -> str:
    """Describe the machine in one line."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        names = [line for line in cpuinfo.read_text().splitlines() if line.startswith("model name")]
        model = names[0].partition(":")[2].strip() if names else model
    return f"Machine: {os.cpu_count()} x {model}, {memory:.0f} GB, {platform.system()} {platform.release()}."


def versions(servers: Iterable[str]) -> str:
    """List what ran."""
    packages = [f"{name} {importlib.metadata.version(name)}" for name in PACKAGES]
    return f"Versions: {', '.join([f'Python {sys.version.split()[0]}', *packages, *servers])}."


def _time(seconds: float) -> str:
    return f"{seconds:.2f} s" if seconds >= 1 else f"{seconds * 1000:.0f} ms"


def _limit(value: float, limit: float | None) -> str:
    return "" if limit is None else f"{limit:.2f}{_verdict(value, limit)}"


def _verdict(value: float, limit: float) -> str:
    return "" if value <= limit else " **missed**"


def _for_postgresql(engine: str, limit: float) -> float | None:
    return limit if engine.startswith("PostgreSQL") else None


def _of_a_voice(series: Series, name: str) -> float:
    """Return microseconds."""
    return series.seconds(name) / series.voices * 1e6


def _peak(series: Series, name: str) -> float:
    return max(cost.peak for cost in series.costs[name])


def _table(head: list[str], rows: list[list[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    lines = [head, ["-" * width for width in widths], *rows]
    return "\n".join(
        f"| {' | '.join(cell.ljust(width) for cell, width in zip(line, widths, strict=True))} |"
        for line in lines
    )


def _plot(scaling: list[Series]) -> None:
    """Draw time and memory against the number of voices."""
    matplotlib = importlib.import_module("matplotlib")
    matplotlib.use("Agg")
    matplotlib.rcParams["svg.hashsalt"] = "performance"
    pyplot = importlib.import_module("matplotlib.pyplot")
    PLOTS.mkdir(parents=True, exist_ok=True)
    values: dict[str, tuple[str, Callable[[Series, str], float]]] = {
        "time": ("seconds", Series.seconds),
        "memory": ("MB over the process at rest", lambda series, name: _peak(series, name) / MB),
    }
    for what, (unit, value) in values.items():
        figure, axes = pyplot.subplots(figsize=(7, 4))
        for engine in dict.fromkeys(series.engine for series in scaling):
            curve = [series for series in scaling if series.engine == engine]
            for name, line in (("project", "o-"), ("floor", "s--")):
                axes.plot(
                    [series.voices for series in curve],
                    [value(series, name) for series in curve],
                    line,
                    label=f"{name}, {engine}",
                )
        axes.set(xscale="log", yscale="log", xlabel="voices", ylabel=unit)
        axes.grid(alpha=0.3)
        axes.legend()
        figure.savefig(PLOTS / f"{what}.svg", metadata={"Date": None}, bbox_inches="tight")
        pyplot.close(figure)
