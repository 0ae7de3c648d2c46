"""The sync: choose a key, fetch the whole listing, store it in one transaction, record the run.

Everything arrives before anything is written, so that a broken page leaves the table as it was, and
no lock is held while Ultravox is waited for. The run is closed in the transaction that writes the voices:
a process that dies, at whatever point, leaves the table before or after the sync, never between.
"""

import logging
import random
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from itertools import chain
from operator import itemgetter

import django.db
from django.conf import settings
from django.db import OperationalError, connection, transaction

from agencies.credentials import NoApiKey, agencies_with_key, get_agency_credentials
from agencies.fields import CredentialsUnavailable
from agencies.models import Agency, User
from voiceproject.errors import SaveFailed
from voices import runs
from voices.models import SyncRun
from voices.records import Row, UnusableRecord, to_row
from voices.store import upsert
from voices.ultravox import KeyRejected, UltravoxClient

logger = logging.getLogger(__name__)

KEY_ERRORS = (NoApiKey, CredentialsUnavailable, KeyRejected)
SKIPS_LOGGED = 20  # records a run: the rest is counted
BACKGROUND = {SyncRun.Trigger.COMMAND, SyncRun.Trigger.SCHEDULE}
# PostgreSQL: serialization_failure, deadlock_detected. Source: its manual, appendix A.
TRANSIENT_STATES = {"40001", "40P01"}
# Of a writing transaction, in milliseconds and seconds. Source: its manual, chapter 20.
DEAD_CLIENT_LIMITS = {
    "client_connection_check_interval": "2000",
    "idle_in_transaction_session_timeout": "15000",
    "tcp_keepalives_idle": "10",
    "tcp_keepalives_interval": "5",
    "tcp_keepalives_count": "2",
}
TRANSIENT_CODES = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}

Progress = Callable[[SyncRun, int, int | None], object]


def sync_voices(
    *,
    trigger: str,
    agency: Agency | None = None,
    user: User | None = None,
    progress: Progress = lambda run, voices, total: None,
) -> SyncRun:
    """Mirror Ultravox's voices into the table, and return the run that did it.

    With the agency's key, else with that of any agency that has one. Where a sync with that key is
    under way, waits for it and returns its run. Calls `progress` with the run, the number of voices
    so far and Ultravox's total after each page. Raises NoApiKey, CredentialsUnavailable,
    UltravoxError or SaveFailed, and then nothing was written.
    """
    try:
        return _sync(trigger=trigger, agency=agency, user=user, progress=progress)
    except django.db.Error as error:
        logger.warning("The database failed: %s", _describe(error))
        raise SaveFailed() from None


def _sync(*, trigger: str, agency: Agency | None, user: User | None, progress: Progress) -> SyncRun:
    in_background = trigger in BACKGROUND
    budget = settings.BACKGROUND_DEADLINE if in_background else settings.ULTRAVOX_DEADLINE
    deadline = time.monotonic() + budget
    run: SyncRun | None = None
    error: Exception = NoApiKey()
    for candidate in [agency] if agency else agencies_with_key():
        run = runs.claim(
            candidate, run, trigger=trigger, user=user, deadline=deadline, any_key=agency is None
        )
        if run.status == runs.SUCCEEDED:
            return run
        if run.status == runs.FAILED:
            error = runs.error_of(run)
            if not run.key_refused:
                raise error
            run = None
            continue
        try:
            return _fetch_and_store(run, candidate, deadline=deadline, progress=progress)
        except KEY_ERRORS as key_error:
            logger.warning("The key of agency %s does not serve: %s", candidate.pk, key_error)
            error = key_error
        except BaseException as other:
            runs.fail(run, SaveFailed() if isinstance(other, django.db.Error) else other)
            raise
    run = run or runs.claim(
        None, None, trigger=trigger, user=user, deadline=deadline, any_key=False
    )
    runs.fail(run, error, key_refused=agency is not None)
    raise error


def _fetch_and_store(
    run: SyncRun, agency: Agency, *, deadline: float, progress: Progress
) -> SyncRun:
    client = UltravoxClient(
        api_url=settings.ULTRAVOX_API_URL,
        api_key=get_agency_credentials(agency),
        timeout=settings.ULTRAVOX_TIMEOUT,
        deadline=deadline - time.monotonic(),
        max_page_bytes=settings.ULTRAVOX_MAX_PAGE_BYTES,
        max_bytes=settings.ULTRAVOX_MAX_BYTES,
        max_pages=settings.ULTRAVOX_MAX_PAGES,
    )
    rows: dict[str | None, Row] = {}
    run.pages = run.skipped = 0
    with closing(client.pages(tick=_Heart(run).beat)) as pages:
        for page in pages:
            run.pages += 1
            for number, record in enumerate(page.records, 1):
                try:
                    row = to_row(record)
                except UnusableRecord as reason:
                    run.skipped += 1
                    if run.skipped <= SKIPS_LOGGED:
                        logger.warning(
                            "Skipped record %s of page %s: %s", number, run.pages, reason
                        )
                else:
                    rows[row[0]] = row
            progress(run, len(rows), page.total)
    run.synced = len(rows)
    _store(run, sorted(rows.values(), key=itemgetter(0)), deadline=deadline)
    logger.info(
        "Synced %s voices (%s skipped) from %s pages with the key of agency %s, run %s",
        run.synced, run.skipped, run.pages, agency.pk, run.pk,
    )  # fmt: skip
    return run


class _Heart:
    """Beat for a run as often as HEARTBEAT says, however often it is asked."""

    def __init__(self, run: SyncRun) -> None:
        self._run = run
        self._next = time.monotonic() + runs.HEARTBEAT

    def beat(self) -> None:
        if time.monotonic() >= self._next:
            runs.beat(self._run)
            self._next = time.monotonic() + runs.HEARTBEAT


def _store(run: SyncRun, rows: list[Row], *, deadline: float) -> None:
    """Write all rows and close the run, or neither; try again while the reason is a passing one.

    The rows come sorted by id: two upserts in different order deadlock on PostgreSQL.
    """
    if not connection.in_atomic_block and not connection.is_usable():
        connection.close()  # it broke while Ultravox was waited for
    while True:
        try:
            with transaction.atomic():
                _limit_waiting(deadline)
                runs.hold(run)
                upsert(rows, synced_at=run.started_at)
                runs.succeed(run)
            return
        except OperationalError as error:
            if not _is_transient(error) or time.monotonic() >= deadline:
                raise
            logger.warning("Writing again after: %s", _describe(error))
            time.sleep(random.uniform(0.05, 0.25))  # noqa: S311


def _limit_waiting(deadline: float) -> None:
    """Bound what this transaction waits for, and what waits for it; SQLite's timeout bounds both.

    It waits for another session's locks until the deadline. Should this process or its machine go,
    PostgreSQL notices in seconds, not in the hours of its defaults, and releases the locks.
    """
    if connection.vendor == "postgresql":
        limits = DEAD_CLIENT_LIMITS | {
            "lock_timeout": str(max(1000, int((deadline - time.monotonic()) * 1000)))
        }
        calls = ", ".join(["set_config(%s, %s, true)"] * len(limits))
        with connection.cursor() as cursor:
            cursor.execute(f"SELECT {calls}", list(chain.from_iterable(limits.items())))


def _is_transient(error: OperationalError) -> bool:
    cause = error.__cause__
    if isinstance(cause, sqlite3.Error):
        return getattr(cause, "sqlite_errorcode", 0) & 0xFF in TRANSIENT_CODES
    return getattr(cause, "sqlstate", None) in TRANSIENT_STATES


def _describe(error: django.db.Error) -> str:
    """Name a database's error without its details, which quote rows."""
    cause = error.__cause__
    state = getattr(cause, "sqlstate", None) or getattr(cause, "sqlite_errorname", None)
    return f"{type(error).__name__} {state or ''}".strip()
