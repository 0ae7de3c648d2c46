"""Figures for Prometheus: who sees them, that they are right, and that nothing lowers a counter."""

from datetime import timedelta
from typing import Any

import pytest
from django.core.management import call_command
from django.test import Client
from django.utils import timezone
from prometheus_client.parser import text_string_to_metric_families as parse

from agencies.models import Agency
from tests.support.answers import without
from tests.ultravox import Ultravox
from voiceproject.errors import UltravoxError
from voices.models import SyncRun
from voices.runs import ABANDONED
from voices.sync import sync_voices
from voices.tasks import sync_voices as task

pytestmark = pytest.mark.django_db

TOKEN = "token-of-prometheus"
AUTHORIZED = {"authorization": f"Bearer {TOKEN}", "host": "10.0.0.7:8000"}
RUNS = "voices_sync_runs_total"
FAILING = (
    "status_500_always",
    "status_429_always",
    "status_400",
    "redirect_loop",
    "reset_before_headers_always",
)


@pytest.fixture
def client(settings: Any) -> Client:
    settings.METRICS_TOKEN = TOKEN
    return Client()


def figures(client: Client) -> dict[str, float]:
    """Return the figures other than 0 by name and labels' values, as Prometheus reads them."""
    answer = client.get("/metrics", headers=AUTHORIZED)
    assert answer.status_code == 200
    assert answer["Content-Type"].startswith("text/plain; version=")
    return {
        " ".join((sample.name, *sample.labels.values())): sample.value
        for family in parse(answer.text)
        for sample in family.samples
        if sample.value
    }


def add_run(**columns: Any) -> SyncRun:
    now = timezone.now()
    times = {"started_at": now - timedelta(seconds=4), "heartbeat_at": now, "finished_at": now}
    return SyncRun.objects.create(**{"trigger": "user", "status": "failed"} | times | columns)


# Who sees them


@pytest.mark.parametrize("method", ["get", "head", "post", "delete", "options"])
@pytest.mark.parametrize(
    "header", ["", f"Bearer {TOKEN}x", TOKEN, f"bearer {TOKEN[:-1]}", "Bearer é"]
)
def test_strangers_find_nothing(client: Client, method: str, header: str) -> None:
    answer = getattr(client, method)("/metrics", headers={"authorization": header})
    assert answer.status_code == 404
    if method != "head":
        assert answer.json()["code"] == "not_found"


def test_without_a_token_nobody_does(client: Client, settings: Any) -> None:
    settings.METRICS_TOKEN = ""
    for header in ("Bearer ", "Bearer", ""):
        assert client.get("/metrics", headers={"authorization": header}).status_code == 404


@pytest.mark.parametrize("scheme", ["bearer", "BEARER", "Bearer "])
def test_how_the_scheme_is_written_is_no_matter(client: Client, scheme: str) -> None:
    headers = {"authorization": f"{scheme} {TOKEN}"}
    assert client.get("/metrics", headers=headers).status_code == 200


@pytest.mark.django_db(transaction=True)
def test_without_the_database_there_is_an_error_of_the_one_form(
    client: Client, settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    settings.DEBUG = True
    with without("voice_sync_runs"):
        answer = client.get("/metrics", headers=AUTHORIZED)
    assert (answer.status_code, answer.json()["code"]) == (500, "database_unavailable")
    assert "No figures for Prometheus: " in caplog.text
    assert "Traceback" not in caplog.text


def test_other_methods(client: Client) -> None:
    assert client.head("/metrics", headers=AUTHORIZED).content == b""
    answer = client.post("/metrics", headers=AUTHORIZED)
    assert (answer.status_code, answer["Allow"]) == (405, "GET, HEAD")


# What they are


def test_before_the_first_sync_all_are_there_and_0(client: Client) -> None:
    answer = client.get("/metrics", headers=AUTHORIZED)
    assert figures(client) == {}
    assert answer.text.count(f"\n{RUNS}{{") == 15
    assert "\nvoices_sync_last_success_timestamp_seconds 0.0\n" in answer.text


def test_a_sync_is_counted(client: Client, agency: Agency, ultravox: Ultravox) -> None:
    ultravox.latency = 0.05
    ultravox.voices[0]["voiceId"] = None
    run = sync_voices(trigger=SyncRun.Trigger.COMMAND)
    assert run.finished_at
    found = figures(client)
    took = (run.finished_at - run.started_at).total_seconds()
    assert found.pop("voices_sync_voices_age_seconds") < 10
    assert found == {
        f"{RUNS} succeeded command": 1,
        "voices_sync_duration_seconds_count succeeded command": 1,
        "voices_sync_duration_seconds_sum succeeded command": pytest.approx(took, abs=0.001),
        "voices_sync_answers_total 2xx": 3,
        "voices_sync_last_success_timestamp_seconds": pytest.approx(run.finished_at.timestamp()),
        "voices_sync_last_success_duration_seconds": pytest.approx(took, abs=0.001),
        "voices_sync_last_success_voices": 299,
        "voices_sync_last_success_skipped": 1,
        "voices_sync_stored_voices": 299,
    }


def test_what_ultravox_answers_is_counted(
    client: Client, agency: Agency, ultravox: Ultravox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ultravox.client.BACKOFF", 0.01)
    for fault in FAILING:
        ultravox.fault = fault
        with pytest.raises(UltravoxError):
            sync_voices(trigger=SyncRun.Trigger.COMMAND)
    found = figures(client)
    assert found[f"{RUNS} failed command"] == 5
    run = SyncRun.objects.order_by("pk").first()
    assert run
    assert (run.retries, run.answers_5xx) == (3, 4)
    answers = {name.rpartition(" ")[2]: n for name, n in found.items() if "answers" in name}
    assert answers == {"5xx": 4, "429": 4, "4xx": 1, "3xx": 6, "none": 4}
    assert found["voices_sync_retries_total"] == 9


def test_failures_of_the_schedule_in_a_row(
    client: Client, agency: Agency, ultravox: Ultravox
) -> None:
    for fault, failures in (("status_400", 1), ("status_400", 2), (None, 0)):
        ultravox.fault = fault
        task.apply()
        assert figures(client).get("voices_sync_schedule_failures", 0) == failures


def test_keys_that_are_refused_and_runs_that_are_open(
    client: Client, agency: Agency, ultravox: Ultravox
) -> None:
    ultravox.keys = {"another"}
    with pytest.raises(UltravoxError):
        sync_voices(trigger=SyncRun.Trigger.COMMAND)
    then = timezone.now() - timedelta(minutes=20)
    add_run(status="running", started_at=then, finished_at=None)
    found = figures(client)
    assert found["voices_sync_keys_refused"] == 1
    assert found["voices_sync_open_runs"] == 1
    assert 1200 <= found["voices_sync_oldest_open_run_age_seconds"] < 1300


def test_pruning_lowers_no_counter(client: Client, agency: Agency) -> None:
    old = timezone.now() - timedelta(days=100)
    times = {"started_at": old, "finished_at": old + timedelta(seconds=90)}
    add_run(status="failed", started_at=old, finished_at=old - timedelta(days=1))  # clocks differ
    for number in range(1, 4):
        for status in ("succeeded", "failed", ABANDONED):
            counts = {"retries": number, "answers_5xx": 10, "unanswered": 7}
            add_run(status=status, agency=agency, **times, **counts)
    add_run(status="failed", retries=5)

    def counters() -> dict[str, float]:
        found = figures(client)
        return {
            name: value for name, value in found.items() if "last" not in name and "age" not in name
        }

    before = counters()
    assert before[f"{RUNS} failed user"] == 5
    assert before["voices_sync_duration_seconds_sum failed user"] == pytest.approx(274, abs=0.01)
    for _ in range(2):
        call_command("prune")
        assert counters() == before
    assert SyncRun.objects.count() == 2
    add_run()
    assert counters()[f"{RUNS} failed user"] == 6
