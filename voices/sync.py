"""The sync: choose a key, fetch the whole listing, store it in one transaction, record the run.

Everything is fetched before anything is written, so a broken page leaves the table as it was, and no
lock is held during the wait for Ultravox. The transaction that writes the voices also closes the run:
wherever a process dies, the table is as it was before the sync or after it, never in between.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from operator import itemgetter
from typing import Any

import django.db
from django.conf import settings

from agencies.credentials import (
    NO_KEY_OF_AGENCY,
    agencies_with_key,
    get_agency_credentials,
    has_key,
)
from agencies.models import Agency, User
from ultravox import UltravoxClient
from voiceproject.database import describe, save_failed
from voiceproject.errors import Busy, NoApiKey, ServiceError, WorkerLost
from voiceproject.logging import formats
from voices import runs, writer
from voices.models import ANSWERS, SyncRun
from voices.records import Row, UnusableRecord, to_row

logger = logging.getLogger(__name__)

AT_A_TIME = 24  # syncs of a process, joined ones too; fewer than gunicorn.conf.py's threads
TRIES = 3  # of a task whose worker dies each time
SKIPS_LOGGED = 20  # records per run; the rest are only counted
BACKGROUND = {SyncRun.Trigger.COMMAND, SyncRun.Trigger.SCHEDULE}

Progress = Callable[[SyncRun], object]

_places = threading.BoundedSemaphore(AT_A_TIME)


def sync_voices(
    *,
    trigger: str,
    agency: Agency | None = None,
    user: User | None = None,
    task_id: str | None = None,
    progress: Progress = lambda run: None,
) -> SyncRun:
    """Mirror Ultravox's voices into the table, and return the run that did it.

    Uses the agency's key, or that of any agency that has one. If a sync with that key is under way,
    waits for it and returns its run. `task_id` is Celery's. After each page, calls `progress` with the
    run. If it raises NoApiKey, CredentialsUnavailable, UltravoxError, SaveFailed or Busy, nothing was
    written.
    """
    started_by = {"trigger": trigger, "user": user, "task_id": task_id}
    tried: list[SyncRun] = []
    with _summed_up(trigger, tried):
        if not _places.acquire(blocking=False):
            raise Busy()
        try:
            return _sync(agency=agency, started_by=started_by, progress=progress, tried=tried)
        except django.db.Error as error:
            logger.warning("The database failed: %s", describe(error))
            raise save_failed(error) from None
        finally:
            _places.release()


@contextmanager
def _summed_up(trigger: str, tried: list[SyncRun]) -> Iterator[None]:
    """Log one line that says how a sync ended, and with which run: the last one that it tried."""
    began = time.monotonic()

    def log(level: int, outcome: str) -> None:
        run = tried[-1] if tried else SyncRun()
        fields = {
            "trigger": trigger,
            "agency": run.agency_id and str(run.agency_id),
            "run": run.pk,
            "pages": run.pages,
            "voices": run.voices,
            "skipped": run.skipped,
            "retries": run.retries,
            "seconds": round(time.monotonic() - began, 2),
            "outcome": outcome,
        }
        words = " ".join(f"{name}={value}" for name, value in fields.items())
        logger.log(level, "Sync ended: %s", words, extra={"fields": fields})

    try:
        yield
    except BaseException as error:
        log(logging.WARNING, runs.outcome_of(error)[0])
        raise
    else:
        log(logging.INFO, SyncRun.Status.SUCCEEDED.value)
    finally:
        formats.run.set(None)


def _sync(
    *, agency: Agency | None, started_by: dict[str, Any], progress: Progress, tried: list[SyncRun]
) -> SyncRun:
    """Sync with the first key that serves; `tried` gets each run that was opened, or waited for."""
    in_background = started_by["trigger"] in BACKGROUND
    budget = settings.BACKGROUND_DEADLINE if in_background else settings.ULTRAVOX_DEADLINE
    deadline = time.monotonic() + budget
    if runs.died(started_by["task_id"]) >= TRIES:
        with runs.open_or_join(None, started_by, tried, deadline=deadline):
            raise WorkerLost()
    error: ServiceError | None = None
    for candidate in filter(has_key, [agency] if agency else agencies_with_key()):
        try:
            with runs.open_or_join(candidate, started_by, tried, deadline=deadline) as run:
                if run.is_open:  # a joined one has ended
                    _fetch_and_store(run, candidate, deadline=deadline, progress=progress)
                return run
        except runs.KEY_ERRORS as key_error:
            logger.warning("The key of agency %s does not serve: %s", candidate.pk, key_error)
            error = key_error
    if error is None:
        with runs.open_or_join(None, started_by, tried, deadline=deadline):
            raise NoApiKey(NO_KEY_OF_AGENCY if agency else None)
    raise error


def _fetch_and_store(run: SyncRun, agency: Agency, *, deadline: float, progress: Progress) -> None:
    client = UltravoxClient(
        api_url=settings.ULTRAVOX_API_URL,
        api_key=get_agency_credentials(agency),
        timeout=settings.ULTRAVOX_TIMEOUT,
        deadline=deadline,
    )
    rows: dict[str | None, Row] = {}
    try:
        with closing(client.pages(tick=runs.heart(run))) as pages:
            for page in pages:
                run.pages += 1
                _take(page.records, run, rows)
                run.voices, run.total = len(rows), page.total
                _count_requests(client, run)
                progress(run)
    finally:
        _count_requests(client, run)
    writer.save(run, sorted(rows.values(), key=itemgetter(0)), deadline=deadline)


def _count_requests(client: UltravoxClient, run: SyncRun) -> None:
    run.retries = client.retries
    for kind, column in ANSWERS.items():
        setattr(run, column, client.answers[kind])


def _take(records: list[Any], run: SyncRun, rows: dict[str | None, Row]) -> None:
    """Make rows of a page's records, and count those that cannot be stored."""
    for number, record in enumerate(records, 1):
        try:
            row = to_row(record)
        except UnusableRecord as reason:
            run.skipped += 1
            if run.skipped <= SKIPS_LOGGED:
                logger.warning("Skipped record %s of page %s: %s", number, run.pages, reason)
        else:
            rows[row[0]] = row
