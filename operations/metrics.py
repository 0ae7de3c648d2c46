"""Figures for Prometheus, read from the history of syncs whenever it asks.

No process keeps any: they are right on any number of machines, and after any restart.
"""

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
from voices.models import ANSWERS, Alarm, SyncRun, Voice
from voices.runs import OPEN_RUNS

ENDED = [status for status in SyncRun.Status if status != SyncRun.Status.RUNNING]
SUCCEEDED = SyncRun.objects.filter(status=SyncRun.Status.SUCCEEDED)
COUNTED = ("runs", "duration", "retries", *ANSWERS.values())  # of ended runs

Sums = dict[str, Any]


def exposition() -> bytes:
    """Return all figures in Prometheus's text format. Raises django.db.Error."""
    return generate_latest(History())


def summed(runs: QuerySet[SyncRun]) -> QuerySet[SyncRun, Any]:
    """Return trigger and status, and what runs of each amount to: the columns of PrunedRuns."""
    # Machines' clocks differ: a run may have ended before it began.
    took = Sum(Greatest(F("finished_at") - F("started_at"), Value(timedelta())))
    rest: dict[str, Any] = {name: Sum(name) for name in COUNTED[2:]}
    grouped = runs.order_by().values("trigger", "status")
    return grouped.annotate(runs=Count("pk"), duration=took, **rest)


class History(Collector):
    """A collector of Prometheus's client."""

    def collect(self) -> Iterator[Metric]:
        yield from _counters(_sums())
        yield from _gauges()


def _sums() -> dict[tuple[str, str], Sums]:
    """Return sums over all runs that have ended, by trigger and status; those pruned since count, too."""
    nothing: Sums = dict.fromkeys(COUNTED, 0) | {"duration": timedelta()}
    sums = {
        (trigger.value, status.value): dict(nothing)
        for trigger, status in product(SyncRun.Trigger, ENDED)
    }
    columns = ("trigger", "status", *COUNTED)
    pruned = PrunedRuns.objects.order_by().values_list(*columns)
    # One statement, lest runs go from the one to the other meanwhile.
    rows = summed(SyncRun.objects.filter(status__in=ENDED)).values_list(*columns)
    for trigger, status, *values in rows.union(pruned, all=True):
        for name, value in zip(COUNTED, values, strict=True):
            sums[trigger, status][name] += value
    return sums


def _counters(sums: dict[tuple[str, str], Sums]) -> Iterator[Metric]:
    labels = ["trigger", "outcome"]
    runs = CounterMetricFamily("voices_sync_runs", "Runs that have ended.", labels=labels)
    took = SummaryMetricFamily("voices_sync_duration_seconds", "What they took.", labels=labels)
    for key, each in sums.items():
        runs.add_metric(key, each["runs"])
        took.add_metric(key, each["runs"], each["duration"].total_seconds())
    yield runs
    yield took
    totals = {name: sum(each[name] for each in sums.values()) for name in COUNTED[2:]}
    words = "Requests to Ultravox that were made again."
    yield CounterMetricFamily("voices_sync_retries", words, totals["retries"])
    words = "Ultravox's answers to syncs, by status."
    answers = CounterMetricFamily("voices_sync_answers", words, labels=["status"])
    for kind, column in ANSWERS.items():
        answers.add_metric([kind], totals[column])
    yield answers


def _gauges() -> Iterator[Metric]:
    now = timezone.now()
    newest = SUCCEEDED.order_by("-finished_at").first()
    succeeded_at = newest.finished_at.timestamp() if newest and newest.finished_at else 0
    oldest = OPEN_RUNS.order_by("started_at").first()
    rejected = Agency.objects.filter(key_works=False)
    figures: dict[str, tuple[float, str]] = {
        "last_success_timestamp_seconds": (
            succeeded_at,
            "When the newest success ended; 0: never.",
        ),
        "schedule_failures": (
            Alarm.objects.aggregate(most=Max("failures"))["most"] or 0,
            "Scheduled syncs that have failed in a row.",
        ),
        "open_runs": (OPEN_RUNS.count(), "Runs under way, and dead ones."),
        "oldest_open_run_age_seconds": (
            max(0, (now - oldest.started_at).total_seconds()) if oldest else 0,
            "How long the oldest of them is open.",
        ),
        "keys_refused": (
            rejected.count(),
            "Agencies whose key Ultravox rejected when it was last used.",
        ),
        "stored_voices": (Voice.objects.count(), "Voices in the table."),
    }
    if newest:
        took = succeeded_at - newest.started_at.timestamp()
        figures |= {
            "voices_age_seconds": (
                max(0, now.timestamp() - succeeded_at),
                "Since the newest success.",
            ),
            "last_success_duration_seconds": (took, "What it took."),
            "last_success_voices": (newest.synced, "Voices that it stored."),
            "last_success_skipped": (newest.skipped, "Records that it could not store."),
        }
    for name, (value, words) in figures.items():
        yield GaugeMetricFamily(f"voices_sync_{name}", words, value)
