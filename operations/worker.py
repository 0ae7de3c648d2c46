"""Record in the database that a celery worker is alive. A ping through the broker would take a second."""

import logging
from typing import Any

import django.db
from celery import bootsteps
from django.db import connection
from django.db.models.functions import Now

from operations.models import Worker
from voiceproject.database import describe, statement_timeout

logger = logging.getLogger(__name__)

EVERY = 5.0  # seconds


class Heartbeat(bootsteps.StartStopStep):
    """A step of celery's consumer, which runs in the main process while a worker has a broker connection."""

    requires = ("celery.worker.consumer.tasks:Tasks",)

    def start(self, parent: Any) -> None:
        self._record(parent.hostname)
        self._timer = parent.timer.call_repeatedly(EVERY, self._record, (parent.hostname,))

    def stop(self, parent: object) -> None:
        self._timer.cancel()

    def _record(self, name: str) -> None:
        try:
            with statement_timeout(1):  # the main process also handles messages
                Worker.objects.update_or_create(name=name, defaults={"seen_at": Now()})
        except django.db.Error as error:
            logger.warning("The worker's heartbeat could not be recorded: %s", describe(error))
        finally:
            connection.close()  # processes forked later must not inherit it: SQLite's would break
