"""A tab of Debian's Chromium, and helpers to use the page in it."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe

from tests.support.environment import PASSWORD
from tests.support.project import wait_for

CHROMIUM = Path("/usr/bin/chromium")
needs_chromium = pytest.mark.skipif(
    not CHROMIUM.exists(), reason=f"needs {CHROMIUM}: apt install chromium"
)


@contextlib.contextmanager
def open_browser() -> Iterator[Any]:
    """Open a browser. Until it is closed, its event loop blocks Django's database in this thread."""
    playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(
            executable_path=str(CHROMIUM),
            args=["--no-sandbox", "--autoplay-policy=document-user-activation-required"],
        )
        yield browser
        browser.close()


class Tab:
    """A tab on one site. It records the page's errors, and requests to hosts other than `hosts`."""

    def __init__(self, page: Any, site: str, folder: Path, hosts: tuple[str, ...] = ()) -> None:
        self.page, self.site, self.folder = page, site, folder
        self.errors: list[str] = []
        page.set_default_timeout(10_000)
        page.on("console", lambda it: self._record(it.text, it.type in ("error", "warning")))
        page.on("pageerror", lambda error: self._record(error))
        # Leaving a page aborts its requests, for its icon or a preview.
        page.on("requestfailed", lambda it: self._record(it.url, it.failure != "net::ERR_ABORTED"))
        page.on(
            "response",
            lambda it: self._record(
                it.url, it.status >= 400 or not it.url.startswith((site, *hosts))
            ),
        )

    def _record(self, error: Any, is_error: bool = True) -> None:
        if is_error:
            self.errors.append(f"{self.page.url}: {error}")

    def open(self, address: str) -> None:
        self.page.goto(self.site + address)

    def open_html(self, html: str) -> None:
        """Open a page with this HTML on the site's origin."""
        body = f"<!doctype html><title>Test</title>{html}"
        self.page.route("**/test", lambda it: it.fulfill(content_type="text/html", body=body))
        self.open("/test")

    def log_in(self, email: str, address: str = "/") -> None:
        """Open an address, which requires to sign in first."""
        self.open(address)
        self.page.locator("input[name=username]").fill(email)
        self.page.locator("input[name=password]").fill(PASSWORD)
        self.page.locator("form [type=submit]").click()
        self.page.wait_for_url(self.site + address)

    def look(self, name: str, widths: tuple[int, ...] = (1280, 800)) -> None:
        """Take a screenshot at each width. The page must be free of errors and fit the window."""
        for width in widths:
            self.page.set_viewport_size({"width": width, "height": 800})
            self.page.screenshot(path=self.folder / f"{name}-{width}.png")
            wide = self.page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
            assert wide <= 0, f"{name} is wider than {width} by {wide}"
        assert self.errors == [], f"{name}: {self.errors}"

    def _violations(self) -> list[tuple[str, list[str]]]:
        """Return the rules that axe finds violated, with the HTML of the elements."""
        return [
            (violation["id"], [node["html"] for node in violation["nodes"]])
            for violation in Axe().run(self.page).response["violations"]
        ]

    def check(self, name: str, *, provoked: bool = False) -> None:
        """Check that the page is accessible, dark and light, and look at it, also on a phone.

        `provoked`: the test caused the errors so far, so they are ignored.
        """
        if provoked:
            self.errors.clear()
        for scheme in ("dark", "light"):
            self.page.emulate_media(color_scheme=scheme)
            with contextlib.suppress(AssertionError):
                wait_for(lambda: not self._violations(), 3)  # the page may still be changing
            assert self._violations() == [], f"{name}, {scheme}"
            self.look(f"{name}-{scheme}", (320, 1280))

    def rows(self) -> Any:
        return self.page.get_by_role("list", name="Voices").get_by_role("listitem")

    def row(self, name: str) -> Any:
        radio = self.page.get_by_role("radio", name=name, exact=True)
        return self.rows().filter(has=radio)

    def names(self) -> list[str]:
        return self.rows().locator("label").all_text_contents()

    def wait_for_count(self, text: str) -> None:
        self.page.get_by_role("status").get_by_text(text, exact=True).wait_for()

    def sync(self) -> None:
        self.page.get_by_role("button", name="Sync from Ultravox").click()

    def wait_for_sync_status(self, text: str) -> None:
        """Wait for a text in the status of the sync."""
        region = self.page.get_by_role("region", name="Sync")
        region.get_by_role("status").get_by_text(text).wait_for()

    def record_played(self) -> list[str]:
        """Return a list that grows by the name of each voice that plays."""
        names: list[str] = []
        self.page.expose_function("record", lambda name: names.append(name))
        listen = "document.addEventListener('voice-play', (it) => record(it.detail.name))"
        self.page.evaluate(listen)
        return names

    def search(self, text: str) -> None:
        self.page.get_by_role("searchbox", name="Search voices").fill(text)

    def shortlist(self, *names: str) -> None:
        for name in names:
            self.row(name).get_by_role("button", name=f"Shortlist {name}", exact=True).click()

    def play(self, name: str) -> None:
        self.row(name).get_by_role("button", name=f"Play {name}", exact=True).click()

    def heard(self) -> float:
        """Return the seconds of the current preview that have played."""
        audio = self.page.locator("audio")
        return float(audio.evaluate("(it) => it.currentTime")) if audio.count() else 0.0

    def focused(self) -> str:
        """Return the accessible name of the focused element, in any shadow tree."""
        return str(self.page.evaluate(FOCUSED))

    def tab_to(self, name: str) -> None:
        """Press Tab until the element with this name has the focus."""
        for _ in range(80):
            self.page.keyboard.press("Tab")
            if self.focused() == name:
                return
        raise AssertionError(f"{name} was not reached")


FOCUSED = """() => {
  let focus = document.activeElement;
  while (focus?.shadowRoot?.activeElement) focus = focus.shadowRoot.activeElement;
  return focus.ariaLabel || focus.labels?.[0]?.innerText || focus.innerText || '';
}"""


def wait_until(page: Any, condition: Callable[[], bool], event: str) -> None:
    """Wait up to ten seconds for a condition, while the page handles its events."""
    for _ in range(200):
        if condition():
            return
        page.wait_for_timeout(50)
    raise AssertionError(f"{event} did not come")
