"""It loses nothing: processes are killed, and services restarted, under a steady load of syncs and reads.

`make chaos` runs it, once with each broker. Each agency's listing has one voice more each time that it is
asked for, so what a sync answers tells which listing it stored.
"""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import requests

from tests.support.environment import PASSWORD, SERVICE_KEY
from tests.support.instances import PostgreSQL, RabbitMQ, Redis
from tests.support.nginx import Nginx
from tests.support.project import Database, Project, children, free_port, wait_for
from tests.ultravox import Exchange, Ultravox

pytestmark = pytest.mark.nightly

AGENCIES = 20
WEB_SERVERS, WORKERS = 3, 2
EVERY = 2  # seconds, between scheduled syncs
SHARED = 50  # voices that all agencies see
BROKERS = {"redis": Redis, "rabbitmq": RabbitMQ}
SEED = f"""
import json
from agencies.models import Agency, User
from django_celery_beat.models import IntervalSchedule, PeriodicTask
from rest_framework_simplejwt.tokens import AccessToken
tokens = []
for number in range({AGENCIES}):
    agency = Agency.objects.create(name=str(number), ultravox_api_key=f"key-{{number}}")
    user = User.objects.create_user(f"user{{number}}@example.com", "{PASSWORD}", agency=agency)
    tokens.append(str(AccessToken.for_user(user)))
every = IntervalSchedule.objects.create(every={EVERY}, period="seconds")
PeriodicTask.objects.filter(task="voices.sync_voices").update(interval=every)
print(json.dumps(tokens))
"""


class Listings:
    """Ultravox's behaviour: `seen` is how often each key's listing was asked for."""

    def __init__(self, ultravox: Ultravox) -> None:
        self.shared = ultravox.voices[:SHARED]
        self.seen: Counter[str] = Counter()
        self.lock = threading.Lock()

    def __call__(self, exchange: Exchange) -> None:
        key = exchange.request.headers["x-api-key"]
        with self.lock:
            self.seen[key] += 1
            own = range(self.seen[key])
        exchange.pause(0.1)
        private = [
            {"voiceId": f"{key}-{number}", "name": key, "ownership": "private"} for number in own
        ]
        voices = [*self.shared, *private]
        exchange.reply(200, {"results": voices, "next": None, "total": len(voices)})


class Answer(NamedTuple):
    began: float
    ended: float
    status: int
    agency: int
    synced: int


class Load:
    """Threads that sync and read through nginx until they are told to stop."""

    def __init__(self, url: str, tokens: list[str]) -> None:
        self.url, self.tokens = url, tokens
        self.syncs: list[Answer] = []
        self.reads: list[Answer] = []
        self._stopped = threading.Event()
        kinds = [(self._sync, number) for number in range(5)] + [(self._read, 0), (self._read, 1)]
        self.threads = [threading.Thread(target=kind, args=[number]) for kind, number in kinds]

    def __enter__(self) -> "Load":
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stopped.set()
        for thread in self.threads:
            thread.join(120)

    def _sync(self, first: int) -> None:
        while not self._stopped.wait(0.1):
            for agency in range(first, AGENCIES, 5):
                headers = {"Authorization": f"Bearer {self.tokens[agency]}"}
                self.syncs.append(self._ask("POST", "/functions/v1/voices-sync", headers, agency))

    def _read(self, agency: int) -> None:
        while not self._stopped.wait(0.1):
            self.reads.append(
                self._ask("GET", "/api/voices/?page_size=1", {"apikey": SERVICE_KEY}, agency)
            )

    def _ask(self, method: str, path: str, headers: dict[str, str], agency: int) -> Answer:
        began = time.monotonic()
        answer = requests.request(method, f"{self.url}{path}", headers=headers, timeout=100)
        synced = 0
        if method == "POST" and answer.status_code == 200:
            synced = answer.json()["stats"]["synced"]
        return Answer(began, time.monotonic(), answer.status_code, agency, synced)


class Fleet:
    """Web servers, workers and beat, started again when they end, as systemd does."""

    def __init__(self, site: Project) -> None:
        self.site = site
        self.ports = [free_port() for _ in range(WEB_SERVERS)]
        celery = ("-m", "celery", "--quiet", "-A", "voiceproject")
        self.lines = {
            **{
                f"web{number}": (
                    "-m",
                    "gunicorn",
                    "--config",
                    "gunicorn.conf.py",
                    "--workers=2",
                    f"--bind=127.0.0.1:{port}",
                )
                for number, port in enumerate(self.ports)
            },
            **{
                f"worker{number}": (
                    *celery,
                    "worker",
                    "--concurrency=2",
                    "--loglevel=INFO",
                    f"--hostname=worker{number}@%h",
                )
                for number in range(WORKERS)
            },
            "beat": (*celery, "beat", "--loglevel=DEBUG"),
        }
        self.running: dict[str, subprocess.Popen[str]] = {}
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._supervise)

    def __enter__(self) -> "Fleet":
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._over.set()
        self._thread.join()

    def kill(self, name: str) -> None:
        os.killpg(self.running[name].pid, signal.SIGKILL)

    def kill_child(self, name: str) -> None:
        """Kill one of the processes that serve requests, not the one that made it."""
        os.kill(children(self.running[name].pid)[0], signal.SIGKILL)

    def _supervise(self) -> None:
        while not self._over.wait(0.2):
            for name, line in self.lines.items():
                if name not in self.running or self.running[name].poll() is not None:
                    self.running[name] = self.site.start(*line, log=name)


def is_live(port: int) -> bool:
    try:
        return requests.get(f"http://127.0.0.1:{port}/livez", timeout=2).status_code == 200
    except requests.RequestException:
        return False


@pytest.mark.parametrize("broker", BROKERS)
def test_nothing_is_lost(
    tmp_path: Path, ultravox: Ultravox, broker: str, capsys: pytest.CaptureFixture[str]
) -> None:
    ultravox.keys = {f"key-{number}" for number in range(AGENCIES)}
    ultravox.fault = Listings(ultravox)
    with contextlib.ExitStack() as stack:
        postgresql = stack.enter_context(PostgreSQL(tmp_path))
        messages: Any = stack.enter_context(BROKERS[broker](tmp_path))
        site = Project(
            Database(postgresql.url),
            tmp_path,
            DATABASE_URL=postgresql.url,
            LOG_FORMAT="json",
            CELERY_BROKER_URL=messages.url,
            ULTRAVOX_API_URL=ultravox.url,
            ULTRAVOX_DEADLINE="1.5",
            DJANGO_TRUSTED_PROXIES="1",
        )
        stack.callback(site.stop)
        assert site.manage("migrate", "-v", "0").returncode == 0
        seeded = site.manage("shell", "-v", "0", "-c", SEED)
        assert seeded.returncode == 0, seeded.stderr
        fleet = stack.enter_context(Fleet(site))
        for port in fleet.ports:
            wait_for(lambda port=port: is_live(port), 30, "a web server")
        upstreams = [f"http://127.0.0.1:{port}" for port in fleet.ports]
        nginx = stack.enter_context(Nginx(upstreams, tmp_path))
        load = Load(nginx.url, json.loads(seeded.stdout.strip().rpartition("\n")[2]))
        away = []
        with load:
            grow(load, 40)
            fleet.kill("worker0")
            grow(load, 20)
            fleet.kill_child("web0")
            fleet.kill("web1")
            grow(load, 20)
            messages.stop()
            grow(load, 20)
            messages.start()
            grow(load, 20)
            away.append(time.monotonic())
            postgresql.stop()
            time.sleep(2)  # as long as a restart takes
            postgresql.start()
            away.append(time.monotonic())
            grow(load, 40)
            nginx.process.send_signal(signal.SIGHUP)
            grow(load, 20)
            messages.stop()
            messages.start()
            grow(load, 60)
        sent = wait_for_scheduled(site)
        assert "Synced" in site.manage("sync_voices").stdout  # which gives up what was left open
        check(site, load, away, sent)
        with capsys.disabled():
            sys.stdout.write(f"\n{broker}: {summary(load, sent)}\n")


def grow(load: Load, more: int) -> None:
    """Let so many more syncs be answered well."""
    count = len(good(load.syncs)) + more
    wait_for(lambda: len(good(load.syncs)) >= count, 60, f"{more} more syncs")


def good(answers: list[Answer]) -> list[Answer]:
    return [answer for answer in answers if answer.status == 200]


def lines(site: Project, name: str) -> Iterator[dict[str, Any]]:
    for line in site.log(name).splitlines():
        with contextlib.suppress(ValueError):  # cut off by kill -9
            yield json.loads(line)


def wait_for_scheduled(site: Project) -> dict[str, str | None]:
    """Return how each scheduled sync ended, in the order of their sending; None if it was lost.

    Waits for one that was sent from now on: it replaces any that was lost before.
    """

    def outcomes() -> dict[str, str | None]:
        ended = {
            line["request_id"]: line["outcome"]
            for number in range(WORKERS)
            for line in lines(site, f"worker{number}")
            if line["message"].startswith("Sync ended")
        }
        sent = re.findall(r"voices.sync_voices sent. id->([0-9a-f-]{36})", site.log("beat"))
        return {task: ended.get(task) for task in sent}

    before = len(outcomes())
    wait_for(
        lambda: "succeeded" in list(outcomes().values())[before:], 90, "one more scheduled sync"
    )
    return outcomes()


def check(site: Project, load: Load, away: list[float], sent: dict[str, str | None]) -> None:
    database = site.database
    # What was answered 200 is in the table.
    stored = {row[0] for row in database.rows("SELECT id FROM ultravox_voices")}
    for answer in good(load.syncs):
        own = range(answer.synced - SHARED)
        assert {f"key-{answer.agency}-{number}" for number in own} <= stored
        assert answer.synced > SHARED
    # No run is open.
    assert database.value("SELECT count(*) FROM voice_sync_runs WHERE status = 'running'") == 0
    # Every scheduled sync ran, or a later one did.
    outcomes = list(sent.values())
    assert "succeeded" in outcomes[-3:]
    assert {outcome for outcome in outcomes if outcome} <= {
        "succeeded",
        "save_failed",
        "ultravox_error",
    }
    # Nobody waited for each other.
    assert database.value("SELECT sum(deadlocks) FROM pg_stat_database") == 0
    assert "deadlock" not in (site.folder / "postgresql/log").read_text()
    # Reads fail only while the database is away.
    failed = [answer for answer in load.reads if answer.status != 200]
    began, ended = away
    assert [answer for answer in failed if answer.ended < began or answer.began > ended + 1] == []
    assert len(good(load.reads)) > 100
    # Nothing unexpected went wrong; celery traces what it goes on after.
    for name in ("web0", "web1", "web2", "worker0", "worker1"):
        for line in lines(site, name):
            assert "trace" not in line or line["logger"].startswith("celery"), line


def summary(load: Load, sent: dict[str, str | None]) -> str:
    syncs = Counter(answer.status for answer in load.syncs)
    reads = Counter(answer.status for answer in load.reads)
    runs = Counter(outcome or "lost" for outcome in sent.values())
    return f"syncs {dict(syncs)}, reads {dict(reads)}, scheduled {dict(runs)}"
