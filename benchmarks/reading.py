"""What it takes to find and to hear a voice, on the real web server, beside a textbook list there."""

import http.client
import statistics
import time
from dataclasses import dataclass, field

from benchmarks.joined import server
from benchmarks.measure import say
from benchmarks.services import SERVICE_KEY, Databases, environment, run, sandbox

SEARCH = "warm%20support"  # two words that both find by description
REQUESTS = {
    "textbook": "/textbook/",
    "list": "/api/voices/",
    "textbook, search": f"/textbook/?search={SEARCH}",
    "search": f"/api/voices/?search={SEARCH}",
}


@dataclass
class Reading:
    """Seconds to the first byte, by what was asked for; Ultravox's requests for one preview's listeners."""

    engine: str
    voices: int
    seconds: dict[str, list[float]] = field(default_factory=dict)
    asked: float = 0
    listeners: int = 20

    def median(self, name: str) -> float:
        return statistics.median(self.seconds[name])


def reading(databases: Databases, voices: int, rounds: int = 60) -> Reading:
    """Return what reading costs, with so many voices in the table."""
    database = databases.create()
    result = Reading(str(database), voices)
    with sandbox(voices) as ultravox:
        variables = environment(database.url, ultravox.url) | {
            "DJANGO_LOG_LEVEL": "ERROR", "DJANGO_SETTINGS_MODULE": "benchmarks.textbook_api",
            "RATE_LIMIT_PREVIEW": "100000/min",
        }  # fmt: skip
        run(["manage.py", "sync_voices"], variables)
        database.rows("ANALYZE")
        with server(variables) as address:
            for number in range(-2, rounds):
                if number % 20 == 0:
                    say(f"{database}, {voices:,} voices, reading, round {number}/{rounds}")
                for name, target in REQUESTS.items():
                    took = _first_byte(address, target)
                    if number >= 0:
                        result.seconds.setdefault(name, []).append(took)
    return result


def _first_byte(address: str, target: str) -> float:
    """Return the seconds until the answer's head came. Raises RuntimeError where it is no 200."""
    connection = _connection(address)
    began = time.perf_counter()
    connection.request("GET", target, headers={"apikey": SERVICE_KEY})
    answer = connection.getresponse()
    took = time.perf_counter() - began
    body = answer.read()
    connection.close()
    if answer.status != 200:
        raise RuntimeError(f"{target} was answered with {answer.status}: {body[:500]!r}")
    return took


def _connection(address: str) -> http.client.HTTPConnection:
    connection = http.client.HTTPConnection(address, timeout=60)
    connection.connect()
    return connection
