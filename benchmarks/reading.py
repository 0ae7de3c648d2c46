"""What it takes to find and to hear a voice, on the real web server, beside a textbook list there."""

import http.client
import statistics
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from benchmarks.joined import server
from benchmarks.measure import say
from benchmarks.page import Page, page
from benchmarks.services import SERVICE_KEY, Databases, environment, run, sandbox

LISTENERS = 20
KEYED = "SELECT id FROM ultravox_voices WHERE preview_url LIKE '%/preview' ORDER BY id LIMIT 2"
SEARCH = "search=warm%20support"  # two words that both find by description
REQUESTS = {
    "textbook": "/textbook/",
    "list": "/api/voices/",
    "textbook, search": f"/textbook/?{SEARCH}",
    "search": f"/api/voices/?{SEARCH}",
}


@dataclass
class Reading:
    """Seconds to the first byte of each of REQUESTS, and of a kept preview, round by round."""

    engine: str
    voices: int
    asked: int = 0  # requests to Ultravox for LISTENERS at once
    page: Page | None = None
    seconds: dict[str, list[float]] = field(default_factory=dict)

    def median(self, name: str) -> float:
        return statistics.median(self.seconds[name])


def reading(databases: Databases, folder: str, voices: int, rounds: int) -> Reading:
    """Return what reading costs, with so many voices in the table."""
    database = databases.create()
    result = Reading(str(database), voices)
    with sandbox(voices) as ultravox:
        variables = environment(database.url, ultravox.url) | {
            "DJANGO_LOG_LEVEL": "ERROR",
            "DJANGO_SETTINGS_MODULE": "benchmarks.textbook_api",
            "PREVIEW_FOLDER": f"{folder}/previews-{voices}",
        }
        run(["manage.py", "sync_voices"], variables)
        database.rows("ANALYZE")
        with server(variables) as address:
            first, second = (
                f"/api/voices/{voice_id}/preview" for (voice_id,) in database.rows(KEYED)
            )
            requests = REQUESTS | {"preview": first}
            for suffix in ("", ", after a commit"):
                say(f"{database}, {voices:,} voices, {rounds} rounds of reading{suffix}")
                for number in range(-8, rounds):  # at first, both processes warm up
                    for name, target in requests.items():
                        if suffix:
                            database.rows("SELECT pg_current_xact_id()")
                        took, _ = _get(address, target)
                        if number >= 0:
                            result.seconds.setdefault(name + suffix, []).append(took)
            before = ultravox.set_latency(0)
            with ThreadPoolExecutor(LISTENERS) as listeners:
                list(listeners.map(lambda _: _get(address, second), range(LISTENERS)))
            result.asked = ultravox.set_latency(0) - before
            result.page = page(f"http://{address}")
    return result


def _get(address: str, target: str) -> tuple[float, bytes]:
    """Return the seconds to the answer's first byte, and its body. Raises RuntimeError if it is no 200."""
    connection = http.client.HTTPConnection(address, timeout=60)
    connection.connect()
    began = time.perf_counter()
    connection.request("GET", target, headers={"apikey": SERVICE_KEY})
    answer = connection.getresponse()
    took = time.perf_counter() - began
    body = answer.read()
    connection.close()
    if answer.status != 200:
        raise RuntimeError(f"{target} was answered with {answer.status}: {body[:500]!r}")
    return took, body
