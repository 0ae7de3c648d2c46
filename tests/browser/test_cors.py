"""supabase-js on a dashboard on another origin, in a real browser."""

from pathlib import Path
from typing import Any

import pytest
import requests

from tests.browser.dashboard import Dashboard
from tests.browser.tab import needs_chromium
from tests.support import npm
from tests.support.answers import TOKEN
from tests.support.environment import PASSWORD, SERVICE_KEY
from tests.support.project import Database, own_project
from tests.support.seeding import add_agency, add_user
from tests.ultravox import Ultravox

GOOD = {"success": True, "message": "Synced 3 voices from Ultravox", "stats": {"synced": 3}}
PAGE = '<!doctype html><title>Dashboard</title><script src="/supabase.js"></script>'
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
PLAY = """
async (url) => {
  const response = await fetch(url, { headers: { Range: "bytes=0-1" } });
  const range = response.headers.get("Content-Range");
  return {
    status: response.status,
    range: range && range.replace(/[0-9]+$/, ""),
  };
}
"""

pytestmark = [pytest.mark.browser, needs_chromium]


def test_functions_invoke_in_a_browser(migrated: Database, tmp_path: Path, browser: Any) -> None:
    npm.install(npm.SUPABASE)
    with (
        Dashboard() as configured,
        Dashboard() as stranger,
        Ultravox(count=3) as ultravox,
        own_project(
            migrated,
            tmp_path,
            ULTRAVOX_API_URL=ultravox.url,
            CORS_ALLOWED_ORIGINS=f"https://another.example.com , {configured.url}/ ",
        ) as project,
    ):
        script = ("text/javascript", npm.SUPABASE_JS.read_text())
        configured.files = stranger.files = {"/": ("text/html", PAGE), "/supabase.js": script}
        add_user(project, add_agency(project))
        url = project.serve("--workers=1")
        body = {"email": "user@example.com", "password": PASSWORD}
        token = requests.post(f"{url}{TOKEN}", json=body).json()["access"]
        page = browser.new_page()
        service = {"url": url, "key": SERVICE_KEY}
        user = {"url": url, "key": "an-anon-key", "token": token}
        page.goto(configured.url)
        for call in (service, user):
            assert page.evaluate(INVOKE, call) == {"data": GOOD, "error": None}
        listing = {"name": "voices-list", "invoke": {"method": "GET", "region": "eu-west-1"}}
        voices = page.evaluate(INVOKE, user | listing)["data"]
        assert (voices["count"], len(voices["results"])) == (3, 3)
        [voice] = [voice for voice in voices["results"] if voice["name"] == "Bronte"]
        response = page.evaluate(PLAY, voice["preview_url"])
        assert response == {"status": 206, "range": "bytes 0-1/"}
        error = page.evaluate(INVOKE, user | {"token": "expired"})["error"]
        assert (error["name"], error["status"]) == ("FunctionsHttpError", 401)
        assert error["body"]["code"] == "invalid_token"  # the page can read errors
        page.goto(stranger.url)
        outcome = page.evaluate(INVOKE, service | {"token": token})
        unreadable = {"name": "FunctionsFetchError", "status": None, "body": None}
        assert outcome == {"data": None, "error": unreadable}
