"""Readiness, for probes that run every few seconds. A check that hangs never delays a response."""

import logging
import time
from collections.abc import Callable
from datetime import timedelta
from threading import Lock, Thread

import django.db
from django.conf import settings
from django.db import connection
from django.db.migrations.loader import MigrationLoader
from django.db.models.functions import Now
from django.utils import timezone
from django_celery_beat.models import PeriodicTask

from operations.models import Worker
from voiceproject.celery import app
from voiceproject.database import describe, statement_timeout
from voices.visibility import SUCCESSES

logger = logging.getLogger(__name__)

SECONDS = 1.5  # for all checks of a probe together
CONNECT = 1.0  # seconds, to the broker
OVERDUE = timedelta(minutes=10)  # beat sends a task within seconds
NO_FAULT = {"ok", "unused"}
SYNC = "voices.sync_voices"  # the task in voices/tasks.py

Results = dict[str, str]


def check_database(results: Results) -> None:
    """Check the database and what it stores. Raises django.db.Error."""
    connection.ensure_connection()
    results["database"] = "ok"
    with statement_timeout(1):  # a migration holds locks
        loader = MigrationLoader(connection)
        if loader.graph.nodes.keys() - loader.applied_migrations.keys():
            results["migrations"] = "unapplied"
            return
        results["migrations"] = "ok"
        results["worker"] = "ok" if Worker.alive().exists() else "none"
        results["schedule"] = _schedule()
        since = Now() - timedelta(hours=settings.STALE_HOURS)
        successes = SUCCESSES.filter(finished_at__gt=since)
        results["voices"] = "ok" if successes.exists() else "stale"


def _schedule() -> str:
    tasks = list(PeriodicTask.objects.filter(task=SYNC))
    enabled = [task for task in tasks if task.enabled]
    for task in enabled:
        is_started = task.start_time is None or task.start_time <= timezone.now()
        remaining = task.schedule.remaining_estimate(task.last_run_at or task.date_changed)
        if is_started and remaining < -OVERDUE:
            return "stale"
    if enabled:
        return "ok"
    return "disabled" if tasks else "none"


def check_broker(results: Results) -> None:
    """Connect to the broker. Raises the errors of the broker's library."""
    limits = {"socket_connect_timeout": CONNECT, "socket_timeout": CONNECT}  # for Redis
    with app.connection_for_write(connect_timeout=CONNECT, transport_options=limits) as broker:
        broker.default_channel  # noqa: B018  # connects
    results["broker"] = "ok"


class Check:
    """A check in a thread, at most one at a time. While it hangs, callers get the results so far."""

    def __init__(self, check: Callable[[Results], None], initial: Results) -> None:
        self._check, self._initial = check, initial
        self._thread, self._results = Thread(), initial
        self._lock = Lock()

    def start(self) -> tuple[Thread, Results]:
        """Start the check unless it is running. Return its thread, and the results that it updates."""
        with self._lock:
            if not self._thread.is_alive():
                self._results = dict(self._initial)
                self._thread = Thread(target=self._run, args=[self._results], daemon=True)
                self._thread.start()
            return self._thread, self._results

    def _run(self, results: Results) -> None:
        try:
            self._check(results)
        except Exception as error:  # each broker's library has its own
            reason = describe(error) if isinstance(error, django.db.Error) else type(error).__name__
            logger.warning("A readiness check failed: %s", reason)
        finally:
            connection.close()


SUBJECTS = ("database", "migrations", "broker", "worker", "schedule", "voices")
CHECKS = (
    Check(check_database, {"database": "unavailable"}),
    Check(check_broker, {"broker": "unavailable"}),
)


def readiness(seconds: float = SECONDS) -> tuple[str, Results]:
    """Return `ok`, `degraded` or `unavailable`, and each check's result after at most this time.

    Only the database makes the service unavailable: a sync over HTTP needs no broker, worker or schedule.
    """
    deadline = time.monotonic() + seconds
    results = dict.fromkeys(SUBJECTS, "unknown")
    for thread, partial in [check.start() for check in CHECKS]:
        thread.join(max(0, deadline - time.monotonic()))
        results |= partial
    if not settings.CELERY_BROKER_URL:
        results |= {"broker": "unused", "worker": "unused"}
    if results["database"] != "ok" or results["migrations"] == "unapplied":
        return "unavailable", results
    return "ok" if set(results.values()) <= NO_FAULT else "degraded", results
