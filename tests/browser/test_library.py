"""The page at `/` in a real browser: what an agency's user does there, and what goes wrong meanwhile."""

import re
from typing import Any

import pytest

from sandbox import Sandbox
from sandbox.faults import FAULTS
from tests.browser.conftest import ANNA, BEN, STAFF
from tests.browser.tab import Tab, needs_chromium, wait_until
from tests.support.project import Project

pytestmark = [pytest.mark.browser, needs_chromium]


def test_a_voice_is_found(anna: Tab) -> None:
    page = anna.page
    search = page.get_by_role("searchbox", name="Search voices")
    anna.wait_for_count("300 voices")
    assert anna.rows().count() == 50
    first = page.get_by_role("group", name="Language").locator("label").first
    assert first.inner_text().split() == ["French", "12"]  # the browser's language

    search.press_sequentially("amelie", delay=20)
    wait_until(page, lambda: anna.names()[:2] == ["Amélie", "Amélie 2"], "Amélie")
    assert page.url.endswith("/?search=amelie")
    page.get_by_role("button", name="Clear filters").first.click()
    anna.wait_for_count("300 voices")

    english = page.get_by_role("checkbox", name="English 28")
    english.check()
    anna.wait_for_count("28 voices")
    page.get_by_role("checkbox", name="English (United Kingdom)").check()
    anna.wait_for_count("7 voices")
    assert english.evaluate("(box) => box.indeterminate")
    page.get_by_role("checkbox", name="Cartesia").check()
    anna.wait_for_count("2 voices")
    cartesia = anna.names()
    page.get_by_role("checkbox", name="Eleven Labs").check()
    anna.wait_for_count("4 voices")
    page.get_by_label("Order").select_option("By name, backwards")
    wait_until(page, lambda: anna.names()[0] > anna.names()[-1], "the other order")
    assert page.url.endswith(
        "/?language=en-gb&provider=Cartesia&provider=Eleven+Labs&ordering=-name"
    )

    # The address holds all of it, and Back goes step by step.
    page.reload()
    anna.wait_for_count("4 voices")
    assert page.get_by_role("checkbox", name="Eleven Labs").is_checked()
    page.go_back()
    wait_until(page, lambda: anna.names()[0] < anna.names()[-1], "the order before")
    page.go_back()
    wait_until(page, lambda: anna.names() == cartesia, "the filters before")
    assert not page.get_by_role("checkbox", name="Eleven Labs").is_checked()
    anna.check("filtered")


def test_what_a_row_says_and_more_rows(anna: Tab) -> None:
    page = anna.page
    page.get_by_role("searchbox").fill("Amélie 2")
    private = anna.row("Amélie 2")
    private.get_by_text("Private", exact=True).wait_for()
    assert private.get_by_text("Another provider · Billed by the provider").is_visible()
    assert "VOICE_BILLING" not in page.content()
    page.get_by_role("searchbox").fill("")
    anna.wait_for_count("300 voices")
    anna.rows().nth(1).get_by_role("button", name="Play").click()  # has the focus from now on
    page.get_by_role("button", name="Load more").scroll_into_view_if_needed()
    wait_until(page, lambda: anna.rows().count() == 100, "the second page")

    def is_at_the_end() -> bool:
        page.mouse.wheel(0, 20_000)
        return bool(anna.rows().count() == 300)

    wait_until(page, is_at_the_end, "the last page")
    assert not page.get_by_role("button", name="Load more").is_visible()
    assert len(set(anna.names())) == len(anna.names())


def test_voices_are_heard_one_at_a_time(anna: Tab) -> None:
    page = anna.page
    heard: list[str] = []
    page.expose_function("heard", lambda name: heard.append(name))
    page.evaluate("document.addEventListener('voice-play', (event) => heard(event.detail.name))")
    first, second = "Alistair", "Bronte"
    anna.row(first).get_by_role("button", name=f"Play {first}").click()
    stop = anna.row(first).get_by_role("button", name=f"Stop {first}")
    stop.wait_for()
    wait_until(page, lambda: heard == [first], "the sound")
    wait_until(page, lambda: anna.heard() > 0.2, "time to pass")
    anna.row(second).get_by_role("button", name=f"Play {second}").click()
    wait_until(page, lambda: heard == [first, second], "the other sound")
    assert not stop.is_visible()
    anna.row(second).get_by_role("button", name=f"Stop {second}").click()
    anna.row(second).get_by_role("button", name=f"Play {second}").wait_for()
    assert page.locator("audio").count() == 0

    # A link that has expired is renewed.
    page.evaluate(
        "document.querySelector('voice-picker').shadowRoot.querySelectorAll('li voice-play[src]')"
        ".forEach((it) => it.setAttribute('src', it.getAttribute('src').replace(/:[^:]*$/, ':x')))"
    )
    anna.row(first).get_by_role("button", name="Play").click()
    wait_until(page, lambda: heard[2:] == [first], "the sound by a new link")
    anna.errors.clear()
    page.get_by_role("searchbox").fill("bronte")
    wait_until(page, lambda: len(anna.names()) == 4, "Bronte's voices")
    for name in anna.names():
        anna.row(name).get_by_role("button", name="Shortlist").click()
    page.get_by_role("searchbox").fill("")
    anna.row(first).get_by_role("button", name="Shortlist").click()
    assert anna.row(first).get_by_text("The shortlist holds 4 voices").is_visible()
    anna.check("shortlist")


def test_a_keyboard_does_everything(anna: Tab) -> None:
    page = anna.page
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.get_by_role("searchbox").focus()
    page.keyboard.type("english")
    anna.wait_for_count("28 voices")
    anna.tab_to("Alistair")
    page.keyboard.press("Space")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    chosen = page.get_by_role("radio", checked=True)
    assert [chosen.count(), anna.focused()[0]] == [1, "Alistair 3"]
    picker = page.locator("voice-picker")
    assert picker.evaluate("(it) => it.value") == chosen.get_attribute("value")
    page.keyboard.press("Tab")
    assert anna.focused()[0] == "Play Alistair 3"
    page.keyboard.press("Enter")
    wait_until(page, lambda: anna.heard() > 0, "the sound")
    assert anna.focused()[0] == "Stop Alistair 3"
    page.keyboard.press("Space")
    assert anna.focused()[0] == "Play Alistair 3"
    page.keyboard.press("Tab")
    page.keyboard.press("Space")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    anna.row("Alistair 3").get_by_text("Id copied.").wait_for()
    assert page.evaluate("navigator.clipboard.readText()") == chosen.get_attribute("value")
    assert page.get_by_role("button", name="Remove Alistair 3 from the shortlist").is_visible()


def test_a_sync_and_a_colleagues(tab: Tab, site: Project, sandbox: Sandbox, browser: Any) -> None:
    page = tab.page
    tab.log_in(ANNA)
    page.get_by_role("heading", name="No voices yet").wait_for()
    tab.check("no-voices")
    sandbox.latency = 1.5
    page.get_by_role("button", name="Sync from Ultravox").click()
    status = page.get_by_role("region", name="Sync").get_by_role("status")
    page.get_by_text(
        re.compile(r"100 of 300 voices, page 1 · started by anna@agency.example")
    ).wait_for()
    bar = page.get_by_role("progressbar", name="Voices fetched")
    assert bar.evaluate("(it) => it.value / it.max") == pytest.approx(1 / 3)
    tab.check("syncing")
    status.get_by_text("Synced 300 voices from Ultravox.").wait_for()
    tab.wait_for_count("300 voices")
    assert page.get_by_text("synced just now").is_visible()
    assert not bar.is_visible()
    last = page.get_by_role("table", name="Last syncs").get_by_role("row").nth(1)
    assert "300 voices" in last.inner_text()

    # Ben's
    other = Tab(browser.new_context().new_page(), tab.site, tab.folder)
    other.log_in(BEN)
    other.page.get_by_role("button", name="Sync from Ultravox").click()
    page.evaluate(
        "document.dispatchEvent(new Event('visibilitychange'))"
    )  # as one looks at the tab
    page.get_by_text("started by ben@agency.example").wait_for()
    status.get_by_text("Synced 300 voices from Ultravox.").wait_for()
    tab.check("synced")


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("key_revoked", "rejected your agency's API key. Ask an administrator"),
        ("html", "not JSON"),
    ],
)
def test_a_sync_that_fails(anna: Tab, sandbox: Sandbox, fault: str, words: str) -> None:
    sandbox.fault = FAULTS[fault]
    anna.page.get_by_role("button", name="Sync from Ultravox").click()
    status = anna.page.get_by_role("region", name="Sync").get_by_role("status")
    status.get_by_text(words).wait_for()
    anna.wait_for_count("300 voices")  # as before
    anna.check(fault, provoked=True)
    anna.page.reload()
    status.get_by_text(words).wait_for()  # said to who comes later, too
    anna.page.get_by_role("cell", name="failed").wait_for(state="attached")


def test_without_a_key(tab: Tab, site: Project) -> None:
    site.database.rows("UPDATE agencies SET ultravox_api_key = ''")
    tab.log_in(ANNA)
    tab.page.get_by_role("button", name="Sync from Ultravox").click()
    tab.page.get_by_text("no Ultravox API key").first.wait_for()
    tab.check("no-key", provoked=True)


def test_a_session_that_ends(anna: Tab, site: Project) -> None:
    page = anna.page
    page.get_by_role("checkbox", name="Cartesia").check()
    anna.wait_for_count("69 voices")
    site.database.rows("DELETE FROM django_session")
    page.get_by_role("checkbox", name="Google").check()
    page.get_by_role("heading", name="You are signed out").wait_for()
    anna.check("signed-out", provoked=True)
    page.get_by_role("button", name="Sync from Ultravox").click()
    page.get_by_text("Your session has ended.").first.wait_for()
    page.get_by_role("link", name="Sign in again").last.click()
    anna.enter(ANNA, "wrong")
    page.get_by_role("alert").wait_for()
    anna.check("login", provoked=True)
    anna.log_in(ANNA, "/?provider=Cartesia&provider=Google")
    anna.wait_for_count("116 voices")


def test_nobody_answers(anna: Tab, site: Project) -> None:
    page = anna.page
    site.server.terminate()
    site.server.wait(30)
    page.get_by_role("searchbox").fill("amelie")
    page.get_by_role("heading", name="The voices could not be loaded").wait_for()
    assert page.get_by_text("The voice service does not answer.").first.is_visible()
    anna.check("server-away", provoked=True)
    assert anna.rows().count() == 0
    page.get_by_role("button", name="Sync from Ultravox").click()
    status = page.get_by_role("region", name="Sync").get_by_role("status")
    status.get_by_text("The voice service does not answer.").wait_for()
    port = anna.site.rpartition(":")[2]
    site.start(
        "-m", "gunicorn", "--config", "gunicorn.conf.py", f"--bind=127.0.0.1:{port}", log="web"
    )

    def answers() -> bool:
        again = page.get_by_role("button", name="Try again")
        again.evaluate_all("(found) => found[0]?.click()")  # none is there once it answers
        return bool(anna.rows().count())

    wait_until(page, answers, "the server")


def test_previews_that_cannot_be_heard(anna: Tab, sandbox: Sandbox) -> None:
    page = anna.page
    page.get_by_role("searchbox").fill("zzz")
    page.get_by_role("heading", name="No voice matches").wait_for()
    anna.check("nothing-found")
    page.get_by_role("button", name="Clear filters").last.click()
    anna.wait_for_count("300 voices")
    sandbox.fault = FAULTS["preview_refused"]
    keyed = next(
        voice
        for voice in sorted(sandbox.api.voices, key=lambda voice: str(voice["name"]))
        if str(voice["previewUrl"]).endswith("/preview")
    )["name"]
    page.get_by_role("searchbox").fill(keyed)
    anna.row(keyed).get_by_role("button", name=f"Play {keyed}").click()
    anna.row(keyed).get_by_text("This voice's provider refused to speak").wait_for()
    anna.check("preview-refused", provoked=True)
    silent = next(voice for voice in sandbox.api.voices if not voice["previewUrl"])["name"]
    page.get_by_role("searchbox").fill(silent)
    anna.row(silent).get_by_text("No preview").wait_for()
    anna.row(silent).get_by_role("button", name=f"Play {silent}").click(force=True)
    anna.row(silent).get_by_text("This voice has no preview to hear.").wait_for()
    anna.check("no-preview", provoked=True)


def test_names_of_any_script_and_length_at_any_width(
    tab: Tab, site: Project, sandbox: Sandbox
) -> None:
    page = tab.page
    long = "Constantinopolitan" * 28
    sandbox.api.voices[0] |= {
        "name": long,
        "description": long,
        "languageLabel": long,
        "provider": long,
    }
    sandbox.api.voices[1] |= {"name": "نورة", "description": "صوت هادئ وواضح لخدمة العملاء."}
    assert site.manage("sync_voices").returncode == 0
    assert site.database.rows("SELECT 1 FROM ultravox_voices WHERE name = 'نورة'")
    sandbox.api.voices.pop(1)
    assert site.manage("sync_voices").returncode == 0
    page.emulate_media(reduced_motion="reduce")
    tab.log_in(ANNA, "/?listed=false")
    tab.row("نورة").get_by_text("No longer listed by Ultravox").wait_for()
    tab.check("unlisted")
    tab.open("/")
    tab.rows().first.wait_for()
    tab.row(long).get_by_role("button", name="Shortlist").click()
    tab.check("long-names")
    page.evaluate("document.documentElement.dir = 'rtl'")
    tab.check("right-to-left")
    page.evaluate("document.body.style.zoom = 2")
    tab.look("twice-as-large", (640, 1280))


def test_staff_without_an_agency(tab: Tab, site: Project) -> None:
    assert site.manage("sync_voices").returncode == 0
    tab.log_in(STAFF)
    tab.wait_for_count("300 voices")
    assert not tab.page.get_by_role("button", name="Sync from Ultravox").is_visible()
    tab.page.get_by_role("link", name="Sync in the admin").click()
    tab.page.get_by_role("button", name="Sync now").wait_for()
    tab.open("/")
    tab.page.locator("summary", has_text=STAFF).click()
    tab.check("staff")
    tab.page.get_by_role("button", name="Log out").click()
    tab.page.get_by_label("Password").wait_for()
