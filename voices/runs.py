"""The history of syncs, and their lock: one open run for each agency's key.

A partial unique constraint on open runs makes opening one the lock, on both databases and across
machines; nothing else is held during the wait for Ultravox. A run's process shows that it is alive
through `heartbeat_at`, in the database's time, since machines' clocks differ. A run without a heartbeat
for LEASE seconds is dead: the next sync marks it abandoned and goes ahead. If its process is alive
after all, it can no longer write: `store.save` finds the run closed. A run whose row is locked by that
transaction is alive, however long it takes; on SQLite, any lock on the database counts.
"""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import django.db
from django.db import IntegrityError, OperationalError, connection, transaction
from django.db.models import Q
from django.db.models.functions import Now
from django.utils import timezone

from agencies.models import Agency
from voiceproject.database import code_of, renew_connection, sqlite_busy_timeout
from voiceproject.errors import (
    CredentialsUnavailable,
    KeyRejected,
    NoApiKey,
    SaveFailed,
    ServiceError,
    UltravoxError,
)
from voiceproject.logging import formats
from voices.models import PROGRESS, SyncRun

logger = logging.getLogger(__name__)

LEASE = 10.0  # seconds without a heartbeat after which a run is dead
HEARTBEAT = 2.0  # seconds between heartbeats
POLL = (0.05, 0.5)  # seconds between checks of a run that is waited for: at first, at most
INTERRUPTED = "interrupted"
DIED = "Its process ended before the sync did; nothing was changed."

RUNNING, FAILED, ABANDONED = SyncRun.Status.RUNNING, SyncRun.Status.FAILED, SyncRun.Status.ABANDONED
OPEN_RUNS = SyncRun.objects.filter(status=RUNNING)
KEY_ERRORS = (NoApiKey, CredentialsUnavailable, KeyRejected)  # another agency's key may work
ERRORS = {
    error.code: error for error in (NoApiKey, CredentialsUnavailable, SaveFailed, UltravoxError)
}


@contextmanager
def open_or_join(
    agency: Agency | None, started_by: dict[str, Any], tried: list[SyncRun], *, deadline: float
) -> Iterator[SyncRun]:
    """Open a run on the agency's key, or wait for the one under way and join it; `tried` gets either.

    `started_by` are the columns of the run's row that say so: trigger, user, task_id.
    Yields the opened run, which is closed as failed if the block raises, or the joined one, which has
    succeeded. Raises the error that the joined one ended with, UltravoxError if it is still under way
    at the deadline (on the monotonic clock), and django.db.Error.
    """
    run = _opened(agency, started_by, deadline)
    tried.append(run)
    formats.run.set(run.pk)
    if not run.is_open:
        if run.status == FAILED:
            raise _error_of(run)
        yield run
        return
    try:
        yield run
    except BaseException as error:
        _fail(run, error)
        raise


def heart(run: SyncRun) -> Callable[[], None]:
    """Return a function to call at any rate: it sends a heartbeat every HEARTBEAT seconds."""
    next_beat = time.monotonic() + HEARTBEAT

    def beat() -> None:
        nonlocal next_beat
        if time.monotonic() < next_beat:
            return
        try:
            run.while_open().update(heartbeat_at=Now(), **_progress(run))
        except django.db.Error as error:  # it may be back for the write
            logger.warning("No heartbeat of run %s: %s", run.pk, type(error).__name__)
            connection.close()
        next_beat = time.monotonic() + HEARTBEAT

    return beat


def _progress(run: SyncRun) -> dict[str, Any]:
    return {name: getattr(run, name) for name in PROGRESS}


def died(task_id: str | None) -> int:
    """Return how many runs that a task opened were left open, or abandoned: one for each worker that died."""
    left = SyncRun.objects.filter(task_id=task_id, status__in=[RUNNING, ABANDONED])
    return left.count() if task_id else 0


def is_dead() -> Q:
    """Return a condition that is true for open runs without a heartbeat for LEASE seconds.

    Neither does one that lies further ahead than the lease count: the database's clock was set back.
    """
    lease = timedelta(seconds=LEASE)
    return Q(status=RUNNING) & ~Q(heartbeat_at__range=(Now() - lease, Now() + lease))


def _opened(agency: Agency | None, started_by: dict[str, Any], deadline: float) -> SyncRun:
    """Return a run of our own, or another's that was waited for and has ended."""
    while True:
        _abandon_dead()
        # Looked for first: on SQLite, opening a run waits for whoever is writing.
        other = OPEN_RUNS.filter(agency=agency).first() if agency else None
        if other is None:
            try:
                with transaction.atomic():
                    return SyncRun.objects.create(
                        agency=agency, started_at=timezone.now(), heartbeat_at=Now(), **started_by
                    )
            except IntegrityError as error:
                if agency and not Agency.objects.filter(pk=agency.pk).exists():
                    raise NoApiKey("The agency was deleted.") from None
                if code_of(error) not in (
                    "23505",
                    "SQLITE_CONSTRAINT_UNIQUE",
                ):  # it is not the lock
                    raise
                _pause(0, deadline)
                continue  # at once: whoever was faster may end soon
        elif ended := _ended(other, deadline):
            return ended
        _pause(POLL[0], deadline)


def _ended(run: SyncRun, deadline: float) -> SyncRun | None:
    """Wait for another's run to end, and return it; None if it ended without an outcome.

    A database that is away meanwhile may be back for the outcome.
    """
    logger.info("Waiting for run %s, which is under way with the same key", run.pk)
    began, looked = time.monotonic(), 0.0
    while True:
        waited = time.monotonic() - began
        try:
            if waited - looked > 1:
                looked = waited
                _abandon_dead()
            found = SyncRun.objects.filter(pk=run.pk).first()
            if found is None or found.status == ABANDONED or found.error_code == INTERRUPTED:
                return None
            if not found.is_open:
                return found
        except django.db.Error as error:
            if time.monotonic() >= deadline:
                raise
            logger.warning("Run %s could not be looked at: %s", run.pk, type(error).__name__)
            connection.close()
        _pause(min(max(waited / 10, POLL[0]), POLL[1]), deadline)


def _pause(seconds: float, deadline: float) -> None:
    if time.monotonic() >= deadline:
        raise UltravoxError(
            "Another sync with this key is under way and takes too long; try later."
        )
    time.sleep(seconds)


def _abandon_dead() -> None:
    """Mark dead runs as abandoned, except any that is writing right now."""
    if not OPEN_RUNS.filter(is_dead()).exists():
        return
    try:
        with sqlite_busy_timeout(0), transaction.atomic():
            locked = OPEN_RUNS.filter(is_dead()).select_for_update(skip_locked=True)
            dead = list(locked.values_list("pk", flat=True))
            OPEN_RUNS.filter(pk__in=dead).update(
                status=ABANDONED, finished_at=Now(), error_code=ABANDONED, error_message=DIED
            )
    except OperationalError as error:
        if not code_of(error).startswith("SQLITE_BUSY"):
            raise
        return  # somebody is writing, perhaps one of them
    if dead:
        logger.warning("Abandoned runs whose process is gone: %s", dead)


def _fail(run: SyncRun, error: BaseException) -> None:
    """Close the run as failed, outside the transaction that failed.

    If the database is down too, the run is abandoned later.
    """
    code, message = outcome_of(error)
    renew_connection()
    try:
        run.while_open().update(
            status=FAILED,
            finished_at=Now(),
            error_code=code,
            error_message=message,
            key_refused=isinstance(error, KEY_ERRORS),
            **_progress(run),
        )
    except django.db.Error as database_error:
        logger.warning("Run %s stays open: %s", run.pk, type(database_error).__name__)


def outcome_of(error: BaseException) -> tuple[str, str]:
    """Return the code and the message that say what a sync ended with."""
    if isinstance(error, django.db.Error):
        error = SaveFailed()
    if isinstance(error, ServiceError):
        return error.code, error.message
    if isinstance(error, Exception):
        return ServiceError.code, f"{ServiceError().message} ({type(error).__name__})"
    return INTERRUPTED, "The sync was interrupted; nothing was changed."


def _error_of(run: SyncRun) -> ServiceError:
    """Return the error that a failed run ended with, for those who joined it."""
    error = ERRORS.get(run.error_code, ServiceError)
    if error is UltravoxError and run.key_refused:
        error = KeyRejected
    return error(run.error_message)
