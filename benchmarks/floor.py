"""The floor: the least work that a sync can do. `python -m benchmarks.floor` runs it once.

It requests and parses each page once, and uses the cheapest upsert of each database, in one transaction.
There are no retries, no deadline, no validation, no record of the run and no list of changes.
"""

import http.client
import os
import sqlite3
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

import orjson

from voices.folding import search_columns
from voices.records import TEXT_FIELDS

API_KEY = "the-key-of-the-benchmarks"
PAGES = "/api/voices?pageSize=100&limit=100"
FIELDS = {"id": "voiceId"} | TEXT_FIELDS
COLUMNS = (*FIELDS, "sort_name", "search_text", "definition", "last_synced_at")
NAMES = ", ".join(COLUMNS)
INSERT = f"INSERT INTO ultravox_voices ({NAMES})"
UPSERT = "ON CONFLICT (id) DO UPDATE SET " + ", ".join(f"{c} = EXCLUDED.{c}" for c in COLUMNS[1:])

Record = dict[str, Any]
Sync = Callable[[], object]


def prepare() -> Sync:
    """Return the sync, on an open connection to `DATABASE_URL`."""
    database, url = os.environ["DATABASE_URL"], os.environ["ULTRAVOX_API_URL"]
    return (_sqlite if database.startswith("sqlite") else _postgresql)(database, url)


def text_columns(record: Record) -> dict[str, Any]:
    """Return the text columns of a record, including those for searches."""
    columns: dict[str, Any] = {column: record.get(field) for column, field in FIELDS.items()}
    return columns | search_columns(columns)


def _fetch(url: str) -> Iterator[Record]:
    """Yield the records of all pages, over one connection."""
    address = urlsplit(url)
    connection = http.client.HTTPConnection(address.hostname or "", address.port)
    target = PAGES
    while target:
        connection.request("GET", target, headers={"X-API-Key": API_KEY})
        page = orjson.loads(connection.getresponse().read())
        yield from page["results"]
        target = (page["next"] or "").removeprefix(url)
    connection.close()


def _postgresql(database: str, url: str) -> Sync:
    import psycopg
    from psycopg.types.json import set_json_dumps

    connection = psycopg.connect(database, autocommit=True, prepare_threshold=None)
    set_json_dumps(orjson.dumps, connection)

    def sync() -> None:
        now = datetime.now(UTC)
        records = list(_fetch(url))
        with connection.transaction(), connection.cursor() as cursor:
            cursor.execute("CREATE TEMPORARY TABLE incoming (LIKE ultravox_voices) ON COMMIT DROP")
            with cursor.copy(f"COPY incoming ({NAMES}) FROM STDIN (FORMAT BINARY)") as copy:
                copy.set_types([*["text"] * (len(COLUMNS) - 2), "jsonb", "timestamptz"])
                for record in records:
                    copy.write_row([*text_columns(record).values(), record["definition"], now])
            cursor.execute(f"{INSERT} SELECT {NAMES} FROM incoming {UPSERT}")

    return sync


def _sqlite(database: str, url: str) -> Sync:
    connection = sqlite3.connect(database.removeprefix("sqlite:///"), isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=NORMAL")
    values = ", ".join("?" * len(COLUMNS))

    def sync() -> None:
        now = datetime.now(UTC).replace(tzinfo=None).isoformat(" ")
        rows = [
            (*text_columns(record).values(), orjson.dumps(record["definition"]).decode(), now)
            for record in _fetch(url)
        ]
        connection.execute("BEGIN IMMEDIATE")
        connection.executemany(f"{INSERT} VALUES ({values}) {UPSERT}", rows)
        connection.execute("COMMIT")

    return sync


if __name__ == "__main__":
    prepare()()
