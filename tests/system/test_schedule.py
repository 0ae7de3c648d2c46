"""The schedule without a broker: beat alone runs the tasks. test_logs.py has tasks that fail."""

import contextlib
import signal
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.support.project import Project, on_postgresql, wait_for
from tests.support.seeding import add_agency
from tests.ultravox import API_KEY, Ultravox

TASK, INTERVAL = "django_celery_beat_periodictask", "django_celery_beat_intervalschedule"
EVERY_SIX_HOURS = [("voices.sync_voices", True, 6, "hours")]
SUCCEEDED = ("schedule", "succeeded", 300)


@pytest.fixture
def site(project: Callable[..., Project], ultravox: Ultravox) -> Project:
    return project(ULTRAVOX_API_URL=ultravox.url)


def tasks(site: Project) -> list[tuple[Any, ...]]:
    """Return task, enabled, every and period of all periodic tasks of the sync."""
    return site.database.rows(
        f"SELECT task, enabled, every, period FROM {TASK} JOIN {INTERVAL} i ON i.id = interval_id"
        " WHERE task <> 'operations.prune'"
    )


def start_beat(site: Project) -> subprocess.Popen[str]:
    command = ("-m", "celery", "--quiet", "-A", "voiceproject", "beat", "--loglevel", "DEBUG")
    beat = site.start(*command, log="beat")
    wait_for(lambda: "beat: Starting" in site.log("beat"), 30, "beat")
    return beat


def stop(beat: subprocess.Popen[str]) -> None:
    beat.send_signal(signal.SIGTERM)
    assert beat.wait(5) == 0


def runs(site: Project) -> list[tuple[Any, ...]]:
    """Return trigger, status and number of voices of all runs."""
    return site.database.rows("SELECT trigger, status, synced FROM voice_sync_runs ORDER BY id")


def make_due(site: Project) -> None:
    moment = datetime.now(UTC) - timedelta(hours=6, seconds=1)
    if not site.database.is_postgresql:
        moment = moment.replace(tzinfo=None)
    site.database.rows(f"UPDATE {TASK} SET last_run_at = '{moment}'")


@pytest.mark.entry_point
def test_sync_that_was_due_while_beat_was_down_runs_at_its_start(site: Project) -> None:
    assert tasks(site) == EVERY_SIX_HOURS
    add_agency(site)
    make_due(site)
    beat = start_beat(site)
    wait_for(lambda: "sent. id->" in site.log("beat"), 30, "the sync and its record")
    stop(beat)
    assert runs(site) == [SUCCEEDED]
    assert site.database.value("SELECT count(*) FROM ultravox_voices") == 300
    beat = start_beat(site)  # it remembers the last sync
    wait_for(lambda: site.log("beat").count("Waking up") > 1, 30, "the second start")
    stop(beat)
    assert runs(site) == [SUCCEEDED]
    assert tasks(site) == EVERY_SIX_HOURS
    for text in ("Traceback", "ERROR", API_KEY):
        assert text not in site.log("beat")


@on_postgresql
def test_signal_during_a_query_ends_beat_at_once(site: Project) -> None:
    add_agency(site)
    make_due(site)
    with contextlib.closing(site.database.connect()) as connection:
        connection.autocommit = False
        connection.execute("LOCK TABLE ultravox_voices IN ACCESS EXCLUSIVE MODE")
        beat = start_beat(site)
        wait_for(site.database.is_busy, 30, "the sync's query")
        stop(beat)
    assert runs(site) == [("schedule", "failed", 0)]
    assert site.database.value("SELECT error_code FROM voice_sync_runs") == "interrupted"
    assert "Traceback" not in site.log("beat")


def test_operator_s_changes_survive_migrate_and_restart(site: Project) -> None:
    def tables() -> list[list[tuple[Any, ...]]]:
        return [site.database.rows(f"SELECT * FROM {table}") for table in (TASK, INTERVAL)]

    for statement in (
        f"UPDATE {INTERVAL} SET every = 2, period = 'days' WHERE period = 'hours'",
        f"UPDATE {TASK} SET enabled = false, name = 'My ' || name, description = 'My own text'",
        f"DELETE FROM {TASK} WHERE task = 'operations.prune'",
    ):
        site.database.rows(statement)
    before = tables()
    assert site.manage("migrate").returncode == 0
    beat = start_beat(site)
    wait_for(lambda: "Waking up" in site.log("beat"), 30, "beat's first look")
    stop(beat)
    assert tables() == before
