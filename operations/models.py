"""Workers that are alive, and the totals of pruned runs."""

from datetime import timedelta
from typing import ClassVar

from django.db import models
from django.db.models.functions import Now

from voices.models import SyncRun

LOST = timedelta(seconds=20)  # without a heartbeat, after which a worker is gone


class Worker(models.Model):
    """A celery worker and its last heartbeat."""

    name = models.TextField(primary_key=True)
    seen_at = models.DateTimeField()

    class Meta:
        db_table = "voice_sync_workers"

    def __str__(self) -> str:
        return self.name

    @classmethod
    def alive(cls) -> models.QuerySet["Worker"]:
        """Return the workers with a recent heartbeat, by the database's clock."""
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
