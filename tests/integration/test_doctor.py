"""`manage.py doctor` prints a line for everything that a sync needs, and a remedy for each fault."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db.models.functions import Now
from django_celery_beat.models import IntervalSchedule, PeriodicTask

from agencies.models import Agency
from operations.models import Worker
from tests.support.answers import store_raw_key, without
from tests.support.project import Database, Project, free_port
from tests.ultravox import API_KEY, Ultravox
from voices.models import SyncRun
from voices.sync import sync_voices

pytestmark = pytest.mark.django_db(transaction=True)

SUBJECTS = ["settings", "database", "migrations", "broker", "worker", "schedule", "voices"]


def doctor() -> tuple[int, dict[str, str]]:
    """Run the command; return its exit code, and its faults by subject."""
    out = io.StringIO()
    code = 0
    try:
        call_command("doctor", stdout=out, no_color=True)
    except CommandError as error:
        code = error.returncode
    lines = [line.partition(": ") for line in out.getvalue().splitlines()]
    assert [start[6:] for start, _, _ in lines][: len(SUBJECTS)] == SUBJECTS
    return code, {start[6:]: rest for start, _, rest in lines if start.startswith("FAULT")}


@pytest.fixture
def healthy(agency: Agency, ultravox: Ultravox, settings: Any) -> Agency:
    settings.CELERY_BROKER_URL = "redis://..."  # the tests' Celery connects to memory://
    sync_voices(trigger=SyncRun.Trigger.SCHEDULE)
    Worker.objects.create(name="celery@host", seen_at=Now())
    interval = IntervalSchedule.objects.create(every=6, period="hours")
    PeriodicTask.objects.create(name="Sync", task="voices.sync_voices", interval=interval)
    return agency


def test_healthy_service_has_no_fault(healthy: Agency, ultravox: Ultravox, settings: Any) -> None:
    requests = len(ultravox.listings)
    assert doctor() == (0, {})
    assert len(ultravox.listings) == requests + 1
    assert SyncRun.objects.count() == 1  # the doctor wrote none
    settings.CELERY_BROKER_URL = ""
    Worker.objects.all().delete()
    assert doctor() == (0, {})


@pytest.mark.parametrize(
    ("cause", "subject", "line"),
    [
        (Worker.objects.all().delete, "worker", "none -> Start `celery -A voiceproject worker`"),
        (
            PeriodicTask.objects.all().delete,
            "schedule",
            "none -> In the admin, add a periodic task",
        ),
        (SyncRun.objects.all().delete, "voices", "stale -> Run `manage.py sync_voices`"),
        (Agency.objects.all().delete, "agencies", "no agency has a key -> In the admin, add"),
    ],
)
def test_each_fault_has_a_remedy(
    healthy: Agency, cause: Callable[[], object], subject: str, line: str
) -> None:
    cause()
    code, faults = doctor()
    assert (code, list(faults)) == (1, [subject])
    assert line in faults[subject]


def test_every_key_is_tested(healthy: Agency, ultravox: Ultravox) -> None:
    revoked = Agency.objects.create(name="Revoked", ultravox_api_key="another key")
    Agency.objects.create(name="Keyless")
    Agency.objects.create(name="Blank", ultravox_api_key=" ")
    code, faults = doctor()
    assert (code, list(faults)) == (1, [f"key of Revoked ({revoked.pk})"])
    assert "-> In the admin, enter an API key that works." in faults.popitem()[1]
    # A response that is not a page of voices
    ultravox.keys = {API_KEY, "another key"}
    ultravox.fault = "body_html"
    code, faults = doctor()
    assert (code, len(faults)) == (1, 2)
    assert "-> Check the network, and that 127.0.0.1 is up." in faults.popitem()[1]


def test_unreadable_keys(healthy: Agency, settings: Any) -> None:
    store_raw_key(healthy, "gAAAAA-not-to-be-decrypted")
    code, faults = doctor()
    assert (code, list(faults)) == (1, ["encryption keys"])
    assert f"Agency ({healthy.pk}) -> Add the Fernet key" in faults["encryption keys"]
    settings.CREDENTIALS_KEYS = []
    assert "CREDENTIALS_KEYS is not set" in doctor()[1]["settings"]


def test_unavailable_database_and_broker(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path}/missing/db.sqlite3")
    broker = f"redis://:secret@127.0.0.1:{free_port()}/0"
    done = Project(database, tmp_path, CELERY_BROKER_URL=broker).manage("doctor")
    assert done.returncode == 1
    faults = [line for line in done.stdout.splitlines() if line.startswith("FAULT")]
    assert "FAULT database: unavailable -> The database can't be reached" in faults[0]
    assert done.stdout.count("unknown -> Fix the faults above first.") == 5
    assert "FAULT broker: unavailable -> Check CELERY_BROKER_URL" in done.stdout
    assert "Traceback" not in done.stderr
    assert "secret" not in done.stdout + done.stderr


def test_unmigrated_database(healthy: Agency) -> None:
    with without("django_migrations"):
        code, faults = doctor()
    assert code == 1
    assert "Run `manage.py migrate`" in faults["migrations"]
