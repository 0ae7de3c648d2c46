"""Metrics for Prometheus, computed from the sync history at each scrape.

No process holds a counter, so the values are right on any number of machines, and after any restart.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator
from datetime import timedelta
from itertools import product
from typing import Any

from django.db.models import Count, F, Max, QuerySet, Sum, Value
from django.db.models.functions import Greatest
from django.utils import timezone
from prometheus_client import Metric, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, SummaryMetricFamily
from prometheus_client.registry import Collector

from agencies.models import Agency
from operations.models import PrunedRuns
from voices.models import Alarm, SyncRun
from voices.runs import OPEN_RUNS
from voices.visibility import SUCCESSES

END_STATUSES = [status for status in SyncRun.Status if status != SyncRun.Status.RUNNING]
TOTALS = ("runs", "duration", "retries")


def exposition() -> bytes:
    """Return all metrics in Prometheus's text format. Raises django.db.Error."""
    return generate_latest(SyncCollector())


def totals(runs: QuerySet[SyncRun]) -> QuerySet[SyncRun, Any]:
    """Group runs by trigger and status, and add up their TOTALS, as PrunedRuns stores them."""
    # The clocks of two machines differ, so a run may have ended before it started.
    duration = Greatest(F("finished_at") - F("started_at"), Value(timedelta()))
    groups = runs.order_by().values("trigger", "status")
    return groups.annotate(runs=Count("pk"), duration=Sum(duration), retries=Sum("retries"))


class SyncCollector(Collector):
    def collect(self) -> Iterator[Metric]:
        yield from _counters()
        yield from _gauges()


def _counters() -> Iterator[Metric]:
    """Yield the counters of ended runs, including pruned ones."""
    runs: Counter[tuple[str, str]] = Counter()
    seconds: defaultdict[tuple[str, str], float] = defaultdict(float)
    retries = 0
    columns = ("trigger", "status", *TOTALS)
    history = totals(SyncRun.objects.filter(status__in=END_STATUSES)).values_list(*columns)
    archive = PrunedRuns.objects.order_by().values_list(*columns)
    # One statement: a prune between two of them would move runs from one table to the other.
    for trigger, status, number, duration, retry_count in history.union(archive, all=True):
        runs[trigger, status] += number
        seconds[trigger, status] += duration.total_seconds()
        retries += retry_count
    labels = ["trigger", "outcome"]
    counter = CounterMetricFamily("voices_sync_runs", "Ended sync runs.", labels=labels)
    summary = SummaryMetricFamily(
        "voices_sync_duration_seconds", "Duration of ended sync runs.", labels=labels
    )
    for outcome in product(SyncRun.Trigger.values, END_STATUSES):
        counter.add_metric(outcome, runs[outcome])
        summary.add_metric(outcome, runs[outcome], seconds[outcome])
    yield counter
    yield summary
    yield CounterMetricFamily("voices_sync_retries", "Repeated requests to Ultravox.", retries)


def _gauges() -> Iterator[Metric]:
    newest = SUCCESSES.first()
    oldest = OPEN_RUNS.order_by("started_at").first()
    succeeded_at = newest.finished_at.timestamp() if newest and newest.finished_at else 0
    voices, skipped = (newest.synced, newest.skipped) if newest else (0, 0)
    age = (timezone.now() - oldest.started_at).total_seconds() if oldest else 0
    failures = Alarm.objects.aggregate(failures=Max("failures"))["failures"] or 0
    rejected = Agency.objects.filter(key_works=False)
    gauges = (
        ("last_success_timestamp_seconds", "End of the latest success, or 0.", succeeded_at),
        ("last_success_voices", "Voices stored by the latest successful sync.", voices),
        ("last_success_skipped", "Records skipped by the latest successful sync.", skipped),
        ("schedule_failures", "Scheduled syncs that failed since the last success.", failures),
        ("oldest_open_run_age_seconds", "Age of the oldest running sync.", max(0, age)),
        ("keys_refused", "Agencies whose Ultravox key was rejected.", rejected.count()),
    )
    for name, description, value in gauges:
        yield GaugeMetricFamily(f"voices_sync_{name}", description, value)
