"""The admin and the API's documentation in a real browser, which enforces the content security policy."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.browser.tab import Tab, needs_chromium, wait_until
from tests.support.project import Database, own_project
from tests.support.seeding import add_agency, add_user
from tests.ultravox import Ultravox

EMAIL = "staff@example.com"
VOICES, RUNS = "/admin/voices/voice/", "/admin/voices/syncrun/"

pytestmark = [pytest.mark.browser, needs_chromium]


@pytest.fixture(scope="module")
def site(
    migrated: Database, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[str, Ultravox]]:
    """The address of a site with a superuser, and its Ultravox."""
    folder = tmp_path_factory.mktemp("site")
    with (
        Ultravox() as ultravox,
        own_project(migrated, folder, ULTRAVOX_API_URL=ultravox.url) as project,
    ):
        add_user(project, add_agency(project), EMAIL, is_staff=True, is_superuser=True)
        yield project.serve("--workers=1"), ultravox


@pytest.fixture
def tab(site: tuple[str, Ultravox], tmp_path: Path, browser: Any) -> Tab:
    """A tab in which the superuser is logged in."""
    url, ultravox = site
    previews = ultravox.url.replace("127.0.0.1", "localhost") + "/audio/"
    tab = Tab(browser.new_page(), url, tmp_path, (previews,))
    tab.log_in(EMAIL, "/admin/")
    return tab


def test_voices_are_synced_played_and_found(tab: Tab, site: tuple[str, Ultravox]) -> None:
    page, ultravox = tab.page, site[1]
    page.locator(f'#content-main a[href="{VOICES}"]').first.click()
    page.get_by_role("button", name="Sync now").click()
    message = page.locator(".messagelist .success")
    assert message.inner_text().strip() == "Synced 300 voices from Ultravox"
    tab.look("voices-synced")
    voice = page.locator("#result_list tbody tr").first
    voice.get_by_role("button", name="Play").click()
    voice.get_by_role("button", name="Stop").wait_for()
    wait_until(page, lambda: tab.heard() > 0, "sound")
    voice.get_by_role("button", name="Stop").click()
    page.locator("#searchbar").fill("さくら")
    page.get_by_role("button", name="Search").click()
    page.locator("#result_list").get_by_role("link", name="さくら").first.click()
    assert '"url": "••••••"' in page.locator("pre.definition").inner_text()
    assert "not-a-secret" not in page.content()
    tab.look("voice")
    ultravox.fault = lambda exchange: exchange.reply(400)
    tab.open(VOICES)
    page.get_by_role("button", name="Sync now").click()
    assert "400" in page.locator(".messagelist .error").inner_text()
    ultravox.fault = None
    tab.open(RUNS)
    failed, succeeded = page.locator("td.field-outcome").all_inner_texts()
    assert (failed.partition(":")[0], succeeded) == ("Failed", "Succeeded")
    tab.look("runs")
    assert tab.errors == []


def test_the_api_documentation_sends_requests(tab: Tab) -> None:
    tab.open("/api/docs/")
    page = tab.page
    page.get_by_role("button", name="GET /api/voices/", exact=True).click()
    page.get_by_role("button", name="Try it out").click()
    page.get_by_role("button", name="Execute").click()
    response = page.locator(".live-responses-table")
    response.get_by_text('"count"').first.wait_for()
    assert "200" in response.locator("tbody .response-col_status").first.inner_text()
    tab.look("docs")
    assert tab.errors == []
