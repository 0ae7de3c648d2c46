"""The sync: choose a key, fetch the whole listing, then store it in one transaction.

Everything is fetched before anything is written, so a broken page leaves the table as it was, and no lock
is held during the wait for Ultravox. The transaction that writes the voices also closes the run: wherever a
process dies, the table is as it was before the sync or after it, never in between.
"""

import logging
import threading
import time
from collections.abc import Callable
from contextlib import closing

import django.db
from django.conf import settings

from agencies.credentials import NO_KEY_OF_AGENCY, agencies_with_key, get_agency_credentials
from agencies.models import Agency, User
from ultravox import UltravoxClient
from voiceproject.database import describe, save_failed
from voiceproject.errors import (
    Busy,
    CredentialsUnavailable,
    KeyRejected,
    NoApiKey,
    ServiceError,
    WorkerLost,
)
from voices import runs, writer
from voices.models import SyncRun
from voices.records import UnusableRecord, to_values

logger = logging.getLogger(__name__)

ATTEMPTS = 3  # worker deaths after which a task is cancelled
SKIPS_LOGGED = 20  # records per run; all are counted
BACKGROUND = {SyncRun.Trigger.COMMAND, SyncRun.Trigger.SCHEDULE}

Progress = Callable[[SyncRun], object]

_slots = threading.BoundedSemaphore(settings.SYNC_SLOTS)


def sync_voices(
    *,
    trigger: str,
    agency: Agency | None = None,
    user: User | None = None,
    task_id: str | None = None,
    progress: Progress = lambda run: None,
) -> SyncRun:
    """Copy Ultravox's voices into the table, and return the run that did it.

    Uses the agency's key, or without an agency the first key of any agency that works. If a sync with that
    key is in progress, waits for it and returns its run. `task_id` is Celery's. `progress` is called with
    the run after each page. Raises NoApiKey, CredentialsUnavailable, UltravoxError, SaveFailed, WorkerLost
    or Busy. No voice was changed then.
    """
    origin = runs.Origin(trigger, user, task_id)
    if not _slots.acquire(blocking=False):
        raise Busy()
    try:
        return _sync_with_any_key(origin, agency, progress)
    except django.db.Error as error:
        logger.warning("The database failed: %s", describe(error))
        raise save_failed(error) from None
    finally:
        _slots.release()


def _sync_with_any_key(origin: runs.Origin, agency: Agency | None, progress: Progress) -> SyncRun:
    """Try the agency's key, or those of all agencies, until one works."""
    is_background = origin.trigger in BACKGROUND
    seconds = settings.BACKGROUND_DEADLINE if is_background else settings.ULTRAVOX_DEADLINE
    deadline = time.monotonic() + seconds
    error: ServiceError | None = None
    if runs.count_lost(origin.task_id) >= ATTEMPTS:
        error = WorkerLost()
        runs.record_failure(None, origin, error)
        raise error
    for candidate in [agency] if agency else agencies_with_key():
        try:
            key = get_agency_credentials(candidate)
        except NoApiKey:  # the key is blank
            continue
        except CredentialsUnavailable as key_error:
            error = key_error
            runs.record_failure(candidate, origin, error)
            continue
        try:
            return _sync_with_key(key, candidate, origin, deadline, progress)
        except (KeyRejected, NoApiKey) as key_error:
            logger.warning("The key of agency %s does not work: %s", candidate.pk, key_error)
            error = key_error
    if error is None:
        error = NoApiKey(NO_KEY_OF_AGENCY if agency else None)
        runs.record_failure(None, origin, error)
    raise error


def _sync_with_key(
    key: str, agency: Agency, origin: runs.Origin, deadline: float, progress: Progress
) -> SyncRun:
    with runs.open_or_join(agency, origin, deadline=deadline) as run:
        if run.is_open:  # this sync opened it; a joined run has ended
            voices = _fetch(key, run, deadline, progress)
            # `visibility.listed` compares the start of the run with `last_synced_at`.
            runs.succeed(
                run,
                lambda: writer.write(voices, agency_id=agency.pk, at=run.started_at),
                deadline=deadline,
            )
        return run


def _fetch(key: str, run: SyncRun, deadline: float, progress: Progress) -> dict[str, writer.Values]:
    """Return the values of all voices that Ultravox lists, by id. If an id repeats, its last record wins."""
    client = UltravoxClient(
        api_url=settings.ULTRAVOX_API_URL,
        api_key=key,
        timeout=settings.ULTRAVOX_TIMEOUT,
        deadline=deadline,
    )
    voices: dict[str, writer.Values] = {}
    try:
        with closing(client.pages(tick=runs.heartbeat(run))) as pages:
            for page in pages:
                run.pages += 1
                for number, record in enumerate(page.records, 1):
                    try:
                        values = to_values(record)
                    except UnusableRecord as reason:
                        run.skipped += 1
                        if run.skipped <= SKIPS_LOGGED:
                            message = "Skipped record %s of page %s: %s"
                            logger.warning(message, number, run.pages, reason)
                    else:
                        voices[values["id"]] = values
                run.voices, run.total = len(voices), page.total
                progress(run)
    finally:
        run.retries = client.retries
    return voices
