"""A tab of Debian's Chromium, and what a person sees and hears in it."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe

from tests.support.environment import PASSWORD

CHROMIUM = Path("/usr/bin/chromium")
needs_chromium = pytest.mark.skipif(
    not CHROMIUM.exists(), reason=f"needs {CHROMIUM}: apt install chromium"
)


@contextlib.contextmanager
def opened_browser() -> Iterator[Any]:
    """Yield a browser, for this test: its event loop in this thread would keep others from the database."""
    playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(
            executable_path=str(CHROMIUM),
            args=["--no-sandbox", "--autoplay-policy=document-user-activation-required"],
        )
        yield browser
        browser.close()


class Tab:
    """A page of the browser on one site, which may ask others, and what went wrong on it."""

    def __init__(self, page: Any, site: str, folder: Path, others: tuple[str, ...] = ()) -> None:
        self.page, self.site, self.folder = page, site, folder
        self.errors: list[str] = []
        page.on("console", lambda it: self._note(it.text, it.type in ("error", "warning")))
        page.on("pageerror", lambda error: self._note(error))
        # A page may be left while it is still loading, its icon for example; so may a sound.
        page.on("requestfailed", lambda it: self._note(it.url, it.failure != "net::ERR_ABORTED"))
        page.on(
            "response",
            lambda it: self._note(
                it.url, it.status >= 400 or not it.url.startswith((site, *others))
            ),
        )

    def _note(self, what: Any, is_wrong: bool = True) -> None:
        if is_wrong:
            self.errors.append(f"{self.page.url}: {what}")

    def open(self, address: str) -> None:
        self.page.goto(self.site + address)

    def log_in(self, email: str, address: str = "/") -> None:
        """Open an address, which asks for a login first."""
        self.open(address)
        self.enter(email, PASSWORD)
        self.page.wait_for_url(self.site + address)

    def enter(self, email: str, password: str) -> None:
        self.page.get_by_label("E-mail address").fill(email)
        self.page.get_by_label("Password").fill(password)
        self.page.get_by_role("button", name="Log in").click()

    def look(self, name: str = "", widths: tuple[int, ...] = (1280, 800)) -> None:
        """Take a picture at each width, and refuse a page that is broken, or wider than the window."""
        name = name or self.page.url.removeprefix(self.site).strip("/").replace("/", "-")
        for width in widths:
            self.page.set_viewport_size({"width": width, "height": 800})
            self.page.screenshot(path=self.folder / f"{name}-{width}.png")
            wide = self.page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
            assert wide <= 0, f"{name} is wider than {width} by {wide}"
        assert self.errors == [], name

    def check(self, name: str, *, provoked: bool = False) -> None:
        """Look, on a phone, too, and refuse what keeps people from using the page, light or dark.

        What was noted as wrong so far is forgotten if it was provoked.
        """
        if provoked:
            self.errors.clear()
        for scheme in ("dark", "light"):
            self.page.emulate_media(color_scheme=scheme)
            found = Axe().run(self.page)
            assert not found.violations_count, f"{name}, {scheme}: {found.generate_report()}"
            self.look(f"{name}-{scheme}", (320, 1280))

    def rows(self) -> Any:
        return self.page.get_by_role("list", name="Voices").get_by_role("listitem")

    def row(self, name: str) -> Any:
        """Return the row of a voice."""
        radio = self.page.get_by_role("radio", name=name, exact=True)
        return self.rows().filter(has=radio)

    def names(self) -> list[str]:
        return self.rows().locator("label").all_text_contents()

    def wait_for_count(self, text: str) -> None:
        self.page.get_by_role("status").get_by_text(text, exact=True).wait_for()

    def heard(self) -> float:
        """Return how many seconds of the voice that plays were heard."""
        audio = self.page.locator("audio")
        return float(audio.evaluate("(it) => it.currentTime")) if audio.count() else 0.0

    def focused(self) -> tuple[str, float]:
        """Return the accessible name of what has the focus, in whichever shadow, and where it ends."""
        name, bottom = self.page.evaluate(FOCUSED)
        return name, bottom

    def tab_to(self, name: str) -> None:
        """Press Tab until what is called so has the focus."""
        for _ in range(80):
            self.page.keyboard.press("Tab")
            if self.focused()[0] == name:
                return
        raise AssertionError(f"{name} was not reached")


FOCUSED = """() => {
  let found = document.activeElement;
  while (found?.shadowRoot?.activeElement) found = found.shadowRoot.activeElement;
  const name = found.ariaLabel || found.labels?.[0]?.innerText || found.innerText || '';
  return [name, found.getBoundingClientRect().bottom];
}"""


def wait_until(page: Any, condition: Callable[[], bool], what: str) -> None:
    """Wait for a condition of the page, whose events go on, for up to ten seconds."""
    for _ in range(200):
        if condition():
            return
        page.wait_for_timeout(50)
    raise AssertionError(f"{what} did not come")
