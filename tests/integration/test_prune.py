"""`manage.py prune`, and the task that does it daily: what goes, and what stays."""

import threading
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from axes.models import AccessAttempt
from django.contrib.sessions.models import Session
from django.core.management import CommandError, call_command
from django.db import connection
from django.utils import timezone
from django_celery_beat.models import PeriodicTask

from agencies.models import Agency
from operations import prune
from operations.models import PrunedRuns, Worker
from operations.tasks import prune as task
from sandbox.audio import wav
from tests.support.answers import without
from tests.ultravox import Ultravox
from voices import previews
from voices.models import SyncRun, Voice
from voices.sync import sync_voices

pytestmark = pytest.mark.django_db


def add_run(days_ago: float, agency: Agency | None, status: str = "succeeded") -> int:
    then = timezone.now() - timedelta(days=days_ago)
    ended = None if status == "running" else then
    return SyncRun.objects.create(
        trigger="schedule",
        agency=agency,
        status=status,
        started_at=then,
        heartbeat_at=then,
        finished_at=ended,
    ).pk


def test_old_runs_go_but_for_the_newest_successes_and_those_under_way(agency: Agency) -> None:
    other = Agency.objects.create(name="Other")
    kept = [
        add_run(89, agency, "failed"),
        add_run(200, agency),
        add_run(500, other),
        add_run(300, other, "running"),
        add_run(91, None),  # of an agency that is gone, and the newest of all
    ]
    for days in range(201, 210):
        add_run(days, agency)
        add_run(days, agency, "failed")
        add_run(days, None)
    add_run(501, other)
    add_run(91, other, "abandoned")
    call_command("prune")
    assert set(SyncRun.objects.values_list("pk", flat=True)) == set(kept)


@pytest.mark.django_db(transaction=True)
def test_two_at_once_count_each_run_once(agency: Agency, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prune, "BATCH", 7)
    removed: list[int] = []
    for _ in range(100):
        add_run(91, agency, "failed")

    def run() -> None:
        removed.append(prune.prune()["runs"])
        connection.close()

    threads = [threading.Thread(target=run) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert SyncRun.objects.count() == 0
    assert PrunedRuns.objects.get().runs == sum(removed) == 100


def test_how_long_runs_are_kept_is_for_operators(agency: Agency, settings: Any) -> None:
    for days in (5, 50, 5000):
        add_run(days, agency, "failed")
        AccessAttempt.objects.create(username=str(days), failures_since_start=1)
    AccessAttempt.objects.update(attempt_time=timezone.now() - timedelta(days=5000))
    settings.SYNC_HISTORY_DAYS = 0
    call_command("prune")
    assert (SyncRun.objects.count(), AccessAttempt.objects.count()) == (3, 3)
    settings.SYNC_HISTORY_DAYS = 20
    call_command("prune")
    assert (SyncRun.objects.count(), AccessAttempt.objects.count()) == (1, 0)


def test_ended_sessions_old_failures_and_lost_workers_go(
    capsys: pytest.CaptureFixture[str],
) -> None:
    now = timezone.now()
    for key, days in (("over", -1), ("open", 1)):
        Session.objects.create(session_key=key, expire_date=now + timedelta(days=days))
    for name, days in (("old", 91), ("new", 89)):
        attempt = AccessAttempt.objects.create(username=name, failures_since_start=1)
        AccessAttempt.objects.filter(pk=attempt.pk).update(attempt_time=now - timedelta(days=days))
    Worker.objects.create(name="lost", seen_at=now - timedelta(minutes=5))
    Worker.objects.create(name="here", seen_at=now)
    call_command("prune")
    assert [session.pk for session in Session.objects.all()] == ["open"]
    assert [attempt.username for attempt in AccessAttempt.objects.all()] == ["new"]
    assert [worker.pk for worker in Worker.objects.all()] == ["here"]
    words = "Removed 0 runs, 1 failed logins, 1 sessions, 1 workers, 0 previews\n"
    assert capsys.readouterr().out == words


def test_previews_of_voices_that_are_gone_go(
    agency: Agency, ultravox: Ultravox, settings: Any, tmp_path: Path
) -> None:
    settings.PREVIEW_FOLDER = tmp_path / "previews"
    call_command("prune")  # while there is no folder
    ultravox.previews = lambda exchange: exchange.reply(200, wav("v"))
    sync_voices(trigger=SyncRun.Trigger.COMMAND)
    voices = [voice for voice in Voice.objects.all() if "/preview" in (voice.preview_url or "")][:3]

    def hear(voice: Voice) -> None:
        previews.fetch_preview(voice, agency_id=agency.pk, before_request=lambda: None)

    for voice in voices:
        hear(voice)
    gone, changed, _ = voices
    gone.delete()
    Voice.objects.filter(pk=changed.pk).update(definition={"another": "voice"})
    folder = tmp_path / "previews"
    (folder / f"{'0' * 64}.failed").touch()
    (folder / "db.sqlite3").touch()  # others' files are theirs
    (folder / "lost+found").mkdir()
    assert len(list(folder.iterdir())) == 6
    assert prune.prune()["previews"] == 3
    assert len(list(folder.iterdir())) == 3
    asked = len(ultravox.requests)
    hear(voices[2])
    assert len(ultravox.requests) == asked


@pytest.mark.django_db(transaction=True)
def test_a_database_that_fails_is_told_in_one_line() -> None:
    with (
        without("voice_sync_runs"),
        pytest.raises(CommandError, match="The database is not migrated"),
    ):
        call_command("prune")


def test_it_is_scheduled_daily(agency: Agency) -> None:
    scheduled = PeriodicTask.objects.get(task=task.name)
    assert (scheduled.enabled, str(scheduled.interval)) == (True, "every day")
    add_run(91, agency, "failed")
    assert task.apply().state == "SUCCESS"
    assert not SyncRun.objects.exists()
