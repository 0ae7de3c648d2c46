"""The admin and the API's documentation in a real browser, which enforces the content security policy."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.browser.tab import Tab, needs_chromium, wait_until
from tests.support.project import Project
from tests.support.seeding import add_agency, add_user
from tests.ultravox import Ultravox

EMAIL = "staff@example.com"
KEY = "sandbox-key-0123456789"
VOICES, RUNS = "/admin/voices/voice/", "/admin/voices/syncrun/"
AGENCIES, USERS = "/admin/agencies/agency/", "/admin/agencies/user/"
TASKS = "/admin/django_celery_beat/periodictask/"

pytestmark = [pytest.mark.browser, needs_chromium]


@pytest.fixture
def tab(project: Callable[..., Project], tmp_path: Path, ultravox: Ultravox, browser: Any) -> Tab:
    """A tab in which a superuser is logged in."""
    ultravox.keys = {KEY}
    site = project(ULTRAVOX_API_URL=ultravox.url)
    add_user(site, add_agency(site, key=KEY), EMAIL, is_staff=True, is_superuser=True)
    previews = ultravox.url.replace("127.0.0.1", "localhost") + "/audio/"
    tab = Tab(browser.new_page(), site.serve("--workers=1"), tmp_path, (previews,))
    tab.log_in(EMAIL, "/admin/")
    return tab


def test_voices_are_synced_played_and_found(tab: Tab, ultravox: Ultravox) -> None:
    page = tab.page
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
    tab.open(RUNS)
    failed, succeeded = page.locator("td.field-outcome").all_inner_texts()
    assert (failed.partition(":")[0], succeeded) == ("Failed", "Succeeded")
    page.set_viewport_size({"width": 1280, "height": 800})
    assert page.locator(".results").evaluate("(it) => it.scrollWidth <= it.clientWidth")
    tab.look("runs")
    assert tab.errors == []


def test_a_key_is_entered_and_tested(tab: Tab) -> None:
    page = tab.page
    tab.open(f"{AGENCIES}add/")
    page.get_by_label("Name:").fill("Other")
    page.get_by_label("New Ultravox API key:").fill("typed-in-key-wxyz")
    page.get_by_role("button", name="Save and continue editing").click()
    page.wait_for_url(re.compile("/change/"))
    assert page.get_by_label("New Ultravox API key:").input_value() == ""
    assert "••••wxyz" in page.content()
    assert "typed-in" not in page.content()
    tab.open(AGENCIES)
    page.locator("#action-toggle").check()
    page.get_by_label("Action:").select_option("test_key")
    page.locator("button[name=index]").click()
    assert page.locator("td.field-key_status").all_inner_texts() == ["Works", "Rejected"]
    tab.look("key-tested")
    for address in (f"{USERS}add/", TASKS, f"{TASKS}add/"):
        tab.open(address)
        tab.look()
    assert "voices.sync_voices" in page.locator("#id_regtask option").all_inner_texts()
    assert tab.errors == []


def test_the_api_documentation_sends_requests(tab: Tab) -> None:
    tab.open("/api/docs/")
    page = tab.page
    page.get_by_role("button", name="GET /api/voices/", exact=True).click()
    page.get_by_role("button", name="Try it out").click()
    page.get_by_role("button", name="Execute").click()
    response = page.locator(".live-responses-table")
    response.get_by_text('"count"').wait_for()
    assert "200" in response.locator("tbody .response-col_status").first.inner_text()
    tab.look("docs")
    assert tab.errors == []
