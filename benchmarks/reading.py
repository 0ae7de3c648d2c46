"""How long lists of voices take, in the process of `python -m benchmarks.reading ROUNDS`.

Prints the median seconds of each request as JSON. The requests go through Django's test client, in turns.
"""

import contextlib
import json
import sys
import threading
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

import django
from django.test import Client, override_settings

from benchmarks.report import Bar
from benchmarks.services import (
    SERVICE_KEY,
    Database,
    Process,
    environment,
    medians,
    run,
    seconds_of,
)

SEARCH = "?search=warm+support"  # two words of descriptions
ADDRESSES = {
    "list": "/api/voices/",
    "textbook list": "/textbook/",
    "textbook list with facets": "/textbook/facets/",
    "search": f"/api/voices/{SEARCH}",
    "textbook search": f"/textbook/{SEARCH}",
}
LIST_LIMITS = {1000: 1.5, 10_000: 2.5}  # by voices, to a textbook list without facets
FACETS_LIMIT, SEARCH_LIMIT = 0.8, 1.5


def bars(databases: Mapping[str, Database], engine: str, rounds: int) -> list[Bar]:
    """Measure lists on PostgreSQL, while another program writes to another database of the server."""
    bars = []
    for voices, limit in LIST_LIMITS.items() if engine == "PostgreSQL" else ():
        title = f"{engine}, {voices:,} voices, reading"
        with _writes(databases["floor"]):
            seconds = _read(databases["project"], voices, 10 * rounds)
        for name, reference, at_most in (
            ("list", "textbook list", limit),
            ("list", "textbook list with facets", FACETS_LIMIT),
            ("search", "textbook search", SEARCH_LIMIT),
        ):
            by_contender = {reference: seconds[reference], "project": seconds[name]}
            bars.append(Bar(f"{title}: {name}", by_contender, reference, at_most))
    return bars


@contextlib.contextmanager
def _writes(database: Database) -> Iterator[None]:
    """Write to a database 50 times a second."""
    stopped = threading.Event()

    def write() -> None:
        while not stopped.wait(0.02):
            database.rows("UPDATE agencies SET name = name")

    thread = threading.Thread(target=write)
    thread.start()
    try:
        yield
    finally:
        stopped.set()
        thread.join()


def _read(database: Database, voices: int, rounds: int) -> dict[str, float]:
    database.empty()
    with Process("ultravox", voices, 0) as ultravox:
        variables = environment(database, ultravox.first_line)
        run(["manage.py", "sync_voices"], variables)
    database.settle()
    return json.loads(run(["-m", "benchmarks.reading", str(rounds)], variables))


def _measure(rounds: int) -> dict[str, float]:
    client = Client(SERVER_NAME="127.0.0.1", headers={"apikey": SERVICE_KEY})
    requests = {name: partial(client.get, address) for name, address in ADDRESSES.items()}
    contents = {name: request().json() for name, request in requests.items()}
    assert contents["list"]["count"] == contents["textbook list"]["count"]
    assert contents["search"]["count"] == contents["textbook search"]["count"] > 0
    assert _counts(contents["list"]) == _counts(contents["textbook list with facets"])
    return medians({name: partial(seconds_of, get) for name, get in requests.items()}, rounds)


def _counts(content: Any) -> dict[tuple[str, Any], int]:
    """Return the number of voices by facet and value."""
    return {
        (facet, value["value"]): value["count"]
        for facet, values in content["facets"].items()
        for value in values
    }


if __name__ == "__main__":
    django.setup()
    with override_settings(ROOT_URLCONF="benchmarks.textbook_api"):
        print(json.dumps(_measure(int(sys.argv[1]))))
