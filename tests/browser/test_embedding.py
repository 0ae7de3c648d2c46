"""The examples in docs/embedding.md: a dashboard on another origin under its policy, and the API."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from sandbox import API_KEY, Sandbox
from tests.browser.dashboard import SECRET, Dashboard
from tests.browser.tab import Tab, needs_chromium, wait_until
from tests.support import npm
from tests.support.environment import SERVICE_KEY
from tests.support.project import Database, own_project
from tests.support.seeding import add_agency, add_user

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "embedding.md"
SERVICE, SUPABASE = "https://voices.example.com", "https://project.supabase.co"
HEAD = """</title><script src="/supabase.js"></script>
<link rel="stylesheet" href="/style.css"><link rel="icon" href="data:,">"""

pytestmark = [pytest.mark.browser, needs_chromium]


def test_the_examples(migrated: Database, tmp_path: Path, browser: Any) -> None:
    npm.install(npm.SUPABASE)
    with (
        Dashboard() as dashboard,
        Sandbox(count=60) as sandbox,
        own_project(
            migrated,
            tmp_path,
            ULTRAVOX_API_URL=sandbox.url,
            CORS_ALLOWED_ORIGINS=dashboard.url,
            SUPABASE_URL=dashboard.url,
            SUPABASE_JWT_SECRET=SECRET,
        ) as project,
    ):
        dashboard.user = add_user(project, add_agency(project, key=API_KEY))
        assert project.manage("sync_voices").returncode == 0
        url = project.serve("--workers=1")
        text = DOCUMENT.read_text().replace(SERVICE, url).replace(SUPABASE, dashboard.url)
        page, script, policy, style, curl, fetch, invoke, python = re.findall(
            r"^```\w*\n(.*?)^```", text, re.DOTALL | re.MULTILINE
        )
        # The browser has no bundler, and the sandbox has no HTTPS.
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
        }

        previews = f"http://localhost:{sandbox.port}/audio/"
        tab = Tab(browser.new_page(), dashboard.url, tmp_path, (url, previews))
        use(tab, dashboard)

        token = tab.page.evaluate(
            "supabase.auth.getSession().then((it) => it.data.session.access_token)"
        )
        prelude = "const { createClient } = supabaseJs;"
        fetched = f"async (token) => {{ {fetch}; return [count, results[0].name] }}"
        assert tab.page.evaluate(fetched, token) == [1, "Amélie"]
        invoke = invoke.replace("'voices-list'", "'voices-list?language=fr'")
        invoked = f"async (token) => {{ {prelude} {invoke}; return [data, error] }}"
        data, error = tab.page.evaluate(invoked, token)
        assert error is None
        assert {voice["primary_language"] for voice in data["results"]} == {"fr-FR", "fr-CA"}

        signed_out = (
            "401",
            "/api/voices/?language=en&page=1",
        )  # the first request, without a token
        errors = [each for each in tab.errors if not any(text in each for text in signed_out)]
        assert errors == []  # including violations of the policy
        environment = os.environ | {"SERVICE_API_KEY": SERVICE_KEY}
        for command in (["sh", "-c", curl], [sys.executable, "-c", python]):
            out = subprocess.run(
                command, env=environment, capture_output=True, text=True, check=True
            )
            assert "Amélie" in out.stdout


def use(tab: Tab, dashboard: Dashboard) -> None:
    """Sign in, play a voice, select one, and submit the form."""
    page = tab.page
    tab.open("/")
    page.get_by_role("heading", name="You are signed out").wait_for()
    page.evaluate("supabase.auth.signInWithPassword({ email: 'any', password: 'any' })")
    page.get_by_role("button", name="Try again").click()
    rows = tab.rows()
    rows.first.wait_for()
    languages = rows.locator(".facts p").all_text_contents()
    assert all("English" in language for language in languages)
    page.get_by_role("button", name="Save").click()
    assert dashboard.submitted == []  # a voice is required
    played = tab.record_played()
    tab.play("Alistair")
    wait_until(page, lambda: played == ["Alistair"] and tab.heard() > 0, "the sound")
    radio, label = rows.nth(1).get_by_role("radio"), rows.nth(1).locator("label")
    with page.expect_console_message() as message:  # from the example's `change` listener
        radio.check()
    voice = radio.get_attribute("value")
    assert message.value.text == f"{voice} {label.inner_text()}"
    assert label.evaluate("(it) => getComputedStyle(it).fontFamily").startswith("Georgia")
    page.get_by_role("button", name="Save").click()
    page.wait_for_url("**/assistants")
    assert dashboard.submitted == [{"voice": [voice]}]
    tab.open("/")  # supabase-js stores the session
    rows.first.wait_for()
