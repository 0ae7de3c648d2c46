"""A dashboard in a real browser, on another origin: supabase-js preflights, and reads the answers."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.support import supabase_js
from tests.support.answers import TOKEN
from tests.support.environment import SERVICE_KEY
from tests.support.project import Database, Project
from tests.ultravox import API_KEY, Ultravox

CHROMIUM = Path("/usr/bin/chromium")
GOOD = {"success": True, "message": "Synced 3 voices from Ultravox", "stats": {"synced": 3}}
EMAIL, PASSWORD = "user@example.com", "a password of the tests"
PAGE = b'<!doctype html><title>Dashboard</title><script src="/supabase.js"></script>'
INVOKE = """
async ({ url, key, token, invoke }) => {
  const headers = token ? { Authorization: `Bearer ${token}` } : {};
  const client = supabase.createClient(url, key, { global: { headers } });
  const { data, error } = await client.functions.invoke("voices-sync", invoke ?? {});
  const context = error?.context;
  return {
    data,
    error: error && {
      name: error.name,
      status: context instanceof Response ? context.status : null,
      body: context instanceof Response ? await context.json() : null,
    },
  };
}
"""

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not CHROMIUM.exists(), reason=f"needs {CHROMIUM}: it is missing"),
]


class Dashboard:
    """A web server of a page with supabase-js, on an origin of its own."""

    def __init__(self, package: Path) -> None:
        script = (package / supabase_js.BROWSER_BUILD.relative_to(package)).read_bytes()
        files = {"/": (PAGE, "text/html"), "/supabase.js": (script, "text/javascript")}

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                body, content_type = files.get(self.path, (b"", "text/plain"))
                self.send_response(200 if body else 404)
                self.send_header("Content-Type", content_type)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.origin = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.01}
        )
        self._thread.start()

    def stop(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture(scope="module")
def dashboards() -> Iterator[tuple[Dashboard, Dashboard]]:
    """A dashboard that is configured, and one that is not."""
    package = supabase_js.install()
    known, stranger = Dashboard(package), Dashboard(package)
    try:
        yield known, stranger
    finally:
        known.stop()
        stranger.stop()


@pytest.fixture(scope="module")
def served(
    migrated: Database,
    tmp_path_factory: pytest.TempPathFactory,
    dashboards: tuple[Dashboard, Dashboard],
) -> Iterator[tuple[str, str]]:
    """The URL of a web server, and a user's token."""
    folder = tmp_path_factory.mktemp("cors")
    database = Database.create(folder, migrated)
    with Ultravox(count=3) as ultravox:
        project = Project(
            database,
            folder,
            ULTRAVOX_API_URL=ultravox.url,
            CORS_ALLOWED_ORIGINS=f"https://another.example.com , {dashboards[0].origin}/ ",
            WEB_CONCURRENCY="1",
        )
        try:
            project.seed(key=API_KEY, email=EMAIL, password=PASSWORD)
            url = project.serve()
            body = {"email": EMAIL, "password": PASSWORD}
            yield url, requests.post(f"{url}{TOKEN}", json=body).json()["access"]
        finally:
            project.stop()
            database.drop()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox"])
        try:
            yield browser
        finally:
            browser.close()


def test_functions_invoke_in_a_browser(
    browser: Any, dashboards: tuple[Dashboard, Dashboard], served: tuple[str, str]
) -> None:
    url, token = served
    page = browser.new_page()
    seen: list[tuple[str, str]] = []
    page.on("request", lambda request: seen.append((request.method, request.url)))
    page.goto(dashboards[0].origin)
    service = {"url": url, "key": SERVICE_KEY}
    user = {"url": url, "key": "an-anon-key", "token": token}
    assert page.evaluate(INVOKE, service) == {"data": GOOD, "error": None}
    assert page.evaluate(INVOKE, user) == {"data": GOOD, "error": None}
    with_body = service | {"invoke": {"body": {"any": "thing"}}}
    assert page.evaluate(INVOKE, with_body) == {"data": GOOD, "error": None}
    # What the page reads of an error
    outcome = page.evaluate(INVOKE, user | {"token": "expired"})
    assert outcome["data"] is None
    assert outcome["error"]["name"] == "FunctionsHttpError"
    assert outcome["error"]["status"] == 401
    assert outcome["error"]["body"]["code"] == "invalid_token"
    outcome = page.evaluate(INVOKE, {"url": url, "key": "an-anon-key"})
    assert outcome["error"]["status"] == 401
    assert ("POST", f"{url}/functions/v1/voices-sync") in seen
    page.close()


def test_another_origin_reads_nothing(
    browser: Any, dashboards: tuple[Dashboard, Dashboard], served: tuple[str, str]
) -> None:
    url, token = served
    page = browser.new_page()
    page.goto(dashboards[1].origin)
    outcome = page.evaluate(INVOKE, {"url": url, "key": SERVICE_KEY, "token": token})
    assert outcome["data"] is None
    assert outcome["error"] == {"name": "FunctionsFetchError", "status": None, "body": None}
    assert token not in json.dumps(outcome)
    page.close()
