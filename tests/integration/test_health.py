"""Liveness and readiness, also while something hangs."""

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest
import requests
from django.db import connection
from django.db.migrations.recorder import MigrationRecorder
from django.db.models.functions import Now
from django.test import Client
from django.utils import timezone
from django_celery_beat.models import IntervalSchedule, PeriodicTask

from operations.health import CHECKS, Check
from operations.models import Worker
from tests.support.answers import assert_error
from tests.support.project import Project, on_postgresql
from tests.support.rows import add_run
from voices.models import SyncRun

GOOD = dict.fromkeys(("database", "migrations", "broker", "worker", "schedule", "voices"), "ok")
UNUSED = {"broker": "unused", "worker": "unused"}
UNKNOWN = dict.fromkeys(("migrations", "worker", "schedule", "voices"), "unknown")


@pytest.fixture
def healthy(transactional_db: None, settings: Any) -> None:
    """A service with a broker. Its rows are committed for the checks' threads."""
    settings.CELERY_BROKER_URL = "redis://..."  # the tests' Celery connects to memory://
    every = IntervalSchedule.objects.create(every=6, period="hours")
    PeriodicTask.objects.create(name="Sync", task="voices.sync_voices", interval=every)
    add_run(None, ago(hours=23))
    Worker.objects.create(name="celery@here", seen_at=Now())


@pytest.fixture
def client() -> Client:
    return Client(headers={"host": "10.0.0.7:8000"})


def readyz(client: Client) -> tuple[int, str, dict[str, str]]:
    """Return the status code, the status, and all checks that are not `ok`."""
    response = client.get("/readyz")
    body = response.json()
    assert list(body) == ["status", "checks"]
    assert list(body["checks"]) == list(GOOD)
    return response.status_code, body["status"], dict(body["checks"].items() - GOOD.items())


@pytest.mark.parametrize("address", ["/livez", "/healthz", "/livez/"])
def test_live_without_a_database(client: Client, address: str) -> None:
    response = client.get(address)
    assert (response.status_code, response.json()) == (200, {"status": "ok"})
    assert response["Cache-Control"] == "no-store"


@pytest.mark.parametrize("address", ["/livez", "/healthz", "/readyz"])
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS"])
def test_other_methods_are_405(client: Client, address: str, method: str) -> None:
    response = client.generic(method, address)
    assert_error(response, 405, "method_not_allowed")
    assert response["Allow"] == "GET, HEAD"


@pytest.mark.usefixtures("healthy")
def test_ready(client: Client, settings: Any) -> None:
    settings.SECURE_SSL_REDIRECT = True
    PeriodicTask.objects.update(last_run_at=ago(hours=6, minutes=9))
    assert readyz(client) == (200, "ok", {})
    head = client.head("/readyz")
    assert (head.status_code, head.content) == (200, b"")
    settings.CELERY_BROKER_URL = ""
    Worker.objects.all().delete()
    assert readyz(client) == (200, "ok", UNUSED)
    settings.STALE_HOURS = 22.5
    assert readyz(client) == (200, "degraded", UNUSED | {"voices": "stale"})


def ago(**duration: float) -> datetime:
    return timezone.now() - timedelta(**duration)


def schedule(**columns: Any) -> Callable[[], object]:
    return lambda: PeriodicTask.objects.update(**columns)


FAULTS: dict[str, tuple[Callable[[], object], dict[str, str]]] = {
    "no worker": (lambda: Worker.objects.all().delete(), {"worker": "none"}),
    "dead worker": (lambda: Worker.objects.update(seen_at=ago(seconds=21)), {"worker": "none"}),
    "disabled": (schedule(enabled=False), {"schedule": "disabled"}),
    "no task": (lambda: PeriodicTask.objects.all().delete(), {"schedule": "none"}),
    "overdue": (schedule(last_run_at=ago(hours=6, minutes=11)), {"schedule": "stale"}),
    "never run": (schedule(last_run_at=None, date_changed=ago(hours=7)), {"schedule": "stale"}),
    "never synced": (lambda: SyncRun.objects.update(status="failed"), {"voices": "stale"}),
    "old voices": (lambda: SyncRun.objects.update(finished_at=ago(hours=25)), {"voices": "stale"}),
}


@pytest.mark.usefixtures("healthy")
@pytest.mark.parametrize(("cause", "found"), FAULTS.values(), ids=FAULTS)
def test_degraded(client: Client, cause: Callable[[], object], found: dict[str, str]) -> None:
    cause()
    assert readyz(client) == (200, "degraded", found)


@pytest.mark.usefixtures("healthy")
def test_unapplied_migration_is_503(client: Client) -> None:
    migrations = MigrationRecorder.Migration.objects
    rows = list(migrations.filter(app="voices"))
    migrations.filter(app="voices").delete()
    try:
        assert readyz(client) == (503, "unavailable", UNKNOWN | {"migrations": "unapplied"})
    finally:
        migrations.bulk_create(rows)


def test_hanging_check_runs_once_and_returns_results_so_far() -> None:
    go_on, calls = threading.Event(), []

    def slow(results: dict[str, str]) -> None:
        calls.append(results)
        results["one"] = "ok"
        go_on.wait(20)
        results["other"] = "ok"

    check = Check(slow, {"one": "unknown", "other": "unknown"})
    for _ in range(2):
        thread, results = check.start()
        thread.join(0.1)
        assert results == {"one": "ok", "other": "unknown"}
    assert len(calls) == 1
    go_on.set()
    thread.join(10)
    assert results == {"one": "ok", "other": "ok"}
    check.start()[0].join(10)
    assert len(calls) == 2


@contextlib.contextmanager
def silent_server() -> Iterator[int]:
    """A port that accepts connections and never responds, like a machine that is cut off."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


@pytest.mark.usefixtures("healthy")
@pytest.mark.parametrize("scheme", ["redis", "amqp"])
def test_unavailable_broker_is_reported_in_time(
    client: Client, scheme: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with silent_server() as port:
        monkeypatch.setenv("CELERY_BROKER_WRITE_URL", f"{scheme}://127.0.0.1:{port}/")
        began = time.monotonic()
        assert readyz(client) == (200, "degraded", {"broker": "unavailable"})
        assert time.monotonic() - began < 2
        CHECKS[1].start()[0].join(10)  # of the next test


@on_postgresql
def test_unavailable_database_is_503_in_time(project: Callable[..., Project]) -> None:
    checks = GOOD | UNKNOWN | UNUSED | {"database": "unavailable"}
    with silent_server() as port:
        url = project(DATABASE_URL=f"postgres://x:secret@127.0.0.1:{port}/x").serve()
        began = time.monotonic()
        response = requests.get(f"{url}/readyz", timeout=10)
        assert time.monotonic() - began < 2
        assert requests.get(f"{url}/livez", timeout=1).status_code == 200
        assert response.status_code == 503
        assert response.json() == {"status": "unavailable", "checks": checks}
    response = requests.get(f"{url}/readyz", timeout=10)  # connection refused
    assert response.json() == {"status": "unavailable", "checks": checks}


@on_postgresql
@pytest.mark.usefixtures("healthy")
def test_locked_table_is_degraded_in_time(client: Client) -> None:
    with connection.cursor() as cursor:
        cursor.execute("BEGIN; LOCK TABLE voice_sync_runs IN ACCESS EXCLUSIVE MODE")
        began = time.monotonic()
        assert readyz(client) == (200, "degraded", {"voices": "unknown"})
        assert time.monotonic() - began < 2
        cursor.execute("ROLLBACK")
