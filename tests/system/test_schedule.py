"""The schedule, and the embedded broker that needs no server."""

import multiprocessing
import signal
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from kombu.connection import Connection
from kombu.entity import Exchange, Queue

from tests.support.project import ROOT, Project, wait_for
from tests.support.seeding import add_agency
from tests.ultravox import API_KEY, Ultravox

TASK = "django_celery_beat_periodictask"
WORKER = ("-m", "celery", "-A", "voiceproject", "worker", "--concurrency", "1")
BEAT = ("-m", "celery", "-A", "voiceproject", "beat", "--loglevel", "DEBUG")
TICKED = "beat: Waking up"


@pytest.fixture
def scheduled(project: Callable[..., Project], ultravox: Ultravox) -> Project:
    """A project with an embedded broker of its own."""
    folder = project().folder
    return project(ULTRAVOX_API_URL=ultravox.url, CELERY_BROKER_URL=f"filesystem://{folder}/broker")


def tasks(project: Project) -> list[tuple[Any, ...]]:
    """Return task, enabled, every and period of all periodic tasks."""
    rows = project.database.rows(
        f"SELECT task, enabled, every, period FROM {TASK} JOIN"
        " django_celery_beat_intervalschedule interval ON interval.id = interval_id"
    )
    assert len(rows) == project.database.value(f"SELECT count(*) FROM {TASK}")
    return [(task, bool(enabled), every, period) for task, enabled, every, period in rows]


def tables_of_the_schedule(project: Project) -> list[list[tuple[Any, ...]]]:
    return [
        project.database.rows(f"SELECT * FROM {table}")
        for table in (TASK, "django_celery_beat_intervalschedule")
    ]


def set_interval(project: Project, seconds: int) -> None:
    project.database.rows(
        f"UPDATE django_celery_beat_intervalschedule SET every = {seconds}, period = 'seconds'"
    )


def make_due(project: Project) -> None:
    """Pretend that the last sync was longer ago than the interval."""
    moment = datetime.now(UTC) - timedelta(hours=6, seconds=1)
    if not project.database.is_postgresql:
        moment = moment.replace(tzinfo=None)
    project.database.rows(f"UPDATE {TASK} SET last_run_at = '{moment}'")


def runs(project: Project) -> list[tuple[Any, ...]]:
    """Return trigger, status and number of voices of all runs."""
    return project.database.rows("SELECT trigger, status, synced FROM voice_sync_runs ORDER BY id")


def succeeded(project: Project) -> int:
    return runs(project).count(("schedule", "succeeded", 300))


def end(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGTERM)
    process.wait(20)


# What an operator finds, and changes


def test_after_migrate_there_is_one_task_every_six_hours(scheduled: Project) -> None:
    assert tasks(scheduled) == [("voices.sync_voices", True, 6, "hours")]


CHANGES = {
    "changed": (
        "UPDATE django_celery_beat_intervalschedule SET every = 2, period = 'days'",
        f"UPDATE {TASK} SET enabled = false, name = 'Ours', description = 'Our own words'",
    ),
    "deleted": (f"DELETE FROM {TASK}",),
}


@pytest.mark.parametrize("statements", CHANGES.values(), ids=CHANGES)
def test_what_an_operator_changes_stays_so(scheduled: Project, statements: tuple[str]) -> None:
    for statement in statements:
        scheduled.database.rows(statement)
    before = tables_of_the_schedule(scheduled)
    assert scheduled.manage("migrate").returncode == 0
    beat = scheduled.start(*BEAT, log="beat")
    wait_for(lambda: TICKED in scheduled.log("beat"), 30, "beat")
    end(beat)
    assert tables_of_the_schedule(scheduled) == before


def test_beat_starts_no_sync_that_is_not_due(scheduled: Project) -> None:
    beat = scheduled.start(*BEAT, log="beat")
    wait_for(lambda: TICKED in scheduled.log("beat"), 30, "beat")
    end(beat)
    assert "Sending due task" not in scheduled.log("beat")
    assert tasks(scheduled) == [("voices.sync_voices", True, 6, "hours")]


# The embedded broker


def test_the_embedded_brokers_folder(project: Callable[..., Project]) -> None:
    folder = project(CELERY_BROKER_URL="").shell(
        "from django.conf import settings; print(settings.CELERY_BROKER_TRANSPORT_OPTIONS)"
    )
    assert f"'data_folder_in': '{ROOT}/.celery/messages'" in folder


def broker(folder: str) -> Connection:
    return Connection(
        "filesystem://",
        transport="voiceproject.filesystem_broker:Transport",
        transport_options={
            "data_folder_in": folder,
            "data_folder_out": folder,
            "control_folder": folder,
            "polling_interval": 0.0001,  # seconds
        },
    )


def put(folder: str, messages: range) -> None:
    with broker(folder) as connection, connection.SimpleQueue("queue") as queue:
        for message in messages:
            queue.put(message)


def bind(folder: str, names: range) -> None:
    """Bind queues of new exchanges, as other processes do at the same time."""
    with broker(folder) as connection, connection.channel() as channel:
        for name in names:
            queue = Queue(f"queue-{name}", Exchange(f"exchange-{name}"), "key")
            queue(channel).declare()
            assert channel.get_table(f"exchange-{name}") == [("key", "", f"queue-{name}")]


def test_the_embedded_broker_serves_many_processes(tmp_path: Path) -> None:
    """With kombu's own transport, each of the two fails about every thousandth time."""
    folder = str(tmp_path)
    spawn = multiprocessing.get_context("spawn")
    others = [
        spawn.Process(target=put, args=(folder, messages))
        for messages in (range(2000), range(2000, 4000))
    ]
    others += [spawn.Process(target=bind, args=(folder, range(1000))) for _ in range(2)]
    for process in others:
        process.start()
    with broker(folder) as connection, connection.SimpleQueue("queue") as queue:
        received = []
        for _ in range(4000):
            message = queue.get(timeout=30)
            message.ack()
            received.append(message.payload)
    for process in others:
        process.join(60)
        assert process.exitcode == 0
    assert sorted(received) == list(range(4000))


def test_half_written_files_are_no_obstacle(scheduled: Project) -> None:
    add_agency(scheduled)
    make_due(scheduled)
    for name in ("control/celery.exchange", "messages/1_2.celery.msg"):
        file = scheduled.folder / "broker" / name
        file.parent.mkdir(parents=True)
        file.touch()
    worker = scheduled.start(*WORKER, "-B", log="worker")
    wait_for(lambda: succeeded(scheduled) == 1, 30, "the sync")
    end(worker)
    assert "was half written; left out" in scheduled.log("worker")
    assert "Traceback" not in scheduled.log("worker")


def test_syncs_on_schedule_without_any_server(scheduled: Project) -> None:
    add_agency(scheduled)
    set_interval(scheduled, 1)
    worker = scheduled.start(*WORKER, "-B", log="worker")
    wait_for(lambda: succeeded(scheduled) >= 2, 40, "two syncs")
    end(worker)
    assert scheduled.database.value("SELECT count(*) FROM ultravox_voices") == 300
    before = succeeded(scheduled)
    worker = scheduled.start(*WORKER, "-B", log="worker")
    wait_for(lambda: succeeded(scheduled) >= before + 2, 40, "two syncs after the restart")
    end(worker)
    assert set(runs(scheduled)) == {("schedule", "succeeded", 300)}
    assert "Traceback" not in scheduled.log("worker")
    assert API_KEY not in scheduled.log("worker")


def test_a_sync_that_fell_due_while_nothing_ran_is_done_at_the_start(scheduled: Project) -> None:
    add_agency(scheduled)
    make_due(scheduled)
    worker = scheduled.start(*WORKER, "-B", log="worker")
    wait_for(lambda: succeeded(scheduled) == 1, 30, "the sync")
    end(worker)
    # It was done, and a restart knows.
    beat = scheduled.start(*BEAT, log="beat")
    wait_for(lambda: TICKED in scheduled.log("beat"), 30, "beat")
    end(beat)
    assert "Sending due task" not in scheduled.log("beat")


def test_two_beats_do_no_harm(scheduled: Project, ultravox: Ultravox) -> None:
    ultravox.latency = 0.1
    add_agency(scheduled)
    set_interval(scheduled, 1)
    beats = [scheduled.start(*BEAT, log=log) for log in ("one", "two")]
    worker = scheduled.start(
        "-m", "celery", "-A", "voiceproject", "worker", "--concurrency", "2", log="worker"
    )
    wait_for(lambda: succeeded(scheduled) >= 4, 40, "four syncs")
    wait_for(lambda: all("Sending due" in scheduled.log(log) for log in ("one", "two")), 30)
    for process in [*beats, worker]:
        end(process)
    assert set(runs(scheduled)) == {("schedule", "succeeded", 300)}
    assert tasks(scheduled) == [("voices.sync_voices", True, 1, "seconds")]
    assert "Traceback" not in "".join(scheduled.log(log) for log in ("one", "two", "worker"))
