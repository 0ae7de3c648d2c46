"""The floor: a sync that does only what is indispensable. `python -m benchmarks.floor` runs it once.

No retries, no deadline, no checks, no record of the run, nothing of what a database refuses: what is
left is one request a page, parsing, and the cheapest upsert that each database has, in a transaction
that begins when all pages are there.
"""

import http.client
import os
import sqlite3
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

import orjson

from voices.folding import folded

API_KEY = "sandbox-key"
FIELDS = {
    "id": "voiceId",
    "name": "name",
    "description": "description",
    "language_label": "languageLabel",
    "primary_language": "primaryLanguage",
    "ownership": "ownership",
    "billing_style": "billingStyle",
    "provider": "provider",
    "preview_url": "previewUrl",
}
COLUMNS = [*FIELDS, "sort_name", "search_text", "definition", "last_synced_at"]
NAMES = ", ".join(COLUMNS)
UPDATES = ", ".join(f"{column} = EXCLUDED.{column}" for column in COLUMNS[1:])


def readable(record: dict[str, Any]) -> tuple[str, str]:
    """Return what reading needs of a record: its `sort_name` and its `search_text`."""
    searched = ("voiceId", "name", "description", "languageLabel", "primaryLanguage", "provider")
    return folded(*map(record.get, searched))  # type: ignore[arg-type]


def fetch(url: str) -> Iterator[dict[str, Any]]:
    """Yield the records of all pages, over one connection."""
    address = urlsplit(url)
    connection = http.client.HTTPConnection(address.hostname or "", address.port)
    target = "/api/voices?pageSize=100&limit=100"
    while target:
        connection.request("GET", target, headers={"X-API-Key": API_KEY})
        page = orjson.loads(connection.getresponse().read())
        yield from page["results"]
        target = (page["next"] or "").removeprefix(url)
    connection.close()


def postgresql(database: str, url: str) -> Callable[[], object]:
    """Return the sync, on a connection that is open."""
    import psycopg
    from psycopg.types.json import set_json_dumps

    connection = psycopg.connect(database, autocommit=True)
    set_json_dumps(orjson.dumps, connection)

    def sync() -> None:
        fields, now = list(FIELDS.values()), datetime.now(UTC)
        records = list(fetch(url))
        with connection.transaction(), connection.cursor() as cursor:
            cursor.execute(
                "CREATE TEMPORARY TABLE incoming (LIKE ultravox_voices) ON COMMIT DROP",
                prepare=False,
            )
            with cursor.copy(f"COPY incoming ({NAMES}) FROM STDIN (FORMAT BINARY)") as copy:
                copy.set_types([*["text"] * (len(FIELDS) + 2), "jsonb", "timestamptz"])
                for record in records:
                    texts = [record.get(field) for field in fields]
                    row = [*texts, *readable(record), record.get("definition"), now]
                    copy.write_row(row)
            cursor.execute(
                f"INSERT INTO ultravox_voices ({NAMES}) SELECT {NAMES} FROM incoming"
                f" ON CONFLICT (id) DO UPDATE SET {UPDATES}",
                prepare=False,
            )

    return sync


def sqlite(database: str, url: str) -> Callable[[], object]:
    """Return the sync, on a connection that is open."""
    connection = sqlite3.connect(database.removeprefix("sqlite:///"), isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=NORMAL")
    values = ", ".join("?" * len(COLUMNS))
    upsert = (
        f"INSERT INTO ultravox_voices ({NAMES}) VALUES ({values})"
        f" ON CONFLICT (id) DO UPDATE SET {UPDATES}"
    )

    def sync() -> None:
        fields, now = list(FIELDS.values()), datetime.now(UTC).replace(tzinfo=None).isoformat(" ")
        rows = [
            (
                *map(record.get, fields),
                *readable(record),
                orjson.dumps(record["definition"]).decode(),
                now,
            )
            for record in fetch(url)
        ]
        connection.execute("BEGIN IMMEDIATE")
        connection.executemany(upsert, rows)
        connection.execute("COMMIT")

    return sync


def prepare() -> Callable[[], object]:
    """Return the sync with `DATABASE_URL` and `ULTRAVOX_API_URL`."""
    database, url = os.environ["DATABASE_URL"], os.environ["ULTRAVOX_API_URL"]
    return (sqlite if database.startswith("sqlite") else postgresql)(database, url)


if __name__ == "__main__":
    prepare()()
