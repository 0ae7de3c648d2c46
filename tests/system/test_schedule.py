"""The schedule, and the embedded broker that needs no server."""

import contextlib
import multiprocessing
import os
import signal
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.support.embedded_broker import bind, connect, put
from tests.support.project import Project, children, on_postgresql, own_project, wait_for
from tests.support.seeding import add_agency
from tests.ultravox import API_KEY, Ultravox

TASK, INTERVAL = "django_celery_beat_periodictask", "django_celery_beat_intervalschedule"
EVERY_SIX_HOURS = [("voices.sync_voices", True, 6, "hours")]
WORKER = ("-m", "celery", "-A", "voiceproject", "worker", "--concurrency", "2")


@pytest.fixture
def scheduled(project: Callable[..., Project], tmp_path: Path, ultravox: Ultravox) -> Project:
    """A project with an embedded broker of its own."""
    broker = f"filesystem://{tmp_path}/broker"
    return project(ULTRAVOX_API_URL=ultravox.url, CELERY_BROKER_URL=broker)


def tasks(project: Project) -> list[tuple[Any, ...]]:
    """Return task, enabled, every and period of all periodic tasks of the sync."""
    rows = project.database.rows(
        f"SELECT task, enabled, every, period FROM {TASK} JOIN {INTERVAL} i ON i.id = interval_id"
        " WHERE task <> 'operations.prune'"
    )
    return [(task, bool(enabled), every, period) for task, enabled, every, period in rows]


def start_beat(project: Project, log: str = "beat") -> subprocess.Popen[str]:
    beat = ("-m", "celery", "-A", "voiceproject", "beat", "--loglevel", "DEBUG")
    process = project.start(*beat, log=log)
    wait_for(lambda: "beat: Waking up" in project.log(log), 30, "beat")
    return process


def runs(project: Project) -> list[tuple[Any, ...]]:
    """Return trigger, status and number of voices of all runs."""
    return project.database.rows("SELECT trigger, status, synced FROM voice_sync_runs ORDER BY id")


def wait_for_syncs(project: Project, count: int) -> None:
    good = ("schedule", "succeeded", 300)
    wait_for(lambda: runs(project).count(good) >= count, 40, f"{count} syncs")
    assert set(runs(project)) <= {good, ("schedule", "running", 0)}


# What an operator finds, and changes


def test_after_migrate_there_is_one_task_every_six_hours(scheduled: Project) -> None:
    assert tasks(scheduled) == EVERY_SIX_HOURS
    start_beat(scheduled)
    assert "Sending due task" not in scheduled.log("beat")
    assert tasks(scheduled) == EVERY_SIX_HOURS


CHANGES = {
    "changed": (
        f"UPDATE {INTERVAL} SET every = 2, period = 'days' WHERE period = 'hours'",
        f"UPDATE {TASK} SET enabled = false, name = 'Ours ' || name, description = 'Our own words'",
    ),
    "deleted": (f"DELETE FROM {TASK}",),
}


@pytest.mark.parametrize("statements", CHANGES.values(), ids=CHANGES)
def test_what_an_operator_changes_stays_so(scheduled: Project, statements: tuple[str]) -> None:
    def tables() -> list[list[tuple[Any, ...]]]:
        return [scheduled.database.rows(f"SELECT * FROM {table}") for table in (TASK, INTERVAL)]

    for statement in statements:
        scheduled.database.rows(statement)
    before = tables()
    assert scheduled.manage("migrate").returncode == 0
    start_beat(scheduled)
    assert tables() == before


# The embedded broker


def test_the_embedded_broker_serves_many_processes(tmp_path: Path) -> None:
    """With kombu's own transport, each of the two fails about every thousandth time."""
    folder, spawn = str(tmp_path), multiprocessing.get_context("spawn")
    work = [(put, range(1500)), (put, range(1500, 3000)), *[(bind, range(1000))] * 2]
    others = [spawn.Process(target=do, args=(folder, numbers)) for do, numbers in work]
    for process in others:
        process.start()
    with connect(folder) as connection, connection.SimpleQueue("queue") as queue:
        received = []
        for _ in range(3000):
            message = queue.get(timeout=30)
            message.ack()
            received.append(message.payload)
    for process in others:
        process.join(60)
        assert process.exitcode == 0
    assert sorted(received) == list(range(3000))


def test_a_sync_that_fell_due_while_nothing_ran_is_done_at_the_start(scheduled: Project) -> None:
    """Files that a crash or a full disk left half written are no obstacle."""
    add_agency(scheduled)
    moment = datetime.now(UTC) - timedelta(hours=6, seconds=1)
    if not scheduled.database.is_postgresql:
        moment = moment.replace(tzinfo=None)
    scheduled.database.rows(f"UPDATE {TASK} SET last_run_at = '{moment}'")
    for name in ("control/celery.exchange", "messages/1_2.celery.msg"):
        file = scheduled.folder / "broker" / name
        file.parent.mkdir(parents=True)
        file.touch()
    scheduled.start(*WORKER, "-B", log="worker")
    wait_for_syncs(scheduled, 1)
    scheduled.stop()
    assert "was half written; left out" in scheduled.log("worker")
    assert "Traceback" not in scheduled.log("worker")
    # It was done, and a restart knows.
    start_beat(scheduled)
    assert "Sending due task" not in scheduled.log("beat")
    assert len(runs(scheduled)) == 1


def test_syncs_on_schedule_without_any_server(scheduled: Project) -> None:
    add_agency(scheduled)
    scheduled.sync_every(1)
    worker = scheduled.start(*WORKER, "-B", log="worker")
    wait_for_syncs(scheduled, 2)
    assert scheduled.database.value("SELECT count(*) FROM ultravox_voices") == 300
    worker.send_signal(signal.SIGTERM)
    worker.wait(20)
    before = len(runs(scheduled))
    scheduled.start(*WORKER, "-B", log="worker")
    wait_for_syncs(scheduled, before + 2)
    assert "Traceback" not in scheduled.log("worker")
    assert API_KEY not in scheduled.log("worker")


def test_two_beats_do_no_harm(scheduled: Project, ultravox: Ultravox) -> None:
    ultravox.latency = 0.1
    add_agency(scheduled)
    scheduled.sync_every(1)
    for log in ("one", "two"):
        start_beat(scheduled, log)
    scheduled.start(*WORKER, log="worker")
    wait_for_syncs(scheduled, 4)
    wait_for(lambda: all("Sending due" in scheduled.log(log) for log in ("one", "two")), 30)
    assert tasks(scheduled) == [("voices.sync_voices", True, 1, "seconds")]
    assert "Traceback" not in "".join(scheduled.log(log) for log in ("one", "two", "worker"))


def test_beat_notices_the_first_change(scheduled: Project) -> None:
    start_beat(scheduled)
    change = (
        "from django_celery_beat.models import IntervalSchedule as I; I(1, 1, 'seconds').save()"
    )
    assert scheduled.manage("shell", "--command", change).returncode == 0
    wait_for(lambda: "Sending due task" in scheduled.log("beat"), 30)


# What beat outlasts


def test_beat_waits_for_a_database_that_is_not_there_yet(
    tmp_path: Path, ultravox: Ultravox
) -> None:
    environment = {
        "ULTRAVOX_API_URL": ultravox.url,
        "CELERY_BROKER_URL": f"filesystem://{tmp_path}/broker",
    }
    with own_project(None, tmp_path, **environment) as site:
        worker = site.start(*WORKER, "-B", log="worker")
        wait_for(lambda: "Beat cannot read its schedule" in site.log("worker"), 40, "beat")
        assert site.manage("migrate").returncode == 0
        add_agency(site)
        site.sync_every(1)
        # It may have read them already.
        touch = (
            "from django_celery_beat.models import PeriodicTasks; PeriodicTasks.update_changed()"
        )
        assert site.manage("shell", "--command", touch).returncode == 0
        wait_for_syncs(site, 1)
        assert worker.poll() is None


EAGER = """
import django
django.setup()
from celery.__main__ import main
from django_celery_beat import schedulers
schedulers.SCHEDULE_SYNC_MAX_INTERVAL = 1  # seconds, not five minutes
main()
"""


def test_beat_goes_on_by_its_last_schedule_while_the_database_is_away(scheduled: Project) -> None:
    scheduled.sync_every(1)
    beat = scheduled.start(
        "-c",
        EAGER,
        "-A",
        "voiceproject",
        "beat",
        "--loglevel",
        "DEBUG",
        log="beat",
        DJANGO_SETTINGS_MODULE="voiceproject.settings",
    )

    def sent() -> int:
        return scheduled.log("beat").count("Sending due task")

    wait_for(sent, 30)
    scheduled.database.rows(f"ALTER TABLE {TASK} RENAME TO away")
    wait_for(lambda: "Beat cannot read its schedule" in scheduled.log("beat"), 30)
    before = sent()
    wait_for(lambda: sent() > before, 30)
    scheduled.database.rows(f"ALTER TABLE away RENAME TO {TASK}")
    scheduled.database.rows(f"UPDATE {TASK} SET enabled = false")
    # Read again, without the task:
    wait_for(lambda: "Current schedule:\n\n" in scheduled.log("beat"), 30)
    assert beat.poll() is None


@on_postgresql
def test_beat_ends_while_it_waits_for_the_database(scheduled: Project) -> None:
    scheduled.sync_every(1)
    beat = start_beat(scheduled)
    # When it sent the first, it saved at once.
    wait_for(lambda: scheduled.log("beat").count("Sending due task") > 1, 30, "what it will save")
    with contextlib.closing(scheduled.database.connect()) as connection:
        connection.autocommit = False
        connection.execute(f"LOCK TABLE {TASK}s IN ACCESS EXCLUSIVE MODE")
        waits = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = '{}s'::regclass"
        wait_for(lambda: scheduled.database.value(waits.format(TASK)), 30, "beat's query")
        beat.send_signal(signal.SIGTERM)
        assert beat.wait(20) == 0


def test_beat_does_not_wait_for_a_clock_that_was_set_back(scheduled: Project) -> None:
    scheduled.sync_every(1)
    scheduled.database.rows(f"UPDATE {TASK} SET last_run_at = '2100-01-01 00:00:00+00:00'")
    start_beat(scheduled)
    wait_for(lambda: "Sending due task" in scheduled.log("beat"), 30)


def test_a_worker_ends_with_its_beat(scheduled: Project) -> None:
    worker = scheduled.start(*WORKER, "-B", "--pool=solo", "--loglevel=INFO", log="worker")
    wait_for(lambda: "beat: Starting" in scheduled.log("worker"), 40, "beat")
    wait_for(lambda: "ready." in scheduled.log("worker"), 40, "the worker")
    [beat] = children(worker.pid)
    os.kill(beat, signal.SIGKILL)
    assert worker.wait(20) == 1
    assert "Beat has ended: so does this worker" in scheduled.log("worker")
