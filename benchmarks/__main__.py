"""Measure the project beside the floor and textbook Django: `make bench`, or with options of its own."""

import argparse
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks import measure
from benchmarks.joined import joined
from benchmarks.processes import whole
from benchmarks.reading import reading
from benchmarks.report import Results
from benchmarks.services import databases

ENGINES = ("postgresql", "sqlite")


def _integers(text: str) -> list[int]:
    return [int(part) for part in text.replace("_", "").split(",")]


def _numbers(text: str) -> list[float]:
    return [float(part) for part in text.split(",")]


def _engines(text: str) -> list[str]:
    names = text.split(",")
    if not set(names) <= set(ENGINES):
        raise argparse.ArgumentTypeError(f"of {', '.join(ENGINES)}")
    return names


def _server() -> str:
    url = os.environ.get("DATABASE_URL", "")
    return url if url.startswith("postgres") else "postgres://postgres@127.0.0.1:5432/postgres"


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "--voices", type=_integers, default=[1000, 20_000], metavar="N,N", help="(1000,20000)"
    )
    parser.add_argument(
        "--read", type=_integers, default=[10_000, 100_000], metavar="N,N", help="(10000,100000)"
    )
    parser.add_argument(
        "--latency", type=_numbers, default=[0, 20], metavar="MS,MS", help="ms a page (0,20)"
    )
    parser.add_argument(
        "--rounds", type=int, metavar="N", help="of each; fewer of what takes long (5)"
    )
    parser.add_argument(
        "--engine", type=_engines, default=list(ENGINES), help="(postgresql,sqlite)"
    )
    parser.add_argument(
        "--database",
        default=_server(),
        metavar="URL",
        help="a PostgreSQL server, on which databases are made and dropped (%(default)s)",
    )
    parser.add_argument("--scaling", action="store_true", help="2,000 to 200,000 voices as well")
    parser.add_argument("--sizes", type=_integers, default=[2000, 20_000, 200_000], help="of that")
    parser.add_argument("--quick", action="store_true", help="few rounds, and only syncs at 0 ms")
    parser.add_argument("--write", action="store_true", help="write docs/performance.md")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> None:
    options = _parse(arguments)
    rounds = options.rounds or (3 if options.quick else 5)
    results = Results()
    for engine in options.engine:
        with (
            tempfile.TemporaryDirectory() as folder,
            databases(engine, options.database, Path(folder)) as made,
        ):
            results.servers.append(str(made.create()))
            for voices in options.voices:
                latencies = [0.0] if options.quick else options.latency
                series, speed = measure.in_process(made, voices, latencies, rounds)
                results.series += series
                results.speeds[engine, voices] = speed
            if engine == "postgresql" and not options.quick:
                for voices in options.read:
                    results.reading.append(reading(made, folder, voices, 20 * rounds))
            if not options.quick:
                results.processes.append(whole(made, Path(folder), rounds))
                results.joined.append(joined(made, rounds))
            if options.scaling:
                results.scaling += measure.scaling(made, options.sizes, rounds)
    print(results.markdown())
    if options.write:
        results.write()


if __name__ == "__main__":
    main()
