"""Redis and RabbitMQ as brokers, and syncs whose worker dies."""

import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis
from kombu.connection import Connection

from tests.support.project import Project, wait_for
from tests.support.seeding import add_agency
from tests.support.services import QUEUE, rabbitmq_host, redis_database
from tests.ultravox import API_KEY, Ultravox

pytestmark = pytest.mark.broker

CELERY = ("-m", "celery", "-A", "voiceproject")
WORKER = (*CELERY, "worker", "--concurrency", "1", "--loglevel", "INFO")

BROKERS = {"redis": redis_database, "rabbitmq": rabbitmq_host}


@pytest.fixture(params=BROKERS)
def broker(request: pytest.FixtureRequest) -> Iterator[str]:
    with BROKERS[request.param]() as url:
        yield url


@pytest.fixture
def site(broker: str, project: Callable[..., Project], ultravox: Ultravox) -> Project:
    """A project with an agency. A background sync has 10 times 1.2 seconds.

    Depends on `broker` first, so that workers end before the broker is emptied.
    """
    site = project(ULTRAVOX_API_URL=ultravox.url, CELERY_BROKER_URL=broker, ULTRAVOX_DEADLINE="1.2")
    add_agency(site)
    return site


def runs(project: Project) -> list[tuple[Any, ...]]:
    """Return trigger, status, number of voices and error code of all runs."""
    return project.database.rows(
        "SELECT trigger, status, synced, error_code FROM voice_sync_runs ORDER BY id"
    )


def stop(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 0


def messages(broker: str) -> int:
    """Return the number of messages, including those that a stopped worker has not acknowledged."""
    if broker.startswith("redis"):
        with redis.Redis.from_url(broker) as client:
            return client.llen(QUEUE) + client.hlen("unacked")
    with Connection(broker) as connection:
        try:
            return connection.default_channel.queue_declare(QUEUE, passive=True).message_count
        except connection.channel_errors:  # nothing has been sent
            return 0


DONE = ("schedule", "succeeded", 300, "")


def test_worker_runs_what_beat_sends(site: Project, ultravox: Ultravox, broker: str) -> None:
    site.sync_every(1)
    worker = site.start(*WORKER, log="worker")
    beat = site.start(*CELERY, "beat", log="beat")
    wait_for(lambda: runs(site).count(DONE) >= 2, 40, "two syncs")
    stop(beat)
    wait_for(lambda: messages(broker) == 0, 10, "the last sync")
    assert set(runs(site)) == {DONE}
    assert site.database.value("SELECT count(*) FROM ultravox_voices") == 300
    assert site.database.value("SELECT count(*) FROM voice_sync_workers") == 1
    # A failed sync is not repeated.
    before, requests = len(runs(site)), len(ultravox.listings)
    ultravox.fault = "status_400"
    site.send_sync()
    wait_for(lambda: runs(site)[-1][1] == "failed", 30, "the failure")
    wait_for(lambda: messages(broker) == 0, 10, "its acknowledgement")
    assert runs(site)[before:] == [("schedule", "failed", 0, "ultravox_error")]
    assert len(ultravox.listings) == requests + 1
    # A worker that is stopped finishes its sync.
    ultravox.fault = None
    ultravox.hold_after(1)
    site.send_sync()
    ultravox.wait_until(lambda: ultravox.held > 0, 30)
    worker.send_signal(signal.SIGTERM)
    wait_for(lambda: "Warm shutdown" in site.log("worker"), 10, "the warm shutdown")
    assert worker.poll() is None
    ultravox.release()
    assert worker.wait(20) == 0
    assert runs(site)[-1] == DONE
    assert messages(broker) == 0
    for text in ("Traceback", API_KEY):
        assert text not in site.log("worker") + site.log("beat")


def test_sync_of_a_killed_worker_is_repeated(
    site: Project, ultravox: Ultravox, broker: str
) -> None:
    worker = site.start(*WORKER, log="worker")
    ultravox.hold_after(1)
    site.send_sync()
    ultravox.wait_until(lambda: ultravox.held > 0, 30)
    os.killpg(worker.pid, signal.SIGKILL)
    worker.wait(10)
    assert runs(site) == [("schedule", "running", 0, "")]
    assert site.database.value("SELECT count(*) FROM ultravox_voices") == 0
    ultravox.release()
    site.database.rows("UPDATE voice_sync_runs SET heartbeat_at = '2020-01-01 00:00:00'")
    if broker.startswith("redis"):  # turn back its clock: the visibility timeout is 42 seconds
        with redis.Redis.from_url(broker) as client:
            [message] = client.zrange("unacked_index", 0, -1)
            client.zincrby("unacked_index", -40, message)
    worker = site.start(*WORKER, log="another worker")
    wait_for(lambda: DONE in runs(site), 60, "the repeated sync")
    assert runs(site) == [("schedule", "abandoned", 0, "abandoned"), DONE]
    assert site.database.value("SELECT count(*) FROM ultravox_voices") == 300
    stop(worker)
    assert messages(broker) == 0
