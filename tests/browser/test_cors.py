"""A dashboard in a real browser, on another origin: supabase-js preflights, and reads the answers."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.browser.tab import needs_chromium, opened_browser
from tests.support import npm
from tests.support.answers import TOKEN
from tests.support.environment import PASSWORD, SERVICE_KEY
from tests.support.project import Database, own_project
from tests.support.seeding import add_agency, add_user
from tests.ultravox import Ultravox

GOOD = {"success": True, "message": "Synced 3 voices from Ultravox", "stats": {"synced": 3}}
PAGE = b'<!doctype html><title>Dashboard</title><script src="/supabase.js"></script>'
INVOKE = """
async ({ url, key, token, name, invoke }) => {
  const headers = token ? { Authorization: `Bearer ${token}` } : {};
  const client = supabase.createClient(url, key, { global: { headers } });
  const { data, error } = await client.functions.invoke(name ?? "voices-sync", invoke ?? {});
  const context = error?.context instanceof Response ? error.context : null;
  return {
    data,
    error: error && {
      name: error.name,
      status: context && context.status,
      body: context && await context.json(),
    },
  };
}
"""
HEAR = """
async (url) => {
  const response = await fetch(url, { headers: { Range: "bytes=0-1" } });
  const range = response.headers.get("Content-Range");
  return {
    status: response.status,
    range: range && range.replace(/[0-9]+$/, ""),
    etag: response.headers.has("ETag"),
  };
}
"""

pytestmark = [pytest.mark.browser, needs_chromium]


class Dashboard(BaseHTTPRequestHandler):
    """A page with supabase-js."""

    def do_GET(self) -> None:
        files = {
            "/": lambda: (PAGE, "text/html"),
            "/supabase.js": lambda: (npm.SUPABASE_JS.read_bytes(), "text/javascript"),
        }
        body, content_type = files.get(self.path, lambda: (b"", "text/plain"))()
        self.send_response(200 if body else 404)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def origins() -> Iterator[list[str]]:
    """The origins of two dashboards."""
    servers = [ThreadingHTTPServer(("127.0.0.1", 0), Dashboard) for _ in range(2)]
    threads = [threading.Thread(target=server.serve_forever, args=[0.01]) for server in servers]
    for thread in threads:
        thread.start()
    yield [f"http://127.0.0.1:{server.server_port}" for server in servers]
    for server, thread in zip(servers, threads, strict=True):
        server.shutdown()
        thread.join()
        server.server_close()


def test_functions_invoke_in_a_browser(
    migrated: Database, tmp_path: Path, origins: list[str]
) -> None:
    npm.install(npm.SUPABASE)
    known, stranger = origins
    with (
        Ultravox(count=3) as ultravox,
        own_project(
            migrated,
            tmp_path,
            ULTRAVOX_API_URL=ultravox.url,
            CORS_ALLOWED_ORIGINS=f"https://another.example.com , {known}/ ",
        ) as project,
        opened_browser() as browser,
    ):
        add_user(project, add_agency(project))
        url = project.serve("--workers=1")
        body = {"email": "user@example.com", "password": PASSWORD}
        token = requests.post(f"{url}{TOKEN}", json=body).json()["access"]
        page = browser.new_page()
        seen: list[tuple[str, str]] = []
        page.on("request", lambda request: seen.append((request.method, request.url)))
        service = {"url": url, "key": SERVICE_KEY}
        user = {"url": url, "key": "an-anon-key", "token": token}
        page.goto(known)
        for way in (service, user, service | {"invoke": {"body": {"any": "thing"}}}):
            assert page.evaluate(INVOKE, way) == {"data": GOOD, "error": None}
        assert ("POST", f"{url}/functions/v1/voices-sync") in seen
        listing = {"name": "voices-list", "invoke": {"method": "GET", "region": "eu-west-1"}}
        voices = page.evaluate(INVOKE, user | listing)["data"]
        assert (voices["count"], len(voices["results"])) == (3, 3)
        [keyed] = [voice for voice in voices["results"] if voice["name"] == "Bronte"]
        heard = page.evaluate(HEAR, keyed["preview_url"])
        assert heard == {"status": 206, "range": "bytes 0-1/", "etag": True}
        # What the page reads of an error
        for way in (user | {"token": "expired"}, {"url": url, "key": "an-anon-key"}):
            outcome = page.evaluate(INVOKE, way)
            error = outcome["error"]
            assert (outcome["data"], error["name"]) == (None, "FunctionsHttpError")
            assert (error["status"], error["body"]["code"]) == (401, "invalid_token")
        page.goto(stranger)
        outcome = page.evaluate(INVOKE, service | {"token": token})
        unread = {"name": "FunctionsFetchError", "status": None, "body": None}
        assert outcome == {"data": None, "error": unread}
        assert token not in json.dumps(outcome)
