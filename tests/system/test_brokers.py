"""Redis and RabbitMQ as brokers, and what becomes of a sync whose worker dies."""

import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

import amqp  # type: ignore[import-untyped]
import pytest
import redis

from tests.support.project import Project, wait_for
from tests.support.seeding import add_agency
from tests.support.services import QUEUE, Relay, channel, rabbitmq_host, redis_database
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
    """A project with an agency; a background sync has 10 times 1.2 seconds.

    The broker comes first, so that workers have ended before it is emptied.
    """
    site = project(ULTRAVOX_API_URL=ultravox.url, CELERY_BROKER_URL=broker, ULTRAVOX_DEADLINE="1.2")
    add_agency(site)
    return site


def runs(project: Project) -> list[tuple[Any, ...]]:
    """Return trigger, status, number of voices and error code of all runs."""
    return project.database.rows(
        "SELECT trigger, status, synced, error_code FROM voice_sync_runs ORDER BY id"
    )


def start_a_sync(project: Project, ultravox: Ultravox) -> subprocess.Popen[str]:
    """Start a worker with a sync that waits for its second page."""
    worker = project.start(*WORKER, log="worker")
    ultravox.hold_after(1)
    project.send_sync()
    ultravox.wait_until(lambda: ultravox.held > 0, 30)
    return worker


def end(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 0


def messages(broker: str) -> int:
    """Return how many messages wait; those that an ended worker has not acknowledged, too."""
    if broker.startswith("redis"):
        with redis.Redis.from_url(broker) as client:
            return client.llen(QUEUE) + client.hlen("unacked")
    with channel(broker) as open_channel:
        try:
            return open_channel.queue_declare(QUEUE, passive=True).message_count
        except amqp.NotFound:  # nobody has sent one
            return 0


DONE = ("schedule", "succeeded", 300, "")


def test_syncs_on_schedule(site: Project, broker: str) -> None:
    site.sync_every(1)
    worker = site.start(*WORKER, log="worker")
    beat = site.start(*CELERY, "beat", log="beat")
    wait_for(lambda: runs(site).count(DONE) >= 2, 40, "two syncs")
    end(beat)
    end(worker)
    assert set(runs(site)) == {DONE}
    assert site.database.value("SELECT count(*) FROM ultravox_voices") == 300


def test_a_sync_that_falls_due_while_the_broker_is_away_is_sent_after(
    site: Project, broker: str
) -> None:
    parts = urlsplit(broker)
    relay = Relay((parts.hostname or "", parts.port or 5672))
    netloc = f"{parts.netloc.rpartition('@')[0]}@127.0.0.1:{relay.port}".removeprefix("@")
    site.sync_every(5)
    url = parts._replace(netloc=netloc).geturl()
    beat = site.start(*CELERY, "beat", log="beat", CELERY_BROKER_URL=url)
    wait_for(lambda: messages(broker) == 1, 30, "the first sync")
    relay.cut()
    wait_for(lambda: "The broker cannot be reached" in site.log("beat"), 30, "the second one")
    relay.mend()
    wait_for(lambda: messages(broker) == 2, 30, "the second one, sent")
    end(beat)
    relay.cut()
    assert "Message Error" not in site.log("beat")
    assert "Traceback" not in site.log("beat")


def test_a_sync_whose_worker_was_killed_is_done_again(
    site: Project, ultravox: Ultravox, broker: str
) -> None:
    worker = start_a_sync(site, ultravox)
    os.killpg(worker.pid, signal.SIGKILL)
    worker.wait(10)
    assert runs(site) == [("schedule", "running", 0, "")]
    assert site.database.value("SELECT count(*) FROM ultravox_voices") == 0
    ultravox.release()
    if broker.startswith("redis"):  # its clock is turned back
        with redis.Redis.from_url(broker) as client:
            [message] = client.zrange("unacked_index", 0, -1)
            client.zincrby("unacked_index", -20, message)
    worker = site.start(*WORKER, log="another worker")
    # RabbitMQ: at once, but for the 10 seconds after which the dead run is known to be dead. Redis:
    # 12 seconds of the longest sync, 15 of its write, 5 between two looks; 20 of them are over.
    wait_for(lambda: DONE in runs(site), 60, "the sync, done again")
    assert runs(site) == [("schedule", "abandoned", 0, "abandoned"), DONE]
    assert site.database.value("SELECT count(*) FROM ultravox_voices") == 300
    end(worker)
    assert messages(broker) == 0


@pytest.mark.parametrize("broker", ["rabbitmq"], indirect=True)
def test_a_sync_that_kills_its_worker_is_given_up(
    site: Project, ultravox: Ultravox, broker: str
) -> None:
    for number in range(3):
        worker = site.start(*WORKER, log="worker") if number else start_a_sync(site, ultravox)
        wait_for(lambda n=number: len(runs(site)) > n and ultravox.held > 0, 30, "the sync")
        os.killpg(worker.pid, signal.SIGKILL)
        worker.wait(10)
        ultravox.wait_until(lambda: ultravox.held == 0)
        site.database.rows("UPDATE voice_sync_runs SET heartbeat_at = '2020-01-01 00:00:00'")
    worker = site.start(*WORKER, log="last worker")
    wait_for(lambda: "its worker died in each of three tries" in site.log("last worker"), 30)
    ultravox.release()
    site.send_sync()
    wait_for(lambda: DONE in runs(site), 30, "the next sync")
    end(worker)
    assert ("schedule", "failed", 0, "worker_lost") in runs(site)
    assert messages(broker) == 0


def test_a_failed_sync_is_over_and_logged_in_one_line(
    site: Project, ultravox: Ultravox, broker: str
) -> None:
    ultravox.fault = "status_400"
    worker = site.start(*WORKER, log="worker")
    site.send_sync()
    wait_for(lambda: len(runs(site)) == 1 and runs(site)[0][1] == "failed", 30, "the failure")
    ultravox.fault = None
    site.send_sync()
    wait_for(lambda: DONE in runs(site), 30, "the sync after it")
    end(worker)
    assert messages(broker) == 0
    assert runs(site) == [("schedule", "failed", 0, "ultravox_error"), DONE]  # no retry
    assert len(ultravox.listings) == 4
    log = site.log("worker")
    assert "Traceback" not in log
    assert API_KEY not in log
    lines = [line for line in log.splitlines() if "Ultravox had a problem (400)" in line]
    assert len(lines) == 1


def test_a_worker_that_is_asked_to_end_finishes_its_sync(
    site: Project, ultravox: Ultravox, broker: str
) -> None:
    worker = start_a_sync(site, ultravox)
    worker.send_signal(signal.SIGTERM)
    wait_for(lambda: "Warm shutdown" in site.log("worker"), 10, "the warm shutdown")
    assert worker.poll() is None
    ultravox.release()
    assert worker.wait(20) == 0
    assert runs(site) == [DONE]
    assert site.database.value("SELECT count(*) FROM ultravox_voices") == 300
    assert messages(broker) == 0


@pytest.mark.parametrize("broker", ["rabbitmq"], indirect=True)
def test_the_queue_is_a_quorum_queue(site: Project, broker: str) -> None:
    site.send_sync()
    with channel(broker) as open_channel:
        # Declared again with another type, it would be refused.
        kind = {"x-queue-type": "quorum"}
        open_channel.queue_declare(QUEUE, durable=True, auto_delete=False, arguments=kind)
        with pytest.raises(amqp.PreconditionFailed):
            open_channel.queue_declare(QUEUE, durable=True, auto_delete=False)
