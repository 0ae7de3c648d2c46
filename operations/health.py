"""How the service is, as a probe may ask every few seconds: it waits for nothing that hangs.

Each check runs in a thread, of which a process has one at a time: who asks while it hangs is told what it
has found so far.
"""

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
from django_celery_beat.models import PeriodicTask

from operations.models import Worker
from voiceproject.celery import app
from voiceproject.database import describe, statement_timeout
from voices.models import SyncRun

logger = logging.getLogger(__name__)

PATIENCE = 1.5  # seconds that a probe waits, for all checks together
SYNC = "voices.sync_voices"  # the task of voices/tasks.py
CONNECT = 1.0  # seconds to reach the broker

Words = dict[str, str]


def check_database(words: Words) -> None:
    """Tell how the database is, and what it says of the rest. Raises django.db.Error."""
    connection.ensure_connection()
    words["database"] = "ok"
    with statement_timeout(1):  # a migration holds locks
        _look_into(words)


def _look_into(words: Words) -> None:
    loader = MigrationLoader(connection)
    if loader.graph.nodes.keys() - loader.applied_migrations.keys():
        words["migrations"] = "unapplied"
        return
    words["migrations"] = "ok"
    words["worker"] = "ok" if Worker.alive().exists() else "none"
    tasks = set(PeriodicTask.objects.filter(task=SYNC).values_list("enabled", flat=True))
    words["schedule"] = "ok" if True in tasks else "disabled" if tasks else "none"
    since = Now() - timedelta(hours=settings.STALE_HOURS)
    successes = SyncRun.objects.filter(status=SyncRun.Status.SUCCEEDED, finished_at__gt=since)
    words["voices"] = "ok" if successes.exists() else "stale"


def check_broker(words: Words) -> None:
    """Tell whether the broker lets us in. Raises what its library does."""
    limits = {"socket_connect_timeout": CONNECT, "socket_timeout": CONNECT}  # Redis's
    with app.connection_for_write(connect_timeout=CONNECT, transport_options=limits) as broker:
        broker.default_channel  # noqa: B018  # connects
    words["broker"] = "ok"


class Check:
    """A check that may hang, and what is said of its subjects until it says more."""

    def __init__(self, check: Callable[[Words], None], unknown: Words) -> None:
        self._check, self._unknown = check, unknown
        self._thread, self._words = Thread(), unknown
        self._lock = Lock()

    def start(self) -> tuple[Thread, Words]:
        """Start it, or join the one under way; return its thread, and the words that it corrects."""
        with self._lock:
            if not self._thread.is_alive():
                self._words = dict(self._unknown)
                self._thread = Thread(target=self._run, args=[self._words], daemon=True)
                self._thread.start()
            return self._thread, self._words

    def _run(self, words: Words) -> None:
        try:
            self._check(words)
        except django.db.Error as error:
            logger.warning("A probe found the database failing: %s", describe(error))
        except Exception as error:  # a broker's library has any
            logger.warning("A probe found the broker failing: %s", type(error).__name__)
        finally:
            connection.close()


IN_DATABASE = ("migrations", "worker", "schedule", "voices")
CHECKS = (
    Check(check_database, {"database": "unavailable"} | dict.fromkeys(IN_DATABASE, "unknown")),
    Check(check_broker, {"broker": "unavailable"}),
)
ORDER = ("database", "migrations", "broker", "worker", "schedule", "voices")


def readiness(patience: float = PATIENCE) -> tuple[str, Words]:
    """Return `ok`, `degraded` or `unavailable`, and what was found within so many seconds.

    Whatever serves syncs over HTTP is not unavailable: they need neither broker nor worker.
    """
    deadline = time.monotonic() + patience
    found: Words = {}
    for thread, words in [check.start() for check in CHECKS]:
        thread.join(max(0, deadline - time.monotonic()))
        found |= words
    words = {name: found[name] for name in ORDER}
    if words["database"] != "ok" or words["migrations"] == "unapplied":
        return "unavailable", words
    return "ok" if set(words.values()) == {"ok"} else "degraded", words
