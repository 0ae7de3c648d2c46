"""`make screenshots`: take the README's pictures of the page, in light and dark.

Uses the production web server, and voices from the sandbox. Needs Debian's chromium and
fonts-noto-color-emoji.
"""

import os
import tempfile
from pathlib import Path

import django
from playwright.sync_api import Page

from sandbox import API_KEY, Sandbox
from sandbox.faults import FAULTS
from tests.support.project import ROOT, Project, own_project

FOLDER = ROOT / "docs" / "screenshots"
EMAIL = "anna@agency.example"


def main() -> None:
    os.environ["DJANGO_SETTINGS_MODULE"] = "tests.settings"
    django.setup()
    from tests.browser.tab import Tab, open_browser
    from tests.support.seeding import add_agency, add_user

    FOLDER.mkdir(exist_ok=True)
    with (
        tempfile.TemporaryDirectory() as folder,
        Sandbox() as sandbox,
        own_project(None, Path(folder), ULTRAVOX_API_URL=sandbox.url) as project,
        open_browser() as browser,
    ):
        project.manage("migrate", "-v", "0")
        add_user(project, add_agency(project, key=API_KEY), EMAIL)
        create_history(project, sandbox)
        url = project.serve()
        sandbox.latency = 3  # seconds, to show a sync in progress
        for name in ("light", "dark"):
            page = browser.new_page(viewport={"width": 1240, "height": 800}, color_scheme=name)
            Tab(page, url, Path(folder)).log_in(EMAIL)
            interact(page)
            page.screenshot(path=FOLDER / f"{name}.png")
            page.get_by_role("region", name="Sync").get_by_text("Synced 299 voices").wait_for()
            page.close()


def create_history(project: Project, sandbox: Sandbox) -> None:
    """Sync nine times. One sync fails, and the last ones no longer list one voice."""
    for number in range(9):
        sandbox.latency = (0.1, 0.4, 0.2)[number % 3]
        sandbox.fault = FAULTS["html"] if number == 4 else None
        if number == 6:
            [amelie] = [voice for voice in sandbox.api.voices if voice["name"] == "Amélie"]
            sandbox.api.voices.remove(amelie)
        project.manage("sync_voices")


def interact(page: Page) -> None:
    """Select a voice, add three to the shortlist, start a sync, and play a voice."""
    rows = page.get_by_role("list", name="Voices").get_by_role("listitem")
    rows.first.wait_for()
    rows.nth(1).get_by_role("radio").check()
    for number in (0, 4, 5):
        rows.nth(number).get_by_role("button", name="Shortlist").click()
    page.get_by_role("button", name="Sync from Ultravox").click()
    page.get_by_text("100 of 299 voices").wait_for()
    rows.nth(2).get_by_role("button", name="Play").click()
    page.locator("voice-play[state=playing]").wait_for()
    page.evaluate("window.scrollTo(0, 0)")
    page.wait_for_timeout(400)


if __name__ == "__main__":
    main()
