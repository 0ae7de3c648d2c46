"""Admin and documentation in a real browser, where what the content security policy forbids is seen."""

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
PAGES = (
    "/admin/",
    VOICES,
    RUNS,
    AGENCIES,
    f"{AGENCIES}add/",
    USERS,
    f"{USERS}add/",
    TASKS,
    f"{TASKS}add/",
    "/admin/django_celery_beat/crontabschedule/add/",
    "/admin/password_change/",
)

pytestmark = [pytest.mark.browser, needs_chromium]


@pytest.fixture
def site(project: Callable[..., Project], ultravox: Ultravox) -> Project:
    ultravox.keys = {KEY}
    site = project(ULTRAVOX_API_URL=ultravox.url)
    add_user(site, add_agency(site, key=KEY), EMAIL, is_staff=True, is_superuser=True)
    return site


@pytest.fixture
def tab(site: Project, tmp_path: Path, ultravox: Ultravox, browser: Any) -> Tab:
    """A tab of a browser where staff logged in."""
    previews = ultravox.url.replace("127.0.0.1", "localhost") + "/audio/"
    url = site.serve("--workers=1")
    tab = Tab(browser.new_page(), url, tmp_path, (previews,))
    tab.log_in(EMAIL, "/admin/")
    return tab


def test_staff_at_work(tab: Tab, ultravox: Ultravox, site: Project) -> None:
    page = tab.page
    for address in PAGES:
        tab.open(address)
        tab.look()
    for address in (AGENCIES, USERS, TASKS):
        tab.open(address)
        page.locator("#result_list tbody th a").first.click()
        page.wait_for_url(re.compile("/change/"))
        tab.look()

    # Voices are synced and looked at.
    tab.open("/admin/")
    page.locator(f'#content-main a[href="{VOICES}"]').first.click()
    page.get_by_role("button", name="Sync now").click()
    message = page.locator(".messagelist .success")
    assert message.inner_text().strip() == "Synced 300 voices from Ultravox"
    assert page.locator("#result_list tbody tr").count() == 100
    tab.look("voices-synced")
    voice = page.locator("#result_list tbody tr").first
    voice.get_by_role("button", name="Play").click()
    voice.get_by_role("button", name="Stop").wait_for()
    wait_until(page, lambda: tab.heard() > 0, "sound")
    voice.get_by_role("button", name="Stop").click()
    page.locator("#searchbar").fill("さくら")
    page.get_by_role("button", name="Search").click()
    page.locator("#result_list").get_by_role("link", name="さくら").first.click()
    definition = page.locator("pre.definition").inner_text()
    assert definition.startswith('{\n  "generic": {\n    "url": "••••••",\n')
    assert '\n    "headers": "••••••",\n' in definition
    assert "not-a-secret" not in page.content()
    tab.look("voice")
    ultravox.fault = lambda exchange: exchange.reply(400)
    tab.open(VOICES)
    page.get_by_role("button", name="Sync now").click()
    assert "status 400" in page.locator(".messagelist .error").inner_text()
    tab.look("voices-not-synced")
    tab.open(RUNS)
    failed, succeeded = page.locator("td.field-outcome").all_inner_texts()
    assert (failed.partition(":")[0], succeeded) == ("Failed", "Succeeded")
    page.set_viewport_size({"width": 1280, "height": 800})
    assert page.locator(".results").evaluate("(it) => it.scrollWidth <= it.clientWidth")
    tab.look("runs")

    # A key is tried, another typed in, and the task run by hand.
    tab.open(AGENCIES)
    page.locator("input.action-select").check()
    page.get_by_label("Action:").select_option("test_key")
    page.locator("button[name=index]").click()
    assert "status 400" in page.locator(".messagelist .error").inner_text()
    tab.look("key-tried")
    tab.open(f"{AGENCIES}add/")
    page.get_by_label("Name:").fill("Typed in")
    page.get_by_label("New Ultravox API key:").fill("typed-in-key-wxyz")
    page.get_by_role("button", name="Save and continue editing").click()
    page.wait_for_url(re.compile("/change/"))
    assert page.get_by_label("New Ultravox API key:").input_value() == ""
    assert "••••wxyz" in page.content()
    assert "typed-in" not in page.content()
    tab.open(f"{TASKS}add/")
    assert "voices.sync_voices" in page.locator("#id_regtask option").all_inner_texts()
    tab.open(TASKS)
    page.get_by_role("checkbox", name="Sync voices from Ultravox").check()
    page.get_by_label("Action:").select_option("run_tasks")
    page.locator("button[name=index]").click()
    assert "1 task was successfully run" in page.locator(".messagelist").inner_text()
    scheduled = "SELECT count(*) FROM voice_sync_runs WHERE trigger = 'schedule'"
    assert site.database.value(scheduled) == 1
    assert tab.errors == []


def test_the_documentation_of_the_api_is_served_from_here_and_tries_it(tab: Tab) -> None:
    tab.open("/api/docs/")
    page = tab.page
    page.get_by_role("button", name="GET /api/voices/", exact=True).click()
    page.get_by_role("button", name="Try it out").click()
    page.get_by_role("button", name="Execute").click()
    answer = page.locator(".live-responses-table")
    answer.get_by_text('"count"').wait_for()
    assert "200" in answer.locator("tbody .response-col_status").first.inner_text()
    assert tab.errors == []
    tab.look("docs")
