"""The sync: choose a key, fetch the whole listing, store it in one transaction, record the run.

Everything is fetched before anything is written, so a broken page leaves the table as it was, and no
lock is held during the wait for Ultravox. The transaction that writes the voices also closes the run:
wherever a process dies, the table is as it was before the sync or after it, never in between.
"""

import logging
import threading
import time
from collections.abc import Callable
from contextlib import closing
from operator import itemgetter
from typing import Any

import django.db
from django.conf import settings

from agencies.credentials import (
    NO_KEY_OF_AGENCY,
    NoApiKey,
    agencies_with_key,
    get_agency_credentials,
    has_key,
)
from agencies.models import Agency, User
from voiceproject.database_errors import describe, save_failed
from voiceproject.errors import Busy, ServiceError
from voices import runs, store
from voices.models import SyncRun
from voices.records import Row, UnusableRecord, to_row
from voices.ultravox import UltravoxClient

logger = logging.getLogger(__name__)

AT_A_TIME = 24  # syncs of a process, joined ones too; fewer than gunicorn.conf.py's threads
TRIES = 3  # of a task whose worker dies each time
SKIPS_LOGGED = 20  # records per run; the rest are only counted
BACKGROUND = {SyncRun.Trigger.COMMAND, SyncRun.Trigger.SCHEDULE}

Progress = Callable[[SyncRun], object]

_places = threading.BoundedSemaphore(AT_A_TIME)


class WorkerLost(ServiceError):
    code = "worker_lost"


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
    if not _places.acquire(blocking=False):
        raise Busy()
    try:
        started_by = {"trigger": trigger, "user": user, "task_id": task_id}
        return _sync(agency=agency, started_by=started_by, progress=progress)
    except django.db.Error as error:
        logger.warning("The database failed: %s", describe(error))
        raise save_failed(error) from None
    finally:
        _places.release()


def _sync(*, agency: Agency | None, started_by: dict[str, Any], progress: Progress) -> SyncRun:
    in_background = started_by["trigger"] in BACKGROUND
    budget = settings.BACKGROUND_DEADLINE if in_background else settings.ULTRAVOX_DEADLINE
    deadline = time.monotonic() + budget
    if runs.died(started_by["task_id"]) >= TRIES:
        with runs.open_or_join(None, started_by, deadline=deadline):
            raise WorkerLost()
    error: ServiceError | None = None
    for candidate in filter(has_key, [agency] if agency else agencies_with_key()):
        try:
            with runs.open_or_join(candidate, started_by, deadline=deadline) as run:
                if run.is_open:  # a joined one has ended
                    _fetch_and_store(run, candidate, deadline=deadline, progress=progress)
                return run
        except runs.KEY_ERRORS as key_error:
            logger.warning("The key of agency %s does not serve: %s", candidate.pk, key_error)
            error = key_error
    if error is None:
        with runs.open_or_join(None, started_by, deadline=deadline):
            raise NoApiKey(NO_KEY_OF_AGENCY if agency else None)
    raise error


def _fetch_and_store(run: SyncRun, agency: Agency, *, deadline: float, progress: Progress) -> None:
    client = UltravoxClient(
        api_url=settings.ULTRAVOX_API_URL, api_key=get_agency_credentials(agency),
        timeout=settings.ULTRAVOX_TIMEOUT, deadline=deadline,
    )  # fmt: skip
    rows: dict[str | None, Row] = {}
    with closing(client.pages(tick=runs.heart(run))) as pages:
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
            run.voices, run.total = len(rows), page.total
            progress(run)
    store.save(run, sorted(rows.values(), key=itemgetter(0)), deadline=deadline)
    logger.info(
        "Synced %s voices (%s skipped) from %s pages with the key of agency %s, run %s",
        run.synced, run.skipped, run.pages, agency.pk, run.pk,
    )  # fmt: skip
