"""The history of syncs, and their lock: at most one open run for each agency's key.

This module owns a run from opening to its last column. A partial unique constraint on open runs makes
opening one the lock, on both databases and across machines; nothing else is held during the wait for
Ultravox. A running process reports through `heartbeat_at`, in the database's time, because machines' clocks
differ. A run without a heartbeat for LEASE seconds is dead: the next sync marks it as abandoned and
continues. If its process is alive after all, it can no longer write, because `succeed` finds the run
closed. A run whose row `succeed` has locked is alive, however long it takes; on SQLite, any lock
on the database counts.
"""

import logging
import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import django.db
from django.db import IntegrityError, OperationalError, connection, transaction
from django.db.models import Q, QuerySet
from django.db.models.functions import Now
from django.utils import timezone

from agencies.credentials import record_key_check
from agencies.models import Agency, User
from voiceproject import database, errors
from voiceproject.database import code_of, describe, renew_connection
from voiceproject.errors import ServiceError
from voiceproject.logging import formats
from voices.models import SyncRun

logger = logging.getLogger(__name__)

LEASE = 10.0  # seconds without a heartbeat after which a run is dead
HEARTBEAT = 2.0  # seconds between heartbeats
POLL = 0.1  # seconds between reads of the run that a sync waits for
PROGRESS = (
    "pages",
    "voices",
    "total",
    "skipped",
    "retries",
)  # columns that heartbeats and `_close` write
INTERRUPTED = "interrupted"
DIED = "The sync stopped unexpectedly. Nothing was changed."

Status = SyncRun.Status
OPEN_RUNS = SyncRun.objects.filter(status=Status.RUNNING)


@dataclass(frozen=True)
class Origin:
    """The columns of a run that record what started it. `task_id` is Celery's."""

    trigger: str
    user: User | None
    task_id: str | None


@contextmanager
def open_or_join(agency: Agency, origin: Origin, *, deadline: float) -> Iterator[SyncRun]:
    """Open a run on the agency's key, or wait for the one in progress and join it.

    If it opened the run, the block must close it with `succeed`; an exception closes it as failed. If it
    joined, the run has succeeded. Raises the error of a joined run that failed, UltravoxError if it is
    still in progress at the deadline (on the monotonic clock), NoApiKey if the agency was deleted, and
    django.db.Error.
    """
    began = time.monotonic()
    run = _open(agency, origin, deadline)
    log_context = formats.run.set(run.pk)
    outcome: str = Status.SUCCEEDED
    try:
        if run.status == Status.FAILED:
            raise _error_of(run)
        yield run
    except BaseException as error:
        outcome = outcome_of(error)[0]
        if run.is_open:
            _fail(run, error)
        raise
    finally:
        _log_end(run, origin, outcome, time.monotonic() - began)
        formats.run.reset(log_context)


def record_failure(agency: Agency | None, origin: Origin, error: ServiceError) -> None:
    """Record a sync that failed before it could use a key. Raises django.db.Error."""
    run = _create(
        agency,
        origin,
        status=Status.FAILED,
        finished_at=timezone.now(),
        error_code=error.code,
        error_message=error.message,
    )
    _log_end(run, origin, error.code, 0)


def succeed(run: SyncRun, write: Callable[[], object], *, deadline: float) -> None:
    """Call `write` and close the run, in one transaction; repeat both after a transient failure.

    Waits for other sessions' locks until the deadline, on the monotonic clock. Raises django.db.Error, and
    SaveFailed if the run was abandoned.
    """
    renew_connection()
    columns = {"status": Status.SUCCEEDED, "synced": run.voices}
    while True:
        try:
            with transaction.atomic():
                database.limit_waiting(deadline)
                # The run first, because a locked run counts as alive. The next lock may take long.
                if not _open_row(run).select_for_update().exists():
                    raise errors.SaveFailed(
                        "The sync stopped responding and was cancelled. Try again."
                    )
                database.serialize_transactions()
                write()
                _close(run, finished_at=timezone.now(), **columns)
                if run.agency:
                    record_key_check(run.agency, works=True)
            break
        except django.db.Error as error:
            if _has_succeeded(run):
                break
            if not database.is_transient(error) or time.monotonic() >= deadline:
                raise
            logger.warning("Writing again after: %s", describe(error))
            time.sleep(random.uniform(0.05, 0.25))  # noqa: S311
    vars(run).update(columns)


def heartbeat(run: SyncRun) -> Callable[[], None]:
    """Return a function to call at any rate, which sends a heartbeat every HEARTBEAT seconds."""
    due = time.monotonic() + HEARTBEAT

    def beat() -> None:
        nonlocal due
        if time.monotonic() < due:
            return
        try:
            _open_row(run).update(heartbeat_at=Now(), **_progress(run))
        except django.db.Error as error:  # the database may be back when the run writes
            logger.warning("No heartbeat of run %s: %s", run.pk, describe(error))
            connection.close()
        due = time.monotonic() + HEARTBEAT

    return beat


def count_lost(task_id: str | None) -> int:
    """Return how many runs a Celery task left open or abandoned, one for each worker that died."""
    if task_id is None:
        return 0
    unfinished = [Status.RUNNING, Status.ABANDONED]
    return SyncRun.objects.filter(task_id=task_id, status__in=unfinished).count()


def is_dead() -> Q:
    """Return a condition that is true for open runs without a heartbeat for LEASE seconds.

    A heartbeat more than LEASE seconds in the future does not count: the database's clock was set back.
    """
    lease = timedelta(seconds=LEASE)
    return Q(status=Status.RUNNING) & ~Q(heartbeat_at__range=(Now() - lease, Now() + lease))


def status_of(run: Any) -> str:
    """Return the status of a run that is annotated with `dead`: a dead one counts as abandoned."""
    return Status.ABANDONED if run.dead else run.status


def outcome_of(error: BaseException) -> tuple[str, str]:
    """Return the code and the message of the error that ended a sync."""
    if isinstance(error, django.db.Error):
        error = errors.SaveFailed()
    if isinstance(error, ServiceError):
        return error.code, error.message
    if isinstance(error, Exception):
        return ServiceError.code, f"{ServiceError.sentence} ({type(error).__name__})"
    return INTERRUPTED, "The sync was interrupted. Nothing was changed."


def _open(agency: Agency, origin: Origin, deadline: float) -> SyncRun:
    """Open a run, or wait for another sync's run to end. Return it."""
    while True:
        _abandon_dead()
        # Look before opening: on SQLite, opening a run waits for any writer.
        other = OPEN_RUNS.filter(agency=agency).first()
        if other is None:
            try:
                with transaction.atomic():
                    return _create(agency, origin)
            except IntegrityError as error:
                if not Agency.objects.filter(pk=agency.pk).exists():
                    raise errors.NoApiKey("The agency was deleted.") from None
                if code_of(error) not in ("23505", "SQLITE_CONSTRAINT_UNIQUE"):
                    raise  # another constraint failed
        elif ended := _wait_for(other, deadline):
            return ended
        _pause(deadline)


def _create(agency: Agency | None, origin: Origin, **columns: object) -> SyncRun:
    times = {"started_at": timezone.now(), "heartbeat_at": Now()}
    return SyncRun.objects.create(agency=agency, **vars(origin), **times, **columns)


def _wait_for(run: SyncRun, deadline: float) -> SyncRun | None:
    """Wait for another sync's run to end, and return it; None if it ended without an outcome."""
    logger.info("Waiting for run %s, which uses the same key", run.pk)
    while True:
        try:
            _abandon_dead()
            current = SyncRun.objects.filter(pk=run.pk).first()
            if current is None or current.error_code in (INTERRUPTED, Status.ABANDONED):
                return None
            if not current.is_open:
                return current
        except django.db.Error as error:  # the database may be back before the run ends
            if time.monotonic() >= deadline:
                raise
            logger.warning("Run %s could not be read: %s", run.pk, describe(error))
            connection.close()
        _pause(deadline)


def _pause(deadline: float) -> None:
    if time.monotonic() >= deadline:
        raise errors.UltravoxError("Another sync with this key takes too long. Try again later.")
    time.sleep(POLL)


def _abandon_dead() -> None:
    """Mark dead runs as abandoned, except any that is writing now."""
    if not OPEN_RUNS.filter(is_dead()).exists():
        return
    try:
        with database.sqlite_busy_timeout(0), transaction.atomic():
            unlocked = OPEN_RUNS.filter(is_dead()).select_for_update(skip_locked=True)
            dead = list(unlocked.values_list("pk", flat=True))
            failure = {"error_code": Status.ABANDONED, "error_message": DIED, "finished_at": Now()}
            OPEN_RUNS.filter(pk__in=dead).update(status=Status.ABANDONED, **failure)
    except OperationalError as error:
        if not code_of(error).startswith("SQLITE_BUSY"):
            raise
        return  # another sync is writing, perhaps one of these
    if dead:
        logger.warning("Abandoned runs whose process stopped: %s", dead)


def _fail(run: SyncRun, error: BaseException) -> None:
    """Close the run as failed, outside the transaction that failed.

    If the database is not available either, another sync abandons the run later.
    """
    code, message = outcome_of(error)
    is_rejected = isinstance(error, errors.KeyRejected)
    renew_connection()
    try:
        failure = {"error_code": code, "error_message": message, "key_refused": is_rejected}
        _close(run, status=Status.FAILED, finished_at=Now(), **failure)
        if is_rejected and run.agency:
            record_key_check(run.agency, works=False)
    except django.db.Error as database_error:
        logger.warning("Run %s stays open: %s", run.pk, describe(database_error))


def _close(run: SyncRun, **columns: object) -> None:
    _open_row(run).update(**columns, **_progress(run))


def _open_row(run: SyncRun) -> QuerySet[SyncRun]:
    """Return the run's row if it is still open: an abandoned run can change nothing."""
    return OPEN_RUNS.filter(pk=run.pk)


def _has_succeeded(run: SyncRun) -> bool:
    """Return whether the transaction was committed, and only the response to COMMIT was lost."""
    renew_connection()
    try:
        return SyncRun.objects.filter(pk=run.pk, status=Status.SUCCEEDED).exists()
    except django.db.Error as error:
        logger.warning("Run %s may have succeeded: %s", run.pk, describe(error))
        return False


def _error_of(run: SyncRun) -> ServiceError:
    """Return the error of a failed run, for the syncs that joined it."""
    error = (
        errors.KeyRejected if run.key_refused else errors.ERRORS.get(run.error_code, ServiceError)
    )
    return error(run.error_message)


def _progress(run: SyncRun) -> dict[str, int | None]:
    return {name: getattr(run, name) for name in PROGRESS}


def _log_end(run: SyncRun, origin: Origin, outcome: str, seconds: float) -> None:
    """Log one line for each run that a sync opened or joined."""
    counts = {name: getattr(run, name) for name in ("pages", "voices", "skipped", "retries")}
    fields = {"trigger": origin.trigger, "agency": run.agency_id and str(run.agency_id)}
    fields |= {"run": run.pk} | counts | {"seconds": round(seconds, 2), "outcome": outcome}
    text = " ".join(f"{name}={value}" for name, value in fields.items())
    level = logging.INFO if outcome == Status.SUCCEEDED else logging.WARNING
    logger.log(level, "Sync ended: %s", text, extra={"fields": fields})
