"""What the page takes until a voice is in view, in a browser that has never seen it."""

import statistics
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Request, sync_playwright

from benchmarks.services import EMAIL, PASSWORD

CHROMIUM = Path("/usr/bin/chromium")
ROUNDS = 5


@dataclass
class Page:
    """The most requests, and bytes of script and style before compression, and the median of seconds."""

    requests: int
    size: int
    seconds: float


def page(site: str) -> Page | None:
    """Return what the page of a site costs; None without a browser."""
    if not CHROMIUM.exists():
        return None
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox"])
        session = _log_in(browser, site)
        rounds = [_open(browser, site, session) for _ in range(ROUNDS + 1)][1:]
        browser.close()
    requests, sizes, seconds = zip(*rounds, strict=True)
    return Page(max(requests), max(sizes), statistics.median(seconds))


def _log_in(browser: Browser, site: str) -> Any:
    context = browser.new_context()
    tab = context.new_page()
    tab.goto(f"{site}/login/")
    tab.get_by_label("E-mail address").fill(EMAIL)
    tab.get_by_label("Password").fill(PASSWORD)
    tab.get_by_role("button", name="Log in").click()
    tab.wait_for_url(f"{site}/")
    state = context.storage_state()
    context.close()
    return state


def _open(browser: Browser, site: str, session: Any) -> tuple[int, int, float]:
    context = browser.new_context(storage_state=session)
    tab = context.new_page()
    asked: list[Request] = []
    tab.on("request", lambda request: asked.append(request))
    began = time.perf_counter()
    tab.goto(f"{site}/", wait_until="commit")
    tab.get_by_role("list", name="Voices").get_by_role("listitem").first.wait_for()
    took = time.perf_counter() - began
    requests = len(asked)
    answers = [
        it.response() for it in asked[:requests] if it.resource_type in ("script", "stylesheet")
    ]
    size = sum(len(answer.body()) for answer in answers if answer)
    context.close()
    return requests, size, took
