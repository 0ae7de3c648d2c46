"""Rows into the table: insert, or update every column, in the transaction that is open.

Three writers leave the same rows. `bulk_create` is Django's own, and works on any database. COPY into a
temporary table and one statement that merges it cost PostgreSQL a fifth of that, `executemany` SQLite.
"""

# ruff: noqa: S608  # statements are put together from names that stand in this file

import json
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

from django.conf import settings
from django.db import connection

from voices.models import Voice
from voices.records import COLUMNS, Row

BATCH = 500  # rows a statement of the portable writer
NAMES = [*COLUMNS, "last_synced_at"]
INTO = f"INTO ultravox_voices ({', '.join(NAMES)})"
UPDATE = "ON CONFLICT (id) DO UPDATE SET " + ", ".join(f"{n} = EXCLUDED.{n}" for n in NAMES[1:])


def upsert(rows: Sequence[Row], *, synced_at: datetime) -> None:
    """Write rows, each id once. Raises django.db.Error."""
    if settings.PORTABLE_WRITER or connection.vendor not in ("postgresql", "sqlite"):
        _bulk_create(rows, synced_at)
    elif connection.vendor == "postgresql":
        _copy(rows, synced_at)
    else:
        _execute_many(rows, synced_at)


def _copy(rows: Sequence[Row], synced_at: datetime) -> None:
    columns = ", ".join(COLUMNS)
    with connection.cursor() as cursor:
        cursor.execute(
            f"CREATE TEMPORARY TABLE incoming AS SELECT {columns} FROM ultravox_voices WITH NO DATA"
        )
        with (
            connection.wrap_database_errors,
            cursor.copy(f"COPY incoming ({columns}) FROM STDIN") as copy,
        ):
            for row in rows:
                copy.write_row(row)
        cursor.execute(f"INSERT {INTO} SELECT {columns}, %s FROM incoming {UPDATE}", [synced_at])
        cursor.execute("DROP TABLE incoming")


def _execute_many(rows: Sequence[Row], synced_at: datetime) -> None:
    values = ", ".join(["%s"] * len(NAMES))
    time = connection.ops.adapt_datetimefield_value(synced_at)
    with connection.cursor() as cursor:
        cursor.executemany(
            f"INSERT {INTO} VALUES ({values}) {UPDATE}",
            ((*row, time) for row in rows),  # type: ignore[arg-type]  # sqlite3 takes any iterable
        )


def _bulk_create(rows: Sequence[Row], synced_at: datetime) -> None:
    Voice.objects.bulk_create(
        _instances(rows, synced_at),
        batch_size=BATCH,
        update_conflicts=True,
        unique_fields=["id"],
        update_fields=NAMES[1:],
    )


def _instances(rows: Sequence[Row], synced_at: datetime) -> Iterator[Voice]:
    for row in rows:
        values: dict[str, Any] = dict(zip(COLUMNS, row, strict=True))
        if values["definition"] is not None:
            values["definition"] = json.loads(values["definition"])
        yield Voice(**values, last_synced_at=synced_at)
