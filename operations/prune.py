"""Remove what is old, so that a service that runs for years does not grow for ever."""

from datetime import datetime, timedelta
from typing import Any

from axes.models import AccessAttempt, AccessFailureLog
from django.conf import settings
from django.contrib.sessions.models import Session
from django.db import transaction
from django.db.models import F, OuterRef, QuerySet, Subquery
from django.utils import timezone

from agencies.models import Agency
from operations.metrics import COUNTED, ENDED, SUCCEEDED, summed
from operations.models import PrunedRuns, Worker
from voices import previews
from voices.models import SyncRun

BATCH = 500  # rows of a transaction: nobody waits long for its locks


def prune() -> dict[str, int]:
    """Remove what is older than SYNC_HISTORY_DAYS, sessions and workers that ended, and unused previews.

    Runs under way and the newest success of each agency's key stay. Returns how many of each were removed.
    Raises django.db.Error; what was removed until then is, and counted.
    """
    removed = {"runs": 0, "failed logins": 0}
    if settings.SYNC_HISTORY_DAYS:
        since = timezone.now() - timedelta(days=settings.SYNC_HISTORY_DAYS)
        removed["runs"] = _prune_runs(since)
        for model in (AccessAttempt, AccessFailureLog):
            removed["failed logins"] += _remove(model.objects.filter(attempt_time__lt=since))
    removed["sessions"] = _remove(Session.objects.filter(expire_date__lt=timezone.now()))
    removed["workers"] = _remove(Worker.objects.exclude(pk__in=Worker.alive()))
    removed["previews"] = previews.remove_unused()
    return removed


def _prune_runs(since: datetime) -> int:
    """Remove runs that began before, and add what they amount to to the sums of those removed."""
    old = SyncRun.objects.filter(status__in=ENDED, started_at__lt=since).exclude(pk__in=_newest())
    removed = 0
    while True:
        with transaction.atomic():
            # Locked, since another prune that counted them, too, would count them twice.
            batch = list(
                old.select_for_update(skip_locked=True).values_list("pk", flat=True)[:BATCH]
            )
            if not batch:
                return removed
            runs = SyncRun.objects.filter(pk__in=batch)
            for sums in summed(runs).order_by("trigger", "status"):
                _add(sums)
            runs.delete()
        removed += len(batch)


def _newest() -> list[int]:
    """Return the newest success of each agency, and of all."""
    newest = SUCCEEDED.order_by("-finished_at").values("pk")
    of_agency = Subquery(newest.filter(agency=OuterRef("pk"))[:1])
    kept = Agency.objects.annotate(newest=of_agency).values_list("newest", flat=True)
    return [run for run in (*kept, *newest.values_list("pk", flat=True)[:1]) if run]


def _add(sums: dict[str, Any]) -> None:
    kind = {"trigger": sums["trigger"], "status": sums["status"]}
    PrunedRuns.objects.get_or_create(**kind)
    PrunedRuns.objects.filter(**kind).update(**{name: F(name) + sums[name] for name in COUNTED})


def _remove(rows: QuerySet[Any]) -> int:
    removed = 0
    while batch := list(rows.values_list("pk", flat=True)[:BATCH]):
        rows.model.objects.filter(pk__in=batch).delete()
        removed += len(batch)
    return removed


def in_words(removed: dict[str, int]) -> str:
    return ", ".join(f"{number} {what}" for what, number in removed.items())
