"""Whole processes: the command, the floor, and what an empty Django project takes to start."""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.contenders import contenders
from benchmarks.measure import say
from benchmarks.services import Databases, environment, run, sandbox

COMMAND = """
from django.core.management.base import BaseCommand
from django.db import connection

class Command(BaseCommand):
    def handle(self, *args, **options):
        connection.ensure_connection()
"""
SETTINGS = """
import os, environs
DATABASES = {"default": environs.Env().dj_db_url("DATABASE_URL")}
INSTALLED_APPS.append("empty")
"""


@dataclass
class Processes:
    """Seconds of whole processes, and of the sync within the project's; medians."""

    engine: str
    floor: float
    project: float
    sync: float
    usage: float
    empty: float

    @property
    def start(self) -> float:
        """What the command takes besides the sync."""
        return self.project - self.sync


def whole(
    databases: Databases, folder: Path, rounds: int, voices: int = 1000, latency: float = 20
) -> Processes:
    """Return what whole processes cost."""
    empty_project = _empty_project(folder)
    with sandbox(voices) as ultravox, contenders(("project",), databases, ultravox) as (warm,):
        ultravox.set_latency(latency)
        variables = {
            name: environment(databases.create().url, ultravox.url)
            for name in ("floor", "project", "empty")
        }
        variables["empty"]["DJANGO_SETTINGS_MODULE"] = "empty.settings"
        runs: dict[str, Callable[[], object]] = {
            "floor": lambda: run(["-m", "benchmarks.floor"], variables["floor"]),
            "project": lambda: run(["manage.py", "sync_voices"], variables["project"]),
            "sync": warm.sync,
            "usage": lambda: run(["manage.py", "sync_voices", "--help"], variables["project"]),
            "empty": lambda: run(["manage.py", "connect"], variables["empty"], empty_project),
        }
        times: dict[str, list[float]] = {name: [] for name in runs}
        for number in range(-1, rounds):
            say(f"{warm.database}, whole processes, round {number + 1}/{rounds}")
            for name, function in runs.items():
                began = time.perf_counter()
                function()
                if number >= 0:  # the first round warms up
                    times[name].append(time.perf_counter() - began)
        medians = {name: statistics.median(values) for name, values in times.items()}
        return Processes(str(warm.database), **medians)


def _empty_project(folder: Path) -> Path:
    """Make what `django-admin startproject` makes, and a command that only connects."""
    project = folder / "empty"
    if not project.exists():
        project.mkdir()
        run(["-m", "django", "startproject", "empty", "."], {}, project)
        commands = project / "empty" / "management" / "commands"
        commands.mkdir(parents=True)
        (commands / "connect.py").write_text(COMMAND)
        with (project / "empty" / "settings.py").open("a") as settings:
            settings.write(SETTINGS)
    return project
