"""Many POSTs at once, that one sync answers, against one alone, on the real web server."""

import contextlib
import http.client
import json
import os
import signal
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass

from benchmarks.measure import say
from benchmarks.services import (
    ROOT,
    SERVICE_KEY,
    Databases,
    environment,
    free_port,
    sandbox,
    wait_for,
)


@dataclass
class Joined:
    """Seconds until one POST alone was answered, and until the last of `posts` at once; medians."""

    engine: str
    posts: int
    alone: float
    slowest: float
    syncs: float


def joined(
    databases: Databases, rounds: int, posts: int = 20, voices: int = 1000, latency: float = 20
) -> Joined:
    """Return what POSTs at once cost."""
    database = databases.create()
    alone, slowest, syncs = [], [], []
    with sandbox(voices) as ultravox:
        ultravox.set_latency(latency)
        variables = environment(database.url, ultravox.url) | {"DJANGO_LOG_LEVEL": "ERROR"}
        with server(variables) as address:
            for _ in range(2):  # the server's threads are there, and connected
                _post(address, posts)
            for number in range(rounds):
                say(f"{database}, {posts} POSTs at once, round {number + 1}/{rounds}")
                alone += _post(address, 1)
                before = database.rows("SELECT count(*) FROM voice_sync_runs")[0][0]
                slowest.append(max(_post(address, posts)))
                after = database.rows("SELECT count(*) FROM voice_sync_runs")[0][0]
                syncs.append(after - before)
    return Joined(
        str(database),
        posts,
        statistics.median(alone),
        statistics.median(slowest),
        statistics.mean(syncs),
    )


@contextlib.contextmanager
def server(variables: dict[str, str]) -> Iterator[str]:
    address = f"127.0.0.1:{free_port()}"
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "gunicorn",
            "--config",
            "gunicorn.conf.py",
            "--bind",
            address,
            "--log-level",
            "warning",
        ],
        cwd=ROOT,
        env=variables,
        start_new_session=True,
    )
    try:
        wait_for(lambda: process.poll() is not None or _is_up(address))
        yield address
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _is_up(address: str) -> bool:
    connection = http.client.HTTPConnection(address, timeout=10)
    try:
        connection.request("GET", "/nothing-here")
        return bool(connection.getresponse().read())
    except OSError:
        return False
    finally:
        connection.close()


def _post(address: str, count: int) -> list[float]:
    """Post at once, and return the seconds that each took. Raises RuntimeError where one failed."""
    together, seconds, failures = threading.Barrier(count), [], []

    def post() -> None:
        connection = http.client.HTTPConnection(address, timeout=60)
        connection.connect()
        together.wait()
        began = time.perf_counter()
        connection.request("POST", "/functions/v1/voices-sync", headers={"apikey": SERVICE_KEY})
        answer = json.loads(connection.getresponse().read())
        seconds.append(time.perf_counter() - began)
        connection.close()
        if not answer["success"]:
            failures.append(answer)

    threads = [threading.Thread(target=post) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures or len(seconds) != count:
        raise RuntimeError(f"A POST failed: {failures}")
    return seconds
