"""The admin in a real browser, where what the content security policy forbids is seen."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.project import Project
from tests.ultravox import Ultravox

CHROMIUM = Path("/usr/bin/chromium")
EMAIL, PASSWORD = "staff@example.com", "a password of the tests"
KEY = "sandbox-key-0123456789"
WIDTHS = (1280, 800)
PAGES = {
    "index": "/admin/",
    "voices": "/admin/voices/voice/",
    "runs": "/admin/voices/syncrun/",
    "agencies": "/admin/agencies/agency/",
    "add-agency": "/admin/agencies/agency/add/",
    "users": "/admin/agencies/user/",
    "add-user": "/admin/agencies/user/add/",
    "tasks": "/admin/django_celery_beat/periodictask/",
    "add-task": "/admin/django_celery_beat/periodictask/add/",
    "crontab": "/admin/django_celery_beat/crontabschedule/add/",
    "password": "/admin/password_change/",
}

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not CHROMIUM.exists(), reason=f"needs {CHROMIUM}: apt install chromium"),
]


class Tab:
    """A page of the browser on one site, and what went wrong on it."""

    def __init__(self, page: Any, site: str, folder: Path) -> None:
        self.page = page
        self.errors: list[str] = []
        self._site = site
        self._folder = folder
        page.on("console", lambda message: self._note(message.type, message.text))
        page.on("pageerror", lambda error: self._note("error", str(error)))
        page.on("requestfailed", self._note_failure)
        page.on("response", lambda answer: self._note_answer(answer.status, answer.url))

    def _note(self, kind: str, text: str) -> None:
        if kind in ("error", "warning"):
            self.errors.append(f"{self.page.url}: {text}")

    def _note_failure(self, request: Any) -> None:
        if request.failure == "net::ERR_ABORTED":
            return  # the page was left while it was still loading, its icon for example
        self.errors.append(f"{self.page.url}: {request.failure}: {request.url}")

    def _note_answer(self, status: int, url: str) -> None:
        if status >= 400 or not url.startswith(self._site):
            self.errors.append(f"{self.page.url}: {status} of {url}")

    def open(self, address: str) -> None:
        self.page.goto(self._site + address)

    def log_in(self) -> None:
        self.open("/admin/")
        self.page.get_by_label("E-mail address:").fill(EMAIL)
        self.page.get_by_label("Password:").fill(PASSWORD)
        self.page.get_by_role("button", name="Log in").click()
        self.page.wait_for_url(f"{self._site}/admin/")

    def look(self, name: str) -> None:
        """Take a picture at each width, and refuse a page that is wider than the window."""
        for width in WIDTHS:
            self.page.set_viewport_size({"width": width, "height": 800})
            self.page.screenshot(path=self._folder / f"{name}-{width}.png")
            wide = self.page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
            assert wide <= 0, f"{name} is wider than {width} by {wide}"


@pytest.fixture
def site(project: Callable[..., Project], ultravox: Ultravox) -> Project:
    ultravox.keys = {KEY}
    broker = project().folder / "broker"
    site = project(ULTRAVOX_API_URL=ultravox.url, CELERY_BROKER_URL=f"filesystem://{broker}")
    site.seed(email=EMAIL, password=PASSWORD, key=KEY, is_staff=True, is_superuser=True)
    return site


@pytest.fixture
def tab(site: Project, tmp_path: Path) -> Iterator[Tab]:
    playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright")
    url = site.serve("--workers=1")
    # Not kept for other tests: its event loop in this thread would keep them from the database.
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox"])
        tab = Tab(browser.new_page(), url, tmp_path)
        yield tab
        browser.close()


def test_staff_sync_and_look_at_voices(tab: Tab, ultravox: Ultravox) -> None:
    page = tab.page
    tab.log_in()
    page.locator(f'#content-main a[href="{PAGES["voices"]}"]').first.click()
    page.get_by_role("button", name="Sync now").click()
    message = page.locator(".messagelist .success")
    assert message.inner_text().strip() == "Synced 300 voices from Ultravox"
    assert page.locator("#result_list tbody tr").count() == 100
    tab.look("voices-synced")

    page.locator("#searchbar").fill("さくら")
    page.get_by_role("button", name="Search").click()
    page.locator("#result_list").get_by_role("link", name="さくら").first.click()
    definition = page.locator("pre.definition").inner_text()
    assert definition.startswith('{\n  "generic": {\n    "url": "••••••",\n')
    assert '\n    "headers": "••••••",\n' in definition
    assert "not-a-secret" not in page.content()
    tab.look("voice")

    ultravox.fault = "status_400"
    tab.open(PAGES["voices"])
    page.get_by_role("button", name="Sync now").click()
    assert "status 400" in page.locator(".messagelist .error").inner_text()
    tab.look("voices-not-synced")
    tab.open(PAGES["runs"])
    states = page.locator("td.field-state").all_inner_texts()
    assert states == ["Failed", "Succeeded"]
    tab.look("runs")
    assert tab.errors == []


def test_no_page_breaks_the_content_security_policy(tab: Tab) -> None:
    page = tab.page
    tab.log_in()
    for name, address in PAGES.items():
        tab.open(address)
        tab.look(name)
        assert tab.errors == [], name
    for name in ("agencies", "users", "tasks"):
        tab.open(PAGES[name])
        page.locator("#result_list tbody th a").first.click()
        page.wait_for_url(re.compile("/change/"))
        tab.look(f"change-{name}")
        assert tab.errors == [], name


def test_a_key_is_typed_in_and_the_task_run_by_hand(tab: Tab, site: Project) -> None:
    page = tab.page
    tab.log_in()
    tab.open(PAGES["add-agency"])
    page.get_by_label("Name:").fill("Typed in")
    page.get_by_label("New Ultravox API key:").fill("typed-in-key-wxyz")
    page.get_by_role("button", name="Save and continue editing").click()
    page.wait_for_url(re.compile("/change/"))
    assert page.get_by_label("New Ultravox API key:").input_value() == ""
    assert "••••wxyz" in page.content()
    assert "typed-in" not in page.content()

    tab.open(PAGES["add-task"])
    assert "voices.sync_voices" in page.locator("#id_regtask option").all_inner_texts()
    tab.open(PAGES["tasks"])
    page.locator("input.action-select").check()
    page.get_by_label("Action:").select_option("run_tasks")
    page.locator("button[name=index]").click()
    assert "1 task was successfully run" in page.locator(".messagelist").inner_text()
    [message] = (site.folder / "broker" / "messages").iterdir()
    assert "voices.sync_voices" in message.read_text()
    assert tab.errors == []
