"""`manage.py doctor`: a line for each thing that a sync needs, and what to do about it."""

import io
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db.models.functions import Now
from django_celery_beat.models import IntervalSchedule, PeriodicTask

from agencies.models import Agency
from operations.models import Worker
from tests.support.answers import store_raw_key, without
from tests.support.project import Project, free_port
from tests.ultravox import API_KEY, Ultravox
from voices.models import SyncRun
from voices.sync import sync_voices

pytestmark = pytest.mark.django_db(transaction=True)

SUBJECTS = ["settings", "database", "migrations", "broker", "worker", "schedule", "voices"]


def doctor() -> tuple[int, dict[str, str]]:
    """Run it; return its exit code, and its lines by what they are about, faults only."""
    out = io.StringIO()
    code = 0
    try:
        call_command("doctor", stdout=out, no_color=True)
    except CommandError as error:
        code = error.returncode
    lines = [line.partition(": ") for line in out.getvalue().splitlines()]
    assert [start[6:] for start, _, _ in lines][: len(SUBJECTS)] == SUBJECTS
    return code, {start[6:]: found for start, _, found in lines if start.startswith("FAULT")}


@pytest.fixture
def healthy(agency: Agency, ultravox: Ultravox) -> Agency:
    sync_voices(trigger=SyncRun.Trigger.SCHEDULE)
    Worker.objects.create(name="celery@here", seen_at=Now())
    every = IntervalSchedule.objects.create(every=6, period="hours")
    PeriodicTask.objects.create(name="Sync", task="voices.sync_voices", interval=every)
    return agency


def test_all_is_well(healthy: Agency, ultravox: Ultravox) -> None:
    asked = len(ultravox.listings)
    assert doctor() == (0, {})
    assert len(ultravox.listings) == asked + 1
    assert SyncRun.objects.count() == 1  # it is no sync


FAULTS: dict[str, tuple[Callable[[], object], str, str]] = {
    "worker": (
        lambda: Worker.objects.all().delete(),
        "worker",
        "Start `celery -A voiceproject worker`",
    ),
    "schedule": (
        lambda: PeriodicTask.objects.update(enabled=False),
        "schedule",
        "enable the periodic task",
    ),
    "voices": (
        lambda: SyncRun.objects.update(finished_at=Now() - timedelta(hours=25)),
        "voices",
        "manage.py sync_voices",
    ),
    "beat": (
        lambda: PeriodicTask.objects.update(last_run_at=Now() - timedelta(hours=6, minutes=11)),
        "beat",
        "a sync has been due for 11 minutes -> Start `celery -A voiceproject beat`",
    ),
    "keys": (lambda: Agency.objects.update(encrypted_key=""), "agencies", "Add an agency"),
}


@pytest.mark.parametrize(("cause", "subject", "remedy"), FAULTS.values(), ids=FAULTS)
def test_it_says_what_to_do(
    healthy: Agency, cause: Callable[[], object], subject: str, remedy: str
) -> None:
    cause()
    code, faults = doctor()
    assert (code, list(faults)) == (1, [subject])
    assert remedy in faults[subject]


def test_each_key_is_tried(healthy: Agency, ultravox: Ultravox) -> None:
    revoked = Agency.objects.create(name="Revoked", ultravox_api_key="another key")
    Agency.objects.create(name="Keyless")
    Agency.objects.create(name="Blank", ultravox_api_key=" ")
    code, faults = doctor()
    assert (code, list(faults)) == (1, [f"key of Revoked ({revoked.pk})"])
    assert "Ultravox rejected your agency's API key" in faults.popitem()[1]
    # An answer that is no page of voices
    ultravox.keys = {API_KEY, "another key"}
    ultravox.fault = "body_html"
    code, faults = doctor()
    assert (code, len(faults)) == (1, 2)
    assert "(the response is not JSON)" in faults.popitem()[1]


def test_keys_that_cannot_be_read(healthy: Agency) -> None:
    lost = Agency.objects.create(name="Lost")
    store_raw_key(lost, "gAAAAA-not-to-be-decrypted")
    code, faults = doctor()
    assert (code, list(faults)) == (1, ["encryption keys"])
    assert f"Lost ({lost.pk})" in faults["encryption keys"]
    assert "CREDENTIALS_KEYS" in faults["encryption keys"]


def test_a_cache_that_is_away(healthy: Agency, settings: Any) -> None:
    backend = "django.core.cache.backends.redis.RedisCache"
    away = f"redis://127.0.0.1:{free_port()}/1"
    settings.CACHES = {"default": {"BACKEND": backend, "LOCATION": away}}
    code, faults = doctor()
    assert (code, list(faults)) == (1, ["cache"])


def test_wrong_settings(healthy: Agency, settings: Any) -> None:
    settings.CREDENTIALS_KEYS = []
    code, faults = doctor()
    assert (code, list(faults)) == (1, ["settings", "encryption keys"])
    assert "CREDENTIALS_KEYS is not set" in faults["settings"]


def test_services_that_are_away(project: Callable[..., Project], tmp_path: Path) -> None:
    broker = f"redis://:secret@127.0.0.1:{free_port()}/0"
    database = f"sqlite:///{tmp_path}/away/db.sqlite3"
    done = project(CELERY_BROKER_URL=broker, DATABASE_URL=database).manage("doctor")
    assert done.returncode == 1
    faults = [line for line in done.stdout.splitlines() if line.startswith("FAULT")]
    assert "FAULT database: unavailable -> The database cannot be reached" in faults[0]
    assert done.stdout.count("unknown -> Mend what is at fault above first.") == 5
    assert "FAULT broker: unavailable -> Check CELERY_BROKER_URL" in done.stdout
    assert "Traceback" not in done.stderr
    assert "secret" not in done.stdout + done.stderr


def test_a_database_that_is_not_migrated(healthy: Agency) -> None:
    with without("django_migrations"):
        code, faults = doctor()
    assert code == 1
    assert "Run `manage.py migrate`" in faults["migrations"]
