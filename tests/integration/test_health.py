"""What balancers and containers ask, also while something is amiss."""

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
import requests
from django.db import connection
from django.db.models.functions import Now
from django.test import Client
from django.utils import timezone
from django_celery_beat.models import IntervalSchedule, PeriodicTask

from operations.health import Check
from operations.models import Worker
from tests.support.project import Project, on_postgresql, wait_for
from voices.models import SyncRun

GOOD = dict.fromkeys(("database", "migrations", "broker", "worker", "schedule", "voices"), "ok")
NOTHING_KNOWN = dict.fromkeys(("migrations", "worker", "schedule", "voices"), "unknown")


def add_run(hours_ago: float = 0, **columns: Any) -> SyncRun:
    then = timezone.now() - timedelta(hours=hours_ago)
    columns = {"trigger": "schedule", "status": "succeeded", "finished_at": then} | columns
    return SyncRun.objects.create(started_at=then, heartbeat_at=then, **columns)


@pytest.fixture
def healthy(transactional_db: None) -> None:
    """All that a probe looks for; committed, since it looks from threads of its own."""
    every = IntervalSchedule.objects.create(every=6, period="hours")
    PeriodicTask.objects.create(name="Sync", task="voices.sync_voices", interval=every)
    add_run(hours_ago=23)
    Worker.objects.create(name="celery@here", seen_at=Now())


@pytest.fixture
def client() -> Client:
    return Client(headers={"host": "10.0.0.7:8000"})


def readyz(client: Client) -> tuple[int, str, dict[str, str]]:
    """Return the status, and what differs from a service in good health."""
    answer = client.get("/readyz")
    body = answer.json()
    assert list(body) == ["status", "checks"]
    assert list(body["checks"]) == list(GOOD)
    return answer.status_code, body["status"], dict(body["checks"].items() - GOOD.items())


@pytest.mark.parametrize("address", ["/livez", "/healthz", "/livez/"])
def test_it_answers_while_the_process_does(client: Client, address: str) -> None:
    """Without the database, which this test may not use, and whatever the host is called."""
    answer = client.get(address)
    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})
    assert answer["Cache-Control"] == "no-store"


@pytest.mark.parametrize("address", ["/livez", "/healthz", "/readyz"])
def test_other_methods_are_refused(client: Client, address: str) -> None:
    for method in ("POST", "PUT", "DELETE", "OPTIONS"):
        answer = client.generic(method, address, headers={"origin": "https://x.example"})
        assert (answer.status_code, answer["Allow"]) == (405, "GET, HEAD")
        assert answer.json()["code"] == "method_not_allowed"


@pytest.mark.usefixtures("healthy")
def test_all_is_well(client: Client, settings: Any) -> None:
    settings.SECURE_SSL_REDIRECT = True
    assert readyz(client) == (200, "ok", {})
    head = client.head("/readyz")
    assert (head.status_code, head.content) == (200, b"")


def disable() -> None:
    PeriodicTask.objects.update(enabled=False)


AMISS: dict[str, tuple[Callable[[], object], str]] = {
    "no worker yet": (lambda: Worker.objects.all().delete(), "worker: none"),
    "a worker that is gone": (
        lambda: Worker.objects.update(seen_at=Now() - timedelta(seconds=21)),
        "worker: none",
    ),
    "switched off": (disable, "schedule: disabled"),
    "not scheduled": (lambda: PeriodicTask.objects.all().delete(), "schedule: none"),
    "never synced": (lambda: SyncRun.objects.update(status="failed"), "voices: stale"),
    "old voices": (lambda: SyncRun.objects.all().delete() and add_run(25), "voices: stale"),
}


@pytest.mark.usefixtures("healthy")
@pytest.mark.parametrize(("cause", "word"), AMISS.values(), ids=AMISS)
def test_what_is_amiss_is_told(client: Client, cause: Callable[[], object], word: str) -> None:
    cause()
    subject, found = word.split(": ")
    assert readyz(client) == (200, "degraded", {subject: found})


@pytest.mark.usefixtures("healthy")
def test_how_old_voices_may_be_is_for_operators(client: Client, settings: Any) -> None:
    settings.STALE_HOURS = 22.5
    assert readyz(client) == (200, "degraded", {"voices": "stale"})


@pytest.mark.usefixtures("healthy")
def test_migrations_that_are_missing_keep_requests_away(client: Client) -> None:
    with connection.cursor() as cursor:
        row = "FROM django_migrations WHERE app = 'voices' AND name = '0006_search_text'"
        cursor.execute(f"SELECT applied {row}")
        [applied] = cursor.fetchone()
        cursor.execute(f"DELETE {row}")
        try:
            rest = dict.fromkeys(("worker", "schedule", "voices"), "unknown")
            found = {"migrations": "unapplied"} | rest
            assert readyz(client) == (503, "unavailable", found)
        finally:
            place = ["voices", "0006_search_text", applied]
            insert = "INSERT INTO django_migrations (app, name, applied) VALUES (%s, %s, %s)"
            cursor.execute(insert, place)


# What hangs


def test_a_check_that_hangs_is_made_once_and_says_what_it_knows() -> None:
    goes_on, calls = threading.Event(), []

    def slow(words: dict[str, str]) -> None:
        calls.append(words)
        words["one"] = "ok"
        goes_on.wait(20)
        words["other"] = "ok"

    check = Check(slow, {"one": "unknown", "other": "unknown"})
    for _ in range(3):
        thread, words = check.start()
        thread.join(0.1)
        assert words == {"one": "ok", "other": "unknown"}
    assert len(calls) == 1
    goes_on.set()
    thread.join(10)
    assert words == {"one": "ok", "other": "ok"}
    thread, words = check.start()
    thread.join(10)
    assert words == {"one": "ok", "other": "ok"}
    assert len(calls) == 2


def test_many_who_ask_at_once_are_told_the_same() -> None:
    def quick(words: dict[str, str]) -> None:
        words["one"] = "ok"

    check = Check(quick, {"one": "unknown"})

    def ask() -> str:
        thread, words = check.start()
        thread.join(10)
        return words["one"]

    def ask_often(_: int) -> set[str]:
        return {ask() for _ in range(500)}

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(ask_often, range(4))) == [{"ok"}] * 4


@contextlib.contextmanager
def silent_server() -> Iterator[int]:
    """A port at which connections are made, and nothing is ever said: a machine that is cut off."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


def ask(url: str) -> tuple[int, dict[str, Any]]:
    """Ask twice, the second time while the first check may hang still; each is answered in time."""
    for _ in range(2):
        began = time.monotonic()
        answer = requests.get(f"{url}/readyz", timeout=10)
        assert time.monotonic() - began < 2
        assert requests.get(f"{url}/livez", timeout=1).status_code == 200
    return answer.status_code, answer.json()


@pytest.mark.parametrize("scheme", ["redis", "amqp"])
def test_a_broker_that_is_away_is_no_reason_to_keep_requests_away(
    project: Callable[..., Project], scheme: str
) -> None:
    checks = GOOD | {"worker": "none", "voices": "stale", "broker": "unavailable"}
    degraded = (200, {"status": "degraded", "checks": checks})
    with silent_server() as port:
        site = project(CELERY_BROKER_URL=f"{scheme}://127.0.0.1:{port}/")
        url = site.serve()
        assert ask(url) == degraded
    # Now nobody listens; and a worker that is cut off does not count.
    site.start("-m", "celery", "-A", "voiceproject", "worker", log="worker")
    wait_for(lambda: "Cannot connect to" in site.log("worker"), 30, "the worker")
    assert ask(url) == degraded


@on_postgresql
def test_a_database_that_is_away(project: Callable[..., Project]) -> None:
    checks = GOOD | NOTHING_KNOWN | {"database": "unavailable"}
    unavailable = (503, {"status": "unavailable", "checks": checks})
    with silent_server() as port:
        url = project(DATABASE_URL=f"postgres://x:secret@127.0.0.1:{port}/x").serve()
        assert ask(url) == unavailable
    assert ask(url) == unavailable  # now nobody listens


@on_postgresql
@pytest.mark.usefixtures("healthy")
def test_a_table_that_is_locked_is_no_reason_either(client: Client) -> None:
    with connection.cursor() as cursor:
        cursor.execute("BEGIN; LOCK TABLE voice_sync_runs IN ACCESS EXCLUSIVE MODE")
        began = time.monotonic()
        assert readyz(client) == (200, "degraded", {"voices": "unknown"})
        assert time.monotonic() - began < 2
        cursor.execute("ROLLBACK")
