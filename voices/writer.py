"""Write rows and close their run, in one transaction.

Two writers leave the same rows. Django's own `bulk_create` works on any database. On PostgreSQL a listing
of more than COPY_ABOVE voices is copied into a temporary table and merged by one statement, which at that
size is noticeably faster: docs/performance.md.
"""

# ruff: noqa: S608  # statements are built only from names in this file

import logging
import random
import time
from collections.abc import Iterator, Sequence
from datetime import datetime
from functools import cache
from operator import itemgetter
from typing import Any

import django.db
from django.db import connection, transaction
from django.utils import timezone

from agencies.models import Agency
from voiceproject.database import describe, is_transient, renew_connection, sqlite_busy_timeout
from voiceproject.errors import SaveFailed
from voices.folding import folded
from voices.models import PROGRESS, PUBLIC, JSONText, SyncRun, Voice
from voices.records import COLUMNS, Row

logger = logging.getLogger(__name__)

COPY_ABOVE = 3000  # voices
PATIENCE = 3.0  # seconds that a reader waits for rows that somebody is writing
BATCH = 500  # model instances in memory at a time
SEARCHED = ("id", "name", "description", "language_label", "primary_language", "provider")
WRITTEN = (*COLUMNS, "sort_name", "search_text", "last_synced_at")
CLOSED = ("status", "finished_at", "synced", "skipped", *PROGRESS)
_OWNERSHIP = list(COLUMNS).index("ownership")
_searched_of = itemgetter(*map(list(COLUMNS).index, SEARCHED))
# Source: PostgreSQL's manual, chapter 20.
LIMITS = """
    SET LOCAL lock_timeout = '{wait}ms';
    SET LOCAL client_connection_check_interval = '2s';
    SET LOCAL idle_in_transaction_session_timeout = '15s';
    SET LOCAL tcp_keepalives_idle = 10;
    SET LOCAL tcp_keepalives_interval = 5;
    SET LOCAL tcp_keepalives_count = 2;
"""


def save(run: SyncRun, rows: Sequence[Row], *, deadline: float) -> None:
    """Write all rows and close the run, or do neither; retry transient failures.

    Rows must be sorted by id, each id once: two upserts in different orders deadlock on PostgreSQL.
    Waits for other sessions' locks until the deadline, on the monotonic clock. Raises
    django.db.Error, and SaveFailed if the run was given up for dead.
    """
    run.synced = len(rows)
    renew_connection()
    while True:
        try:
            with transaction.atomic():
                _limit_waiting(deadline)
                _hold(run)
                if connection.vendor == "postgresql" and len(rows) > COPY_ABOVE:
                    _copy(rows, run.started_at)
                else:
                    _bulk_create(rows, run.started_at)
                _remember_who_saw(rows, run)
                run.status, run.finished_at = SyncRun.Status.SUCCEEDED, timezone.now()
                run.save(update_fields=CLOSED)
            return
        except django.db.Error as error:
            if _was_saved(run):
                return
            if not is_transient(error) or time.monotonic() >= deadline:
                raise
            logger.warning("Writing again after: %s", describe(error))
            time.sleep(random.uniform(0.05, 0.25))  # noqa: S311


def add_search_texts() -> None:
    """Give rows that others inserted their search text; where that cannot be, reading goes on without."""
    without = Voice.objects.filter(search_text=None)
    try:
        while without.exists():
            with sqlite_busy_timeout(PATIENCE), transaction.atomic():
                _limit_waiting(time.monotonic() + PATIENCE)
                # In the order of a sync: whoever else does this, or syncs, is waited for.
                voices = list(without.select_for_update().only(*SEARCHED).order_by("pk")[:BATCH])
                for voice in voices:
                    texts = folded(*(getattr(voice, name) for name in SEARCHED))
                    voice.sort_name, voice.search_text = texts
                Voice.objects.bulk_update(voices, ["sort_name", "search_text"])
    except django.db.Error as error:
        logger.warning("Some voices cannot be searched yet: %s", describe(error))


def _limit_waiting(deadline: float) -> None:
    """Bound how long this transaction waits, and others for it; on SQLite, its timeout does both.

    If this process or its machine dies, PostgreSQL notices within seconds, not the hours of its
    defaults, and releases the locks.
    """
    if connection.vendor == "postgresql":
        wait = max(1000, int((deadline - time.monotonic()) * 1000))
        with connection.cursor() as cursor:
            cursor.execute(LIMITS.format(wait=wait))


def _hold(run: SyncRun) -> None:
    """Lock the run's row: whoever finds it locked knows that its process is alive."""
    if not run.while_open().select_for_update().exists():
        raise SaveFailed(
            "The sync was taken for dead and given up; nothing was changed. Try again."
        )


def _was_saved(run: SyncRun) -> bool:
    """Return whether only the answer to COMMIT was lost: that transaction closed the run, too."""
    renew_connection()
    try:
        return SyncRun.objects.filter(pk=run.pk, status=SyncRun.Status.SUCCEEDED).exists()
    except django.db.Error as error:
        logger.warning("Run %s may have been saved: %s", run.pk, describe(error))
        return False


@cache
def _texts_dumper() -> type:
    """Return psycopg's dumper of lists, made faster for texts: it takes a regular expression to each."""
    from psycopg.types.array import ListDumper  # SQLite does without

    class TextsDumper(ListDumper):
        def dump(self, obj: list[Any]) -> Any:
            if not all(isinstance(text, str | None) for text in obj):
                return super().dump(obj)
            escaped = [text and text.replace("\\", r"\\").replace('"', r"\"") for text in obj]
            quoted = ["NULL" if text is None else f'"{text}"' for text in escaped]
            return f"{{{','.join(quoted)}}}".encode()

    return TextsDumper


def _bulk_create(rows: Sequence[Row], synced_at: datetime) -> None:
    if connection.vendor == "postgresql":
        connection.connection.adapters.register_dumper(list, _texts_dumper())
    for start in range(0, len(rows), BATCH):
        Voice.objects.bulk_create(
            _instances(rows[start : start + BATCH], synced_at),
            update_conflicts=True,
            unique_fields=["id"],
            update_fields=WRITTEN[1:],
        )


def _instances(rows: Sequence[Row], synced_at: datetime) -> Iterator[Voice]:
    for row in rows:
        definition = row[-1] and JSONText(row[-1])
        fields: tuple[Any, ...] = (*row[:-1], definition, synced_at, *folded(*_searched_of(row)))
        yield Voice(*fields)  # type: ignore[misc]  # by position, which takes half the time


def _copy(rows: Sequence[Row], synced_at: datetime) -> None:
    columns = ", ".join(WRITTEN[:-1])
    changes = ", ".join(f"{name} = EXCLUDED.{name}" for name in WRITTEN[1:])
    with connection.cursor() as cursor:
        cursor.execute(
            f"CREATE TEMPORARY TABLE incoming AS SELECT {columns} FROM ultravox_voices WITH NO DATA"
        )
        with (
            connection.wrap_database_errors,
            cursor.copy(f"COPY incoming ({columns}) FROM STDIN") as copy,
        ):
            for row in rows:
                copy.write_row((*row, *folded(*_searched_of(row))))
        cursor.execute(
            f"INSERT INTO ultravox_voices ({columns}, last_synced_at)"
            f" SELECT {columns}, %s FROM incoming ON CONFLICT (id) DO UPDATE SET {changes}",
            [synced_at],
        )
        cursor.execute("DROP TABLE incoming")


def _remember_who_saw(rows: Sequence[Row], run: SyncRun) -> None:
    """Record which of the voices that were written are not public: the run's agency sees them."""
    if all(row[_OWNERSHIP] == PUBLIC for row in rows):
        return
    agency = Agency._meta.pk.get_db_prep_value(run.agency_id, connection)
    seen_at = connection.ops.adapt_datetimefield_value(run.started_at)
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO agency_voices (agency_id, voice_id, last_seen_at)"
            " SELECT %s, id, last_synced_at FROM ultravox_voices"
            " WHERE last_synced_at = %s AND (ownership <> %s OR ownership IS NULL)"
            " ON CONFLICT (agency_id, voice_id) DO UPDATE SET last_seen_at = EXCLUDED.last_seen_at",
            [agency, seen_at, PUBLIC],
        )
