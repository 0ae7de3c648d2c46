"""Measure contenders side by side, interleaved, so that what else the machine does hits all alike."""

import statistics
import sys
from dataclasses import dataclass, field

from benchmarks.contenders import NAMES, Contender, Cost, check, contenders
from benchmarks.services import Databases, Sandbox, sandbox

PHASES = ("first sync", "re-sync")
LONG = 3  # rounds at most, where one takes many seconds


@dataclass
class Series:
    """The costs of contenders at one thing, round by round."""

    engine: str
    voices: int
    latency: float
    phase: str
    costs: dict[str, list[Cost]] = field(default_factory=dict)

    def seconds(self, name: str) -> float:
        return statistics.median(cost.seconds for cost in self.costs[name])

    def ratio(self, name: str, other: str = "floor") -> float:
        return self.seconds(name) / self.seconds(other)


def in_process(
    databases: Databases, voices: int, latencies: list[float], rounds: int
) -> tuple[list[Series], float]:
    """Return what first syncs and re-syncs cost, and the sandbox's own pages a second."""
    with sandbox(voices) as ultravox, contenders(NAMES, databases, ultravox) as started:
        check(started)
        speed = max(ultravox.pages_per_second() for _ in range(3))
        engine = str(started[0].database)
        return [
            series
            for latency in latencies
            for series in _interleave(engine, started, ultravox, latency, rounds)
        ], speed


def _interleave(
    engine: str, started: list[Contender], ultravox: Sandbox, latency: float, rounds: int
) -> list[Series]:
    ultravox.set_latency(latency)
    if ultravox.voices * latency > 100_000:  # a second of waiting for pages
        rounds = min(rounds, LONG)
    result = [Series(engine, ultravox.voices, latency, phase) for phase in PHASES]
    for number in range(rounds):
        say(f"{engine}, {ultravox.voices:,} voices, {latency:g} ms, round {number + 1}/{rounds}")
        for contender in started:
            contender.database.empty()
            for series in result:
                series.costs.setdefault(contender.name, []).append(contender.sync())
        started = started[1:] + started[:1]  # nobody always follows the same one
    return result


def scaling(databases: Databases, sizes: list[int], rounds: int) -> list[Series]:
    """Return what first syncs of more and more voices cost: first of fresh processes, for the peak."""
    result = []
    for voices in sizes:
        series = Series("", voices, 0, PHASES[0])
        if voices >= 100_000:
            rounds = min(rounds, LONG - 1)
        with sandbox(voices) as ultravox:
            for number in range(rounds):
                say(f"scaling, {voices:,} voices, round {number + 1}/{rounds}")
                with contenders(NAMES[:2], databases, ultravox) as started:
                    series.engine = str(started[0].database)
                    fresh = {contender.name: contender.sync() for contender in started}
                    for contender in started:
                        contender.database.empty()
                        warm = contender.sync()
                        cost = Cost(warm.seconds, fresh[contender.name].peak)
                        series.costs.setdefault(contender.name, []).append(cost)
        result.append(series)
    return result


def say(text: str) -> None:
    """Tell on standard error what is being done."""
    print(text, file=sys.stderr, flush=True)
