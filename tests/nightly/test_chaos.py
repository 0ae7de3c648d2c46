"""Nothing is lost while processes are killed and services are cut off, under a load of syncs and reads.

`make chaos` runs it with each broker. It needs DATABASE_URL (PostgreSQL), TEST_REDIS_URL and TEST_AMQP_URL.
Each agency's listing grows by one voice per request, so that the number of synced voices names the listing.
"""

import contextlib
import json
import os
import signal
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests

from agencies.models import User
from tests.support.environment import SERVICE_KEY
from tests.support.nginx import Nginx
from tests.support.project import Project, children, free_port, on_postgresql, wait_for
from tests.support.rows import bearer
from tests.support.seeding import add_agency, add_user
from tests.support.services import Relay, rabbitmq_host, redis_database
from tests.ultravox import Exchange, Ultravox

pytestmark = [pytest.mark.nightly, on_postgresql]

AGENCIES = 20
SERVERS, WORKERS = ("web0", "web1", "web2"), ("worker0", "worker1")
SHARED = 50  # public voices in each listing
BROKERS = {"redis": (redis_database, 6379), "rabbitmq": (rabbitmq_host, 5672)}


def grow_listings(ultravox: Ultravox) -> Callable[[Exchange], None]:
    """Return a behaviour of Ultravox that adds a private voice to a key's listing with each request."""
    shared, requests_by_key, lock = ultravox.voices[:SHARED], Counter[str](), threading.Lock()

    def reply(exchange: Exchange) -> None:
        key = exchange.request.headers["x-api-key"]
        with lock:
            requests_by_key[key] += 1
            numbers = range(requests_by_key[key])
        exchange.pause(0.1)
        private = [{"voiceId": f"{key}-{n}", "name": key, "ownership": "private"} for n in numbers]
        voices = [*shared, *private]
        exchange.reply(200, {"results": voices, "next": None, "total": len(voices)})

    return reply


class Load:
    """Threads that sync and read through nginx until the block ends."""

    def __init__(self, url: str, users: list[User]) -> None:
        self.url, self.users = url, users
        self.syncs: list[tuple[int, int]] = []  # agency and number of voices of each success
        self.reads: list[tuple[int, float, float]] = []  # status, start and end
        self._stopped = threading.Event()

    def __enter__(self) -> "Load":
        pool = ThreadPoolExecutor(7)
        self._work = [pool.submit(self._sync, number) for number in range(5)]
        self._work += [pool.submit(self._read) for _ in range(2)]
        return self

    def __exit__(self, *error: object) -> None:
        self._stopped.set()
        for future in self._work:
            future.result(120)

    def grow(self, count: int) -> None:
        """Wait for this number of further successful syncs."""
        target = len(self.syncs) + count
        wait_for(lambda: len(self.syncs) >= target, 60, f"{count} syncs")

    def _sync(self, first: int) -> None:
        while not self._stopped.wait(0.1):
            for agency in range(first, AGENCIES, 5):
                url, headers = f"{self.url}/api/voices/sync/", bearer(self.users[agency])
                response = requests.post(url, headers=headers, timeout=100)
                if response.status_code == 200:
                    self.syncs.append((agency, response.json()["stats"]["synced"]))

    def _read(self) -> None:
        url, headers = f"{self.url}/api/voices/?page_size=1", {"apikey": SERVICE_KEY}
        while not self._stopped.wait(0.1):
            start = time.monotonic()
            status = requests.get(url, headers=headers, timeout=100).status_code
            self.reads.append((status, start, time.monotonic()))


class Fleet:
    """Three web servers, two workers and beat. Whatever ends is started again, as systemd does."""

    def __init__(self, site: Project) -> None:
        self.site = site
        self.ports = [free_port() for _ in SERVERS]
        celery = "-m celery --quiet -A voiceproject"
        web = "-m gunicorn --config gunicorn.conf.py --workers=2 --bind=127.0.0.1"
        worker = f"{celery} worker --concurrency=2 --loglevel=INFO"
        self.commands = {"beat": f"{celery} beat --loglevel=DEBUG"}
        self.commands |= {name: f"{worker} -n {name}@%h" for name in WORKERS}
        servers = zip(SERVERS, self.ports, strict=True)
        self.commands |= {name: f"{web}:{port}" for name, port in servers}
        self.running: dict[str, subprocess.Popen[str]] = {}
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._supervise)

    def __enter__(self) -> "Fleet":
        self._thread.start()
        wait_for(lambda: all("Booting worker" in self.site.log(name) for name in SERVERS), 30)
        return self

    def __exit__(self, *error: object) -> None:
        self._stopped.set()
        self._thread.join()

    def kill(self, name: str) -> None:
        os.killpg(self.running[name].pid, signal.SIGKILL)

    def _supervise(self) -> None:
        while not self._stopped.wait(0.2):
            for name, command in self.commands.items():
                if name not in self.running or self.running[name].poll() is not None:
                    self.running[name] = self.site.start(*command.split(), log=name)


@pytest.mark.parametrize("broker", BROKERS)
def test_nothing_is_lost(
    project: Callable[..., Project], tmp_path: Path, ultravox: Ultravox, broker: str
) -> None:
    ultravox.keys = {f"key-{number}" for number in range(AGENCIES)}
    ultravox.fault = grow_listings(ultravox)
    make_broker, port = BROKERS[broker]
    with contextlib.ExitStack() as stack:
        messages = Relay(stack.enter_context(make_broker()), port)
        postgresql = Relay(project().database.url, 5432)
        site = project(
            DATABASE_URL=postgresql.url,
            LOG_FORMAT="json",
            CELERY_BROKER_URL=messages.url,
            ULTRAVOX_API_URL=ultravox.url,
            ULTRAVOX_DEADLINE="1.5",
            DJANGO_TRUSTED_PROXIES="1",
        )
        stack.callback(site.stop)
        agencies = [add_agency(site, key=f"key-{number}") for number in range(AGENCIES)]
        users = [add_user(site, agency, f"{agency}@example.com") for agency in agencies]
        site.sync_every(2)
        fleet = stack.enter_context(Fleet(site))
        upstreams = [f"http://127.0.0.1:{port}" for port in fleet.ports]
        nginx = stack.enter_context(Nginx(upstreams, tmp_path))
        with Load(nginx.url, users) as load:
            load.grow(40)
            fleet.kill("worker0")
            load.grow(20)
            os.kill(children(fleet.running["web0"].pid)[0], signal.SIGKILL)
            fleet.kill("web1")
            load.grow(20)
            messages.cut()
            load.grow(20)
            messages.restore()
            load.grow(20)
            cut = time.monotonic()
            postgresql.cut()
            time.sleep(2)  # as long as a restart takes
            postgresql.restore()
            restored = time.monotonic()
            load.grow(40)
            nginx.process.send_signal(signal.SIGHUP)
            load.grow(20)
            messages.cut()
            messages.restore()
            load.grow(60)
        scheduled = "SELECT count(*) FROM voice_sync_runs WHERE trigger = 'schedule' AND status = 'succeeded'"
        before = site.database.value(scheduled)
        wait_for(lambda: site.database.value(scheduled) > before, 60, "one more scheduled sync")
        assert "Synced" in site.manage("sync_voices").stdout  # it abandons dead runs
        check_results(site, load)
        # Reads fail only while the database is away.
        for status, start, end in load.reads:
            assert status == 200 or (end > cut and start < restored + 1)
        assert len(load.reads) > 100


def check_results(site: Project, load: Load) -> None:
    # The voices of each sync that returned 200 are in the table.
    stored = {row[0] for row in site.database.rows("SELECT id FROM ultravox_voices")}
    for agency, synced in load.syncs:
        assert synced > SHARED
        assert {f"key-{agency}-{number}" for number in range(synced - SHARED)} <= stored
    open_runs = "SELECT count(*) FROM voice_sync_runs WHERE status = 'running'"
    wait_for(lambda: site.database.value(open_runs) == 0, 10, "the end of scheduled syncs")
    codes = site.database.rows("SELECT DISTINCT error_code FROM voice_sync_runs")
    assert {code for (code,) in codes} <= {"", "abandoned", "save_failed", "ultravox_error"}
    deadlocks = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
    assert site.database.value(deadlocks) == 0
    # No unexpected errors. Celery logs traces of broken connections.
    for name in SERVERS + WORKERS:
        for text in site.log(name).splitlines():
            with contextlib.suppress(ValueError):  # cut off by kill -9
                line = json.loads(text)
                assert "trace" not in line or line["logger"].startswith("celery"), line
