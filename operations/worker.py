"""A worker shows in the database that it lives: asking it through the broker would cost a probe a second.

The main process does, from its own loop and without keeping a connection: the processes that it forks would
inherit it, and SQLite's does not survive that.
"""

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


class Pulse(bootsteps.StartStopStep):
    """A step of the consumer: it beats while that is connected to the broker, and else takes no task."""

    requires = ("celery.worker.consumer.tasks:Tasks",)

    def start(self, parent: Any) -> None:
        self._beat(parent.hostname)
        self._timer = parent.timer.call_repeatedly(EVERY, self._beat, (parent.hostname,))

    def stop(self, parent: Any) -> None:
        self._timer.cancel()

    def _beat(self, name: str) -> None:
        try:
            with statement_timeout(1):  # this process has messages to attend to
                Worker.objects.update_or_create(name=name, defaults={"seen_at": Now()})
        except django.db.Error as error:
            logger.warning("This worker cannot show that it lives: %s", describe(error))
        finally:
            connection.close()
