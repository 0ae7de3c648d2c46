"""A site with an agency of two and staff, its Ultravox, and a tab for one of them."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from sandbox import API_KEY, Sandbox
from tests.browser.tab import Tab, opened_browser
from tests.support.environment import SERVICE_KEY
from tests.support.project import Project
from tests.support.seeding import add_agency, add_user

ANNA, BEN, STAFF = "anna@agency.example", "ben@agency.example", "staff@example.com"


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(count=300) as sandbox:
        yield sandbox


@pytest.fixture
def site(project: Callable[..., Project], sandbox: Sandbox) -> Project:
    """A project with an agency of two, and staff without one; no sync has been yet."""
    site = project(ULTRAVOX_API_URL=sandbox.url, ULTRAVOX_TIMEOUT="2")
    agency = add_agency(site, key=API_KEY)
    add_user(site, agency, ANNA)
    add_user(site, agency, BEN)
    add_user(site, None, STAFF, is_staff=True, is_superuser=True)
    return site


@pytest.fixture
def browser() -> Iterator[Any]:
    with opened_browser() as browser:
        yield browser


@pytest.fixture
def tab(site: Project, browser: Any, tmp_path: Path) -> Tab:
    """A tab for Anna, who has not logged in."""
    page = browser.new_page(locale="fr-FR")
    page.set_default_timeout(10_000)
    return Tab(page, site.serve("--workers=1"), tmp_path)


@pytest.fixture
def anna(tab: Tab) -> Tab:
    """A tab where Anna is logged in, and 300 voices are synced."""
    service = {"apikey": SERVICE_KEY}
    requests.post(f"{tab.site}/api/voices/sync/", headers=service, timeout=30).raise_for_status()
    tab.log_in(ANNA)
    tab.rows().first.wait_for()
    return tab
