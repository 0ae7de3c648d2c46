"""Fixtures: Ultravox, agencies and users, and projects in processes of their own."""

import os
import signal
from collections.abc import Callable, Iterator
from operator import itemgetter
from pathlib import Path
from typing import Any

import pytest
from django.core.cache import cache

from agencies.models import Agency, User
from tests.support.environment import PASSWORD, SERVICE_KEY
from tests.support.project import IS_POSTGRESQL, Database, Project, own_project
from tests.support.seeding import add_agency
from tests.ultravox import API_KEY, Ultravox

# Shells let what they start in the background ignore Ctrl-C, and nohup the end of the terminal: so would all
# processes of the tests.
USUAL: dict[int, Any] = {signal.SIGINT: signal.default_int_handler, signal.SIGHUP: signal.SIG_DFL}
for number, usual in USUAL.items():
    if signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(number, usual)


def pytest_itemcollected(item: pytest.Item) -> None:
    if item.nodeid.startswith("tests/system/"):
        item.add_marker("system")


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("nightly") and "NIGHTLY" not in os.environ:
        pytest.skip("takes minutes: run .ci/nightly")
    if item.get_closest_marker("sqlite") and IS_POSTGRESQL:
        pytest.skip("runs on SQLite only: unset DATABASE_URL")


@pytest.fixture
def ultravox(settings: Any) -> Iterator[Ultravox]:
    """Ultravox, as the project in this process sees it, and, by its URL, those in others."""
    with Ultravox() as ultravox:
        settings.ULTRAVOX_API_URL = ultravox.url
        yield ultravox


@pytest.fixture(autouse=True)
def no_limits_from_other_tests() -> Iterator[None]:
    yield
    cache.clear()


@pytest.fixture
def agency(db: None) -> Agency:
    return Agency.objects.create(name="Agency", ultravox_api_key=API_KEY)


@pytest.fixture
def user(agency: Agency) -> User:
    return User.objects.create_user("user@example.com", PASSWORD, agency=agency)


@pytest.fixture
def staff(db: None) -> User:
    return User.objects.create_superuser("staff@example.com", PASSWORD)


@pytest.fixture
def service_headers() -> dict[str, str]:
    return {"apikey": SERVICE_KEY}


@pytest.fixture(scope="session", autouse=True)
def no_database_stays() -> Iterator[None]:
    yield
    Database.drop_all()


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    """A migrated database that those of tests are copied from."""
    with own_project(None, tmp_path_factory.mktemp("migrated")) as project:
        done = project.manage("migrate", "-v", "0")
        assert done.returncode == 0, done.stderr
        yield project.database


@pytest.fixture(scope="session")
def synced(migrated: Database, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    """A database with an agency and its first sync."""
    folder = tmp_path_factory.mktemp("synced")
    with (
        Ultravox() as ultravox,
        own_project(migrated, folder, ULTRAVOX_API_URL=ultravox.url) as project,
    ):
        add_agency(project)
        done = project.manage("sync_voices")
        assert done.returncode == 0, done.stderr
        yield project.database


@pytest.fixture
def before(synced: Database, tmp_path: Path, ultravox: Ultravox) -> Iterator[Project]:
    """A project with a table of voices, all of which the next sync changes, "first" to "last"."""
    voices = sorted(ultravox.voices, key=itemgetter("voiceId"))
    ultravox.voices = [voice | {"description": "changed"} for voice in voices]
    ultravox.voices[0]["name"], ultravox.voices[-1]["name"] = "first", "last"
    with own_project(synced, tmp_path, ULTRAVOX_API_URL=ultravox.url) as project:
        yield project


@pytest.fixture
def database(migrated: Database, tmp_path: Path) -> Database:
    """A migrated database of the test's own."""
    return Database.create(tmp_path, migrated)


@pytest.fixture
def project(database: Database, tmp_path: Path) -> Iterator[Callable[..., Project]]:
    """Make projects on that database; arguments are environment variables."""
    projects: list[Project] = []

    def make(**environment: str) -> Project:
        projects.append(Project(database, tmp_path, **environment))
        return projects[-1]

    yield make
    for made in projects:
        made.stop()
