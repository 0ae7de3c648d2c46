"""Beat's schedule in the database, which outlasts a database that is away.

django-celery-beat reads the schedule when beat starts and every five minutes, and lets an error of the
database end beat.
"""

import logging
from datetime import UTC, datetime
from typing import Any

import django.db
from django_celery_beat import schedulers

from voiceproject.database import describe

logger = logging.getLogger(__name__)


class Entry(schedulers.ModelEntry):
    def __init__(self, model: Any, app: Any = None) -> None:
        """Take a task that last ran in the future, by a clock that was set back since, to have run now."""
        super().__init__(model, app)
        now = self._default_now()
        if model.last_run_at > now:
            self.last_run_at = model.last_run_at = now
            model.save(update_fields=["last_run_at"])


class Changes:
    @staticmethod
    def last_change() -> datetime:
        """Return when the schedule changed: if never, long ago, lest the first change pass for none."""
        return schedulers.PeriodicTasks.last_change() or datetime.min.replace(tzinfo=UTC)


class DatabaseScheduler(schedulers.DatabaseScheduler):
    Entry = Entry
    Changes = Changes

    def all_as_schedule(self) -> dict[str, Any]:
        """Read the schedule; while the database is away, the last one goes on."""
        try:
            return dict(super().all_as_schedule())
        except django.db.Error as error:
            self._warn(error)
            self._initial_read = not self._schedule  # try again at once if there is none yet
            return self._schedule or {}

    def tick(self, *args: Any, **kwargs: Any) -> float:
        """Send what is due. A task that expired, or was for once, is written meanwhile."""
        try:
            return float(super().tick(*args, **kwargs))
        except django.db.Error as error:
            self._warn(error)
            return float(self.max_interval)

    def _warn(self, error: django.db.Error) -> None:
        logger.warning("Beat cannot read its schedule, and goes on: %s", describe(error))
