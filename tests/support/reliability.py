"""`docs/reliability.md`, generated from the tests' own data: `make docs`.

Tests marked with `shows(kind)` say with their docstring, and with the sandbox's fault where they have
one, what goes wrong. Their figures come by `record_property`.
"""

from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.ultravox import FAULTS, Fault

KINDS = {
    "fault": "Ultravox and the network",
    "crash": "`kill -9`",
    "database": "The database",
    "concurrency": "Syncs at the same time",
    "input": "Any JSON",
}
HEAD = """# Reliability

Generated from the tests by `make docs`: what went wrong, what happened, and the test that saw it, on
{databases}. "Kept" means that the table was the same before and after, row by row, that the run was
recorded as failed, and that the caller got the contract's error. "Synced" means that all voices
were stored. In every case the next sync worked.

| figure | |
|---|---|
{figures}
"""
OUTCOMES = {"synced": "synced", "skipped": "synced but for {} records", "ultravox_error": "kept"}


def shows(kind: str) -> Callable[[Any], Any]:
    """Mark a test as one that `docs/reliability.md` tells of."""
    return pytest.mark.reliability(kind)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--reliability", metavar="FILE", help="write docs/reliability.md to FILE")


def pytest_configure(config: pytest.Config) -> None:
    if file := config.getoption("--reliability"):
        config.pluginmanager.register(_Writer(Path(file)), "reliability-writer")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if marker := item.get_closest_marker("reliability"):
            item.user_properties.append(("reliability", (marker.args[0], _what_happens(item))))


def _what_happens(item: Any) -> tuple[str, str]:
    parameters = item.callspec.params if hasattr(item, "callspec") else {}
    fault = parameters.get("fault")
    if isinstance(fault, Fault):
        return fault.does, OUTCOMES[fault.expect].format(fault.skipped)
    document = (item.obj.__doc__ or "").strip().partition("\n")[0]
    what, _, outcome = document.rstrip(".").rpartition(": ")
    names = [getattr(value, "__name__", str(value)) for value in parameters.values()]
    detail = f" ({', '.join(names).replace('start_', 'of the ')})" if names else ""
    return what + detail, outcome


class _Writer:
    def __init__(self, file: Path) -> None:
        self._file = file
        self._rows: dict[str, list[str]] = defaultdict(list)
        self._figures: dict[str, set[Any]] = defaultdict(set)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when != "call" or not report.passed:
            return
        properties: dict[str, Any] = dict(report.user_properties)
        if shown := properties.pop("reliability", None):
            kind, (what, outcome) = shown
            test = report.nodeid.removeprefix("tests/")
            self._rows[kind].append(f"| {what} | {outcome} | `{test}` |".replace("\n", " "))
        for name, value in properties.items():
            self._figures[name].add(value)

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if hasattr(session.config, "workerinput"):
            return
        from django.db import connection

        seconds = self._figures.get("seconds_from_kill_to_next_good_sync", {0})
        figures = {
            "faults of Ultravox and the network, tried and survived": len(self._rows["fault"]),
            "of which the sandbox knows": len(FAULTS),
            "points at which a process was killed": len(self._rows["crash"]),
            "faults of the database": len(self._rows["database"]),
            "random listings stored, each twice": max(self._figures.get("listings", {0})),
            "POSTs at once that were one sync": max(self._figures.get("concurrent_posts", {0})),
            "longest time from `kill -9` to the end of the next good sync": f"{max(seconds)} s",
        }
        databases = {"postgresql": "PostgreSQL", "sqlite": "SQLite"}
        text = HEAD.format(
            databases=databases[connection.vendor],
            figures="\n".join(f"| {name} | {value} |" for name, value in figures.items()),
        )
        for kind, title in KINDS.items():
            rows = "\n".join(sorted(self._rows[kind]))
            text += f"\n## {title}\n\n| what went wrong | what happened | test |\n|---|---|---|\n{rows}\n"
        self._file.write_text(text)
