"""Remove old data, so that the database and the preview cache stop growing."""

from datetime import datetime, timedelta
from typing import Any

from axes.models import AccessAttempt, AccessFailureLog
from django.conf import settings
from django.contrib.sessions.models import Session
from django.db import transaction
from django.db.models import F, OuterRef, QuerySet, Subquery
from django.utils import timezone

from agencies.models import Agency
from operations.metrics import ENDED, SUCCEEDED, TOTALS, totals
from operations.models import PrunedRuns, Worker
from voices import previews
from voices.models import SyncRun

BATCH_SIZE = 500  # rows per transaction, so that locks are short


def prune() -> dict[str, int]:
    """Remove old runs and failed logins, expired sessions, dead workers and unused previews.

    Running syncs and the newest success of each agency stay. Returns the number of removed rows or files by
    kind. Raises django.db.Error; batches removed before the error stay removed.
    """
    removed = {"runs": 0, "failed logins": 0}
    if settings.SYNC_HISTORY_DAYS:
        since = timezone.now() - timedelta(days=settings.SYNC_HISTORY_DAYS)
        removed["runs"] = _prune_runs(since)
        for model in (AccessAttempt, AccessFailureLog):
            removed["failed logins"] += _delete(model.objects.filter(attempt_time__lt=since))
    removed["sessions"] = _delete(Session.objects.filter(expire_date__lt=timezone.now()))
    removed["workers"] = _delete(Worker.objects.exclude(pk__in=Worker.alive()))
    removed["previews"] = previews.remove_unused()
    return removed


def summary(removed: dict[str, int]) -> str:
    return "Removed " + ", ".join(f"{number} {kind}" for kind, number in removed.items())


def _prune_runs(since: datetime) -> int:
    """Delete ended runs that started before `since`, and add their totals to PrunedRuns."""
    old = SyncRun.objects.filter(status__in=ENDED, started_at__lt=since)
    old = old.exclude(pk__in=_newest_successes())
    removed = 0
    while True:
        with transaction.atomic():
            # Locked, so that two prunes at the same time do not count a run twice.
            locked = old.select_for_update(skip_locked=True).values_list("pk", flat=True)
            ids = list(locked[:BATCH_SIZE])
            batch = SyncRun.objects.filter(pk__in=ids)
            for group in totals(batch).order_by("trigger", "status"):
                outcome = {"trigger": group["trigger"], "status": group["status"]}
                PrunedRuns.objects.get_or_create(**outcome)
                sums = {name: F(name) + group[name] for name in TOTALS}
                PrunedRuns.objects.filter(**outcome).update(**sums)
            batch.delete()
        if not ids:
            return removed
        removed += len(ids)


def _newest_successes() -> list[int]:
    """Return the newest successful run of each agency, and of all agencies, deleted ones included."""
    newest = SUCCEEDED.order_by("-finished_at").values("pk")
    of_agency = Subquery(newest.filter(agency=OuterRef("pk"))[:1])
    runs = Agency.objects.annotate(run=of_agency).exclude(run=None).values_list("run", flat=True)
    return [*runs, *newest.values_list("pk", flat=True)[:1]]


def _delete(rows: QuerySet[Any]) -> int:
    removed = 0
    while batch := list(rows.values_list("pk", flat=True)[:BATCH_SIZE]):
        rows.model.objects.filter(pk__in=batch).delete()
        removed += len(batch)
    return removed
