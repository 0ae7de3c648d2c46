"""The figures as a table, and their place in docs/performance.md."""

import importlib.metadata
import os
import platform
from collections.abc import Iterable
from dataclasses import dataclass

from benchmarks.services import ROOT

DOCUMENT = ROOT / "docs" / "performance.md"
BEGIN, END = "<!-- figures of `make bench` -->\n", "<!-- end -->\n"
PACKAGES = ("Django", "psycopg", "orjson", "urllib3", "requests")
HEAD = ["", "project", "compared with", "ratio", "at most"]


@dataclass(frozen=True)
class Bar:
    """Median seconds by contender, and the highest ratio of the project's to the reference's."""

    measured: str
    seconds: dict[str, float]
    reference: str
    limit: float

    @property
    def cells(self) -> list[str]:
        ratio = self.seconds["project"] / self.seconds[self.reference]
        return [
            self.measured,
            _time(self.seconds["project"]),
            ", ".join(f"{n} {_time(s)}" for n, s in self.seconds.items() if n != "project"),
            f"{ratio:.2f}" if ratio <= self.limit else f"**{ratio:.2f}**",
            f"{self.limit:.2f} × {self.reference}",
        ]


def markdown(bars: Iterable[Bar], databases: Iterable[str]) -> str:
    """Return the table, and the machine and the versions that were measured."""
    lines = [HEAD, ["---"] * len(HEAD), *(bar.cells for bar in bars)]
    table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    python = f"Python {platform.python_version()}"
    packages = [f"{name} {importlib.metadata.version(name)}" for name in PACKAGES]
    software = ", ".join([python, *packages, *databases])
    return (
        f"{table}\n\nMeasured on {os.cpu_count()} cores, {platform.machine()}, with {software}.\n"
    )


def write(figures: str) -> None:
    """Replace the figures in docs/performance.md."""
    before, _, rest = DOCUMENT.read_text().partition(BEGIN)
    after = rest.partition(END)[2]
    DOCUMENT.write_text(f"{before}{BEGIN}\n{figures}\n{END}{after}")


def _time(seconds: float) -> str:
    if seconds < 0.001:
        return f"{seconds * 1e6:.0f} µs"
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.2f} s"
