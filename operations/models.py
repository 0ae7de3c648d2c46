"""What is kept to tell how the service is: the workers that live, and what pruned runs amounted to."""

from datetime import timedelta
from typing import ClassVar

from django.db import models
from django.db.models.functions import Now

from voices.models import SyncRun

LOST = timedelta(seconds=20)  # after which a worker that does not show itself is gone


class Worker(models.Model):
    """A worker, by celery's name for it, and when its main process last showed that it lives."""

    name = models.TextField(primary_key=True)
    seen_at = models.DateTimeField()

    class Meta:
        db_table = "voice_sync_workers"

    def __str__(self) -> str:
        return self.name

    @classmethod
    def alive(cls) -> models.QuerySet["Worker"]:
        """Return those that have shown themselves lately, by the database's clock."""
        return cls.objects.filter(seen_at__gt=Now() - LOST)


class PrunedRuns(models.Model):
    """Sums over the runs that `prune` removed, by trigger and status, so that no counter falls."""

    trigger = models.TextField(choices=SyncRun.Trigger)
    status = models.TextField(choices=SyncRun.Status)
    runs = models.PositiveBigIntegerField(default=0)
    duration = models.DurationField(default=timedelta)
    retries = models.PositiveBigIntegerField(default=0)
    answers_2xx = models.PositiveBigIntegerField(default=0)
    answers_3xx = models.PositiveBigIntegerField(default=0)
    answers_4xx = models.PositiveBigIntegerField(default=0)
    answers_429 = models.PositiveBigIntegerField(default=0)
    answers_5xx = models.PositiveBigIntegerField(default=0)
    unanswered = models.PositiveBigIntegerField(default=0)

    class Meta:
        db_table = "voice_sync_runs_pruned"
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["trigger", "status"], name="one_sum_per_outcome")
        ]

    def __str__(self) -> str:
        return f"{self.runs} runs by {self.trigger}: {self.status}"
