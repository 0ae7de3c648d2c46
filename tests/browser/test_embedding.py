"""docs/embedding.md, to the letter: a dashboard on another origin, with a policy of its own, and the API."""

import json
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import jwt
import pytest

from agencies.models import User
from sandbox import Sandbox
from tests.browser.tab import Tab, needs_chromium, opened_browser, wait_until
from tests.support import npm
from tests.support.environment import SERVICE_KEY
from tests.support.project import Database, own_project
from tests.support.seeding import add_agency, add_user

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "embedding.md"
SERVICE, SUPABASE = "https://voices.example.com", "https://project.supabase.co"
HEAD = """</title><script src="/supabase.js"></script>
<link rel="stylesheet" href="/style.css"><link rel="icon" href="data:,">"""
SECRET = "the-supabase-jwt-secret-of-the-tests-0123456789"

pytestmark = [pytest.mark.browser, needs_chromium]


class Dashboard(ThreadingHTTPServer):
    """The dashboard, and in one its Supabase project, which logs everybody in."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.files: dict[str, tuple[str, str]] = {}
        self.headers: dict[str, str] = {}
        self.user: User | None = None
        self.submitted: list[dict[str, list[str]]] = []


class _Handler(BaseHTTPRequestHandler):
    server: Dashboard

    def do_GET(self) -> None:
        kind, text = self.server.files.get(self.path, ("", ""))
        self._answer(200 if kind else 404, kind or "text/plain", text)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        if self.path == "/assistants":
            self.server.submitted.append(parse_qs(body))
            self._answer(200, "text/html", "<!doctype html><title>Saved</title>")
            return
        user, now = self.server.user, int(time.time())
        assert user is not None
        claims = {
            "sub": str(user.pk), "aud": "authenticated", "iss": f"{self.server.url}/auth/v1",
            "exp": now + 3600, "role": "authenticated",
        }  # fmt: skip
        session = {
            "access_token": jwt.encode(claims, SECRET, "HS256"), "token_type": "bearer",
            "expires_in": 3600, "expires_at": now + 3600, "refresh_token": "once",
            "user": {"id": str(user.pk), "email": user.email},
        }  # fmt: skip
        self._answer(200, "application/json", json.dumps(session))

    def _answer(self, status: int, kind: str, text: str) -> None:
        body = text.encode()
        self.send_response(status)
        for name, value in self.server.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Type", f"{kind}; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def dashboard() -> Iterator[Dashboard]:
    with Dashboard() as server:
        thread = threading.Thread(target=server.serve_forever, args=[0.01])
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_what_the_document_says(migrated: Database, tmp_path: Path, dashboard: Dashboard) -> None:
    npm.install(npm.SUPABASE)
    with (
        Sandbox(count=60) as sandbox,
        own_project(
            migrated, tmp_path, ULTRAVOX_API_URL=sandbox.url, CORS_ALLOWED_ORIGINS=dashboard.url,
            SUPABASE_URL=dashboard.url, SUPABASE_JWT_SECRET=SECRET,
        ) as project,
        opened_browser() as browser,
    ):  # fmt: skip
        dashboard.user = add_user(project, add_agency(project, key="sandbox-key"))
        assert project.manage("sync_voices").returncode == 0
        url = project.serve("--workers=1")
        text = DOCUMENT.read_text().replace(SERVICE, url).replace(SUPABASE, dashboard.url)
        page, script, policy, style, curl, fetch, invoke, python = re.findall(
            r"^```\w*\n(.*?)^```", text, re.DOTALL | re.MULTILINE
        )
        # npm's package as one file, and previews of the sandbox, which speaks no HTTPS
        bundled = "const { createClient } = supabaseJs"
        script = script.replace("import { createClient } from '@supabase/supabase-js'", bundled)
        supabase_js = npm.SUPABASE_JS.read_text() + "\nglobalThis.supabaseJs = supabase;"
        dashboard.headers["Content-Security-Policy"] = policy.strip().replace(
            "https:;", "http:; img-src data:;"
        )
        script += "\nObject.assign(globalThis, { supabase, picker })"
        dashboard.files = {
            "/": ("text/html", page.replace("</title>", HEAD)),
            "/dashboard.js": ("text/javascript", script),
            "/supabase.js": ("text/javascript", supabase_js),
            "/style.css": ("text/css", style),
        }  # fmt: skip

        elsewhere = f"http://localhost:{sandbox.port}/audio/"
        tab = Tab(browser.new_page(), dashboard.url, tmp_path, (url, elsewhere))
        tab.page.set_default_timeout(10_000)
        use(tab, dashboard)

        token = tab.page.evaluate(
            "supabase.auth.getSession().then((it) => it.data.session.access_token)"
        )
        prelude = "const { createClient } = supabaseJs;"
        heard = tab.page.evaluate(
            f"async (token) => {{ {prelude} {fetch}; return [count, results] }}", token
        )
        assert [heard[0], heard[1][0]["name"]] == [1, "Amélie"]
        for code in (invoke, invoke.replace("'voices-list'", "'voices-list?language=fr'")):
            found = tab.page.evaluate(
                f"async (token) => {{ {prelude} {code}; return [data, error] }}", token
            )
            assert found[1] is None
        assert {voice["primary_language"] for voice in found[0]["results"]} == {"fr-FR", "fr-CA"}

        assert tab.errors == []  # nor was anything that the policy refuses
        environment = os.environ | {"SERVICE_API_KEY": SERVICE_KEY}
        for command in (["sh", "-c", curl], [sys.executable, "-c", python]):
            out = subprocess.run(
                command, env=environment, capture_output=True, text=True, check=True
            )
            assert "Amélie" in out.stdout


def use(tab: Tab, dashboard: Dashboard) -> None:
    """Sign in, hear a voice, choose one, and submit the form."""
    page = tab.page
    tab.open("/")
    page.get_by_role("heading", name="You are signed out").wait_for()
    tab.errors.clear()  # 401
    page.evaluate(
        "supabase.auth.signInWithPassword({ email: 'user@example.com', password: 'any' })"
    )
    page.get_by_role("button", name="Try again").click()  # asks for the token again
    rows = page.get_by_role("list", name="Voices").get_by_role("listitem")
    rows.first.wait_for()
    languages = rows.locator(".where p").all_text_contents()
    assert all("English" in language for language in languages)
    page.get_by_role("button", name="Save").click()
    assert dashboard.submitted == []  # none is chosen, and one is required
    page.evaluate(
        "picker.addEventListener('voice-play', (it) => { globalThis.heard = it.detail.name })"
    )
    rows.first.get_by_role("button", name="Play Alistair").click()
    wait_until(page, lambda: page.evaluate("globalThis.heard") == "Alistair", "the sound")
    wait_until(
        page, lambda: page.locator("audio").evaluate_all("(all) => all[0]?.currentTime > 0"), "time"
    )
    page.evaluate(
        "picker.addEventListener('change', (it) => { globalThis.chosen = [it.target.value, it.detail.name] })"
    )
    rows.nth(1).get_by_role("radio").check()
    value, name = page.evaluate("chosen")
    assert name == rows.nth(1).locator("label").inner_text()
    assert page.evaluate("new FormData(document.forms[0]).get('voice')") == value
    assert page.evaluate(
        "getComputedStyle(picker.shadowRoot.querySelector('.name')).fontFamily"
    ).startswith("Georgia")
    page.evaluate("document.forms[0].reset()")
    assert page.evaluate("picker.value") == ""
    rows.nth(1).get_by_role("radio").check()
    page.get_by_role("button", name="Save").click()
    page.wait_for_url("**/assistants")
    assert dashboard.submitted == [{"voice": [value]}]
    tab.open("/")  # the session is kept
    rows.first.wait_for()
