"""A site with a sandbox for Ultravox, an agency with two users, and staff; and tabs of a browser on it."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests

from sandbox import API_KEY, Sandbox
from tests.browser.tab import Tab, open_browser
from tests.support.environment import SERVICE_KEY
from tests.support.project import Database, own_project
from tests.support.seeding import add_agency, add_user

ANNA, BEN, STAFF = "anna@agency.example", "ben@agency.example", "staff@example.com"


@dataclass
class Site:
    url: str
    database: Database
    sandbox: Sandbox

    def sync(self) -> None:
        service = {"apikey": SERVICE_KEY}
        sync = requests.post(f"{self.url}/api/voices/sync/", headers=service, timeout=30)
        sync.raise_for_status()

    def clear(self) -> None:
        """Remove all voices and runs."""
        for table in ("agency_voices", "ultravox_voices", "voice_sync_runs"):
            self.database.rows(f"DELETE FROM {table}")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with open_browser() as browser:
        yield browser


@pytest.fixture(scope="module")
def site(migrated: Database, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A site with 300 synced voices."""
    folder = tmp_path_factory.mktemp("site")
    with (
        Sandbox(count=300) as sandbox,
        own_project(
            migrated, folder, ULTRAVOX_API_URL=sandbox.url, ULTRAVOX_TIMEOUT="2"
        ) as project,
    ):
        agency = add_agency(project, key=API_KEY)
        add_user(project, agency, ANNA)
        add_user(project, agency, BEN)
        add_user(project, None, STAFF, is_staff=True, is_superuser=True)
        site = Site(project.serve("--workers=1"), project.database, sandbox)
        site.sync()
        yield site


@pytest.fixture
def changed_site(site: Site) -> Iterator[Site]:
    """The site, for a test that changes its voices, its runs, its key or its sandbox."""
    [(key,)] = site.database.rows("SELECT ultravox_api_key FROM agencies")
    voices = [dict(voice) for voice in site.sandbox.api.voices]
    yield site
    site.sandbox.fault, site.sandbox.latency, site.sandbox.api.voices = None, 0, voices
    site.database.rows(f"UPDATE agencies SET ultravox_api_key = '{key}'")
    site.clear()
    site.sync()


@pytest.fixture(scope="module")
def session(site: Site, browser: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The cookies of Anna's session."""
    context = browser.new_context()
    Tab(context.new_page(), site.url, tmp_path_factory.mktemp("session")).log_in(ANNA)
    yield context.storage_state()
    context.close()


@pytest.fixture
def anna(site: Site, session: Any, browser: Any, tmp_path: Path) -> Iterator[Tab]:
    """A tab with the list of voices. Anna is signed in, and her browser is French."""
    context = browser.new_context(storage_state=session, locale="fr-FR")
    previews = f"http://localhost:{site.sandbox.port}/audio/"  # some voices' public copies
    tab = Tab(context.new_page(), site.url, tmp_path, (previews,))
    tab.open("/")
    tab.rows().first.wait_for()
    yield tab
    context.close()
