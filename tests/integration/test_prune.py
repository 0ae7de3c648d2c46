"""`manage.py prune`, and the daily task: what they remove, and what stays."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from axes.models import AccessAttempt
from django.contrib.sessions.models import Session
from django.core.management import call_command
from django.utils import timezone
from django_celery_beat.models import PeriodicTask

from agencies.models import Agency
from operations import prune
from operations.models import Worker
from operations.tasks import prune as task
from tests.support import rows
from voices.models import SyncRun, Voice
from voices.previews import cache

pytestmark = pytest.mark.django_db


def add_run(days_ago: float, agency: Agency | None, status: str = "succeeded") -> int:
    start = timezone.now() - timedelta(days=days_ago)
    end = None if status == "running" else start
    return rows.add_run(agency, start, status=status, finished_at=end).pk


def add_attempt(days_ago: float) -> None:
    attempt = AccessAttempt.objects.create(username=str(days_ago), failures_since_start=1)
    attempt.attempt_time = timezone.now() - timedelta(days=days_ago)
    attempt.save()


def test_newest_successes_and_running_syncs_stay(
    agency: Agency, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prune, "BATCH_SIZE", 7)
    other = Agency.objects.create(name="Other")
    remaining = {
        add_run(89, agency, "failed"),
        add_run(200, agency),
        add_run(500, other),
        add_run(300, other, "running"),
        add_run(91, None),  # of a deleted agency, and the newest of all
    }
    for days in range(201, 210):
        add_run(days, agency)
        add_run(days, agency, "failed")
        add_run(days, None)
    add_run(501, other)
    add_run(91, other, "abandoned")
    call_command("prune")
    assert set(SyncRun.objects.values_list("pk", flat=True)) == remaining


@pytest.mark.parametrize(("days", "remaining"), [(0, 3), (20, 1)])
def test_history_days(agency: Agency, settings: Any, days: int, remaining: int) -> None:
    for age in (5, 50, 5000):
        add_run(age, agency, "failed")
        add_attempt(age)
    settings.SYNC_HISTORY_DAYS = days
    call_command("prune")
    assert SyncRun.objects.count() == AccessAttempt.objects.count() == remaining


def test_expired_sessions_old_logins_and_dead_workers(capsys: pytest.CaptureFixture[str]) -> None:
    now = timezone.now()
    for key, days in (("expired", -1), ("open", 1)):
        Session.objects.create(session_key=key, expire_date=now + timedelta(days=days))
    add_attempt(91)
    add_attempt(89)
    Worker.objects.create(name="dead", seen_at=now - timedelta(minutes=5))
    Worker.objects.create(name="alive", seen_at=now)
    call_command("prune")
    assert [session.pk for session in Session.objects.all()] == ["open"]
    assert [attempt.username for attempt in AccessAttempt.objects.all()] == ["89"]
    assert [worker.pk for worker in Worker.objects.all()] == ["alive"]
    line = "Removed 0 runs, 1 failed logins, 1 sessions, 1 workers, 0 previews\n"
    assert capsys.readouterr().out == line


def test_previews_of_deleted_and_changed_voices(settings: Any, tmp_path: Path) -> None:
    settings.PREVIEW_FOLDER = tmp_path / "previews"
    assert prune.prune()["previews"] == 0  # the folder does not exist
    voices = [rows.add_voice(name, preview_url=f"http://{name}") for name in "abc"]
    for voice in voices:
        cache.store(cache.file_name(voice), b"audio")
    voices[0].delete()
    Voice.objects.filter(pk="b").update(definition={"another": "voice"})
    (settings.PREVIEW_FOLDER / "db.sqlite3").touch()  # not a preview
    assert prune.prune()["previews"] == 2
    assert len(list(settings.PREVIEW_FOLDER.iterdir())) == 2


def test_daily_task(agency: Agency) -> None:
    scheduled = PeriodicTask.objects.get(task=task.name)
    assert (scheduled.enabled, str(scheduled.interval)) == (True, "every day")
    assert scheduled.name == "Prune old data"
    add_run(91, agency, "failed")
    assert task.apply().state == "SUCCESS"
    assert not SyncRun.objects.exists()
