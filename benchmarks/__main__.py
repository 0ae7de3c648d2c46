"""Measure syncs and lists of voices against their references: `python -m benchmarks`.

Creates databases on the PostgreSQL server of DATABASE_URL, and drops them at the end.
"""

import argparse
import os
import sys
import tempfile
from collections.abc import Callable
from contextlib import ExitStack

from benchmarks import reading, syncs
from benchmarks.report import Bar, markdown, write
from benchmarks.services import database

PARTS: dict[str, Callable[[syncs.Databases, str, int], list[Bar]]] = {
    "syncs": syncs.in_running_process,
    "process": syncs.in_whole_process,
    "sizes": syncs.by_size,
    "reading": reading.bars,
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", default=PARTS, help=", ".join(PARTS))
    parser.add_argument("--rounds", type=int, default=15, help="with 1,000 voices (%(default)s)")
    parser.add_argument("--write", action="store_true", help="write docs/performance.md")
    options = parser.parse_args()
    url = os.environ.get("DATABASE_URL", "postgres://postgres@127.0.0.1:5432/postgres")
    bars: list[Bar] = []
    versions = []
    with tempfile.TemporaryDirectory() as folder:
        servers = {"PostgreSQL": url.rpartition("/")[0], "SQLite": f"sqlite:///{folder}"}
        for engine, server in servers.items():
            with ExitStack() as stack:
                databases = {
                    name: stack.enter_context(database(server, name)) for name in syncs.CONTENDERS
                }
                versions.append(f"{engine} {databases['floor'].version}")
                for part in options.parts:
                    print(f"Measuring {part} on {versions[-1]}", file=sys.stderr, flush=True)
                    bars += PARTS[part](databases, engine, options.rounds)
    figures = markdown(bars, versions)
    print(figures)
    if options.write:
        write(figures)


if __name__ == "__main__":
    main()
