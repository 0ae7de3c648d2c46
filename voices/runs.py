"""The history of syncs, and their lock: one open run for each agency's key.

The partial unique constraint on open runs makes opening one the lock, on both databases and across
machines; nothing else is held while Ultravox is waited for. A run's process shows that it lives by
`heartbeat_at`, in the database's own time, since machines' clocks differ. A run without a heartbeat
for LEASE seconds is dead: whoever comes next marks it abandoned and goes ahead. Its process, should
it live after all, cannot write any more: `hold` in the writing transaction finds the run gone. A run
whose row is locked by that transaction is alive, however long it takes.
"""

import logging
import time
from datetime import timedelta

import django.db
from django.db import IntegrityError, connection, transaction
from django.db.models import Case, DateTimeField, ExpressionWrapper, QuerySet, When
from django.db.models.functions import Now
from django.utils import timezone

from agencies.credentials import NoApiKey
from agencies.fields import CredentialsUnavailable
from agencies.models import Agency, User
from voiceproject.errors import SaveFailed, ServiceError
from voices.models import SyncRun
from voices.ultravox import UltravoxError

logger = logging.getLogger(__name__)

LEASE = 10.0  # seconds without a heartbeat after which a run is dead
HEARTBEAT = 2.0  # seconds between two heartbeats
POLL = (0.05, 0.5)  # seconds between two looks at a run that is waited for: at first, at most
INTERRUPTED = "interrupted"
TAKEN_FOR_DEAD = "The sync was taken for dead and given up; nothing was changed. Try again."

RUNNING, SUCCEEDED = SyncRun.Status.RUNNING, SyncRun.Status.SUCCEEDED
FAILED, ABANDONED = SyncRun.Status.FAILED, SyncRun.Status.ABANDONED
ERRORS = {
    error.code: error for error in (NoApiKey, CredentialsUnavailable, SaveFailed, UltravoxError)
}


def claim(
    agency: Agency | None,
    run: SyncRun | None,
    *,
    trigger: str,
    user: User | None,
    deadline: float,
    any_key: bool,
) -> SyncRun:
    """Return an open run of ours on the agency's key, or the ended run of another that had it.

    `run` is an open run of ours on another key, which moves to this one. `deadline`, on the
    monotonic clock, ends the wait for another's run: UltravoxError. With `any_key` a run that is
    waited for is followed to the next key. Raises django.db.Error.
    """
    refusals = 0
    while True:
        abandon_dead()
        # Looked for first: on SQLite, to open a run is to wait for whoever writes just now.
        if not (others := _others(agency)):
            try:
                if run is None:
                    return _open(agency, trigger=trigger, user=user)
                return _move(run, agency)
            except IntegrityError:
                others = _others(agency)
                refusals += not others  # one has just ended, or it is no matter of the lock
                if refusals > 3:
                    raise
        if run is not None:
            fail(run, UltravoxError("A sync is under way with the next key."), key_refused=True)
            run = None
        for other in others:
            if ended := _outcome(other, deadline=deadline, any_key=any_key):
                return ended
        _pause(POLL[0], deadline)


def _others(agency: Agency | None) -> list[SyncRun]:
    return list(_open_runs().filter(agency=agency)) if agency else []


@transaction.atomic
def _open(agency: Agency | None, *, trigger: str, user: User | None) -> SyncRun:
    return SyncRun.objects.create(
        trigger=trigger, agency=agency, user=user, started_at=timezone.now(), heartbeat_at=Now()
    )


@transaction.atomic
def _move(run: SyncRun, agency: Agency | None) -> SyncRun:
    if not _ours(run).update(agency=agency, heartbeat_at=Now()):
        raise SaveFailed(TAKEN_FOR_DEAD)
    run.agency = agency
    return run


def _outcome(run: SyncRun, *, deadline: float, any_key: bool) -> SyncRun | None:
    """Wait until another's run has ended, and return it; None where the key is free without an outcome."""
    logger.info("Waiting for run %s, which is under way with the same key", run.pk)
    agency_id, began, looked = run.agency_id, time.monotonic(), 0.0
    while True:
        found = SyncRun.objects.filter(pk=run.pk).first()
        if found is None or found.status == ABANDONED or found.error_code == INTERRUPTED:
            return None
        if found.status != RUNNING:
            return found
        if found.agency_id != agency_id and not any_key:
            return None
        waited = time.monotonic() - began
        if waited - looked > 1:
            looked = waited
            abandon_dead()
        _pause(min(max(waited / 10, POLL[0]), POLL[1]), deadline)


def _pause(seconds: float, deadline: float) -> None:
    if time.monotonic() >= deadline:
        raise UltravoxError(
            "Another sync with this key is under way and takes too long; try later."
        )
    time.sleep(seconds)


def _ours(run: SyncRun) -> QuerySet[SyncRun]:
    return _open_runs().filter(pk=run.pk)


def _open_runs() -> QuerySet[SyncRun]:
    return SyncRun.objects.filter(status=RUNNING)


def is_dead() -> Case:
    """Return the expression that is true for open runs that showed no life for LEASE seconds."""
    lease_began = ExpressionWrapper(Now() - timedelta(seconds=LEASE), output_field=DateTimeField())
    return Case(When(status=RUNNING, heartbeat_at__lt=lease_began, then=True), default=False)


def abandon_dead() -> None:
    """Mark dead runs as abandoned, but for those that are writing right now."""
    if not _open_runs().filter(is_dead()).exists():
        return
    with transaction.atomic():
        locked = _open_runs().filter(is_dead()).select_for_update(skip_locked=True)
        dead = list(locked.values_list("pk", flat=True))
        _open_runs().filter(pk__in=dead).update(
            status=ABANDONED,
            finished_at=Now(),
            error_code="abandoned",
            error_message="Its process ended before the sync did; nothing was changed.",
        )
    if dead:
        logger.warning("Abandoned runs whose process is gone: %s", dead)


def beat(run: SyncRun) -> None:
    """Show that the run's process lives. A database that is away now may be back for the write."""
    try:
        _ours(run).update(heartbeat_at=Now(), pages=run.pages)
    except django.db.Error as error:
        logger.warning("No heartbeat of run %s: %s", run.pk, type(error).__name__)
        connection.close()


def hold(run: SyncRun) -> None:
    """Lock the run's row in the writing transaction. Raises SaveFailed where it was abandoned."""
    if not _ours(run).select_for_update().exists():
        raise SaveFailed(TAKEN_FOR_DEAD)


def succeed(run: SyncRun) -> None:
    """Close the run in the writing transaction: what it wrote and its outcome are one."""
    run.status, run.finished_at = SUCCEEDED, timezone.now()
    _ours(run).update(
        status=run.status,
        finished_at=run.finished_at,
        pages=run.pages,
        synced=run.synced,
        skipped=run.skipped,
    )


def fail(run: SyncRun, error: BaseException, *, key_refused: bool = False) -> None:
    """Close the run as failed, outside the transaction that failed.

    Where the database is away too, the run is abandoned later.
    """
    if isinstance(error, ServiceError):
        code, message = error.code, error.message
    elif isinstance(error, Exception):
        code, message = ServiceError.code, f"{ServiceError.message} ({type(error).__name__})"
    else:
        code, message = INTERRUPTED, "The sync was interrupted; nothing was changed."
    try:
        _ours(run).update(
            status=FAILED,
            finished_at=Now(),
            pages=run.pages,
            error_code=code,
            error_message=message,
            key_refused=key_refused,
        )
    except django.db.Error as database_error:
        logger.warning("Run %s stays open: %s", run.pk, type(database_error).__name__)


def error_of(run: SyncRun) -> ServiceError:
    """Return the error that a failed run ended with, to answer those who joined it."""
    return ERRORS.get(run.error_code, ServiceError)(run.error_message)
