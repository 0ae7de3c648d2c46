"""`/metrics`: who may read it, that its values are right, and that nothing lowers a counter."""

import re
from datetime import timedelta
from typing import Any

import pytest
from django.core.management import call_command
from django.test import Client
from django.utils import timezone
from prometheus_client.parser import text_string_to_metric_families as parse

from agencies.models import Agency
from tests.support.answers import assert_error
from tests.support.project import ROOT
from tests.support.rows import add_run
from tests.support.tools import find, run
from tests.ultravox import Ultravox
from voices.models import SyncRun
from voices.sync import sync_voices
from voices.tasks import sync_voices as task

pytestmark = pytest.mark.django_db

TOKEN = "token-of-prometheus"
AUTHORIZED = {"authorization": f"Bearer {TOKEN}", "host": "10.0.0.7:8000"}
RUNS = "voices_sync_runs_total"
RULES = ROOT / "deploy/alerts.yml"


@pytest.fixture
def client(settings: Any) -> Client:
    settings.METRICS_TOKEN = TOKEN
    return Client()


def metrics(client: Client) -> dict[str, float]:
    """Return the metrics that are not 0, by name and label values, as Prometheus parses them."""
    response = client.get("/metrics", headers=AUTHORIZED)
    assert response.status_code == 200
    assert response["Content-Type"].startswith("text/plain; version=")
    return {
        " ".join((sample.name, *sample.labels.values())): sample.value
        for family in parse(response.text)
        for sample in family.samples
        if sample.value
    }


@pytest.mark.parametrize("token", [TOKEN, ""])
@pytest.mark.parametrize("method", ["GET", "POST", "OPTIONS"])
def test_without_the_token_it_does_not_exist(settings: Any, method: str, token: str) -> None:
    settings.METRICS_TOKEN = token
    for header in ("", "Bearer", "Bearer ", f"Bearer {TOKEN}x", TOKEN, "bearer token", "Bearer é"):
        response = Client().generic(method, "/metrics", headers={"authorization": header})
        assert_error(response, 404, "not_found")


def test_methods_and_schemes_with_the_token(client: Client) -> None:
    response = client.head("/metrics", headers={"authorization": f"bearer {TOKEN}"})
    assert (response.status_code, response.content) == (200, b"")
    response = client.post("/metrics", headers=AUTHORIZED)
    assert (response.status_code, response["Allow"]) == (405, "GET, HEAD")


def test_before_the_first_sync_every_metric_of_the_alerts_is_0(client: Client) -> None:
    response = client.get("/metrics", headers=AUTHORIZED)
    assert metrics(client) == {}
    used = set(re.findall(r"voices_\w+", RULES.read_text()))
    assert len(used) == 4
    assert used <= set(re.findall(r"^(voices_\w+)", response.text, re.MULTILINE))
    assert response.text.count(f"\n{RUNS}{{") == 15
    assert "\nvoices_sync_last_success_timestamp_seconds 0.0\n" in response.text


def test_successful_sync(client: Client, agency: Agency, ultravox: Ultravox) -> None:
    ultravox.voices[0]["voiceId"] = None
    sync_voices(trigger=SyncRun.Trigger.COMMAND)
    sync_run = SyncRun.objects.get()
    assert sync_run.finished_at
    seconds = (sync_run.finished_at - sync_run.started_at).total_seconds()
    assert metrics(client) == {
        f"{RUNS} succeeded command": 1,
        "voices_sync_duration_seconds_count succeeded command": 1,
        "voices_sync_duration_seconds_sum succeeded command": pytest.approx(seconds, abs=0.001),
        "voices_sync_last_success_timestamp_seconds": pytest.approx(
            sync_run.finished_at.timestamp()
        ),
        "voices_sync_last_success_voices": 299,
        "voices_sync_last_success_skipped": 1,
    }


def test_failures_and_running_syncs(
    client: Client, agency: Agency, ultravox: Ultravox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ultravox.client.BACKOFF", 0.01)
    for fault, failures in (("status_400", 1), ("status_500_always", 2), (None, 0)):
        ultravox.fault = fault
        task.apply()
        assert metrics(client).get("voices_sync_schedule_failures", 0) == failures
    ultravox.keys = {"another"}
    task.apply()
    start = timezone.now() - timedelta(minutes=20)
    add_run(agency, start, status="running", finished_at=None)
    values = metrics(client)
    assert values[f"{RUNS} failed schedule"] == 3
    assert values["voices_sync_retries_total"] == 3
    assert values["voices_sync_keys_refused"] == 1
    assert 1200 <= values["voices_sync_oldest_open_run_age_seconds"] < 1300


def test_prune_lowers_no_counter(client: Client, agency: Agency) -> None:
    start = timezone.now() - timedelta(days=100)
    add_run(None, start, status="failed", finished_at=start - timedelta(days=1))  # clocks differ
    for retries in range(1, 4):
        for status in ("succeeded", "failed", "abandoned"):
            add_run(agency, start, status=status, retries=retries)
    add_run(None, timezone.now(), status="failed", retries=5)

    def counters() -> dict[str, float]:
        names = (RUNS, "voices_sync_duration", "voices_sync_retries")
        return {name: value for name, value in metrics(client).items() if name.startswith(names)}

    before = counters()
    assert before[f"{RUNS} failed service"] == 5
    assert before["voices_sync_duration_seconds_sum failed service"] == pytest.approx(4, abs=0.01)
    assert before["voices_sync_retries_total"] == 23
    for _ in range(2):
        call_command("prune")
        assert counters() == before
    assert SyncRun.objects.count() == 2


def test_prometheus_raises_each_alert_when_it_should() -> None:
    done = run(find("promtool", "prometheus"), "test", "rules", "tests/support/alerts.yml")
    assert done.returncode == 0, done.stdout + done.stderr
