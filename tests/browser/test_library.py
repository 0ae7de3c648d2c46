"""The page at `/` in a real browser: what agency users and staff do there, and how it reports problems."""

from typing import Any

import pytest

from sandbox.faults import FAULTS
from tests.browser.conftest import ANNA, BEN, STAFF, Site
from tests.browser.tab import Tab, needs_chromium, wait_until

pytestmark = [pytest.mark.browser, needs_chromium]


def test_search_filters_and_order(anna: Tab) -> None:
    page = anna.page
    anna.wait_for_count("300 voices")
    assert anna.rows().count() == 50
    first = page.get_by_role("group", name="Language").locator("label").first
    assert first.inner_text().split() == ["French", "12"]  # the browser's language

    anna.search("amelie")
    wait_until(page, lambda: anna.names()[:2] == ["Amélie", "Amélie 2"], "Amélie")
    assert page.url.endswith("/?search=amelie")
    page.get_by_role("button", name="Clear all").first.click()
    anna.wait_for_count("300 voices")

    english = page.get_by_role("checkbox", name="English 28")
    english.check()
    anna.wait_for_count("28 voices")
    page.get_by_role("checkbox", name="English (United Kingdom)").check()
    anna.wait_for_count("7 voices")
    assert english.evaluate("(box) => box.indeterminate")
    page.get_by_role("checkbox", name="Cartesia").check()
    anna.wait_for_count("2 voices")
    page.get_by_role("checkbox", name="Eleven Labs").check()
    anna.wait_for_count("4 voices")
    page.get_by_label("Order").select_option("Name (Z–A)")
    wait_until(page, lambda: anna.names()[0] > anna.names()[-1], "the other order")
    assert page.url.endswith(
        "/?language=en-gb&provider=Cartesia&provider=Eleven+Labs&ordering=-name"
    )

    # The address holds the whole query, and Back undoes one step at a time.
    page.reload()
    anna.wait_for_count("4 voices")
    assert page.get_by_role("checkbox", name="Eleven Labs").is_checked()
    page.go_back()
    wait_until(page, lambda: anna.names()[0] < anna.names()[-1], "the previous order")
    page.go_back()
    anna.wait_for_count("2 voices")
    assert not page.get_by_role("checkbox", name="Eleven Labs").is_checked()
    anna.check("filtered")

    anna.search("zzz")
    page.get_by_role("heading", name="No voices match “zzz”").wait_for()
    anna.check("no-matches")
    page.get_by_role("button", name="Clear all").last.click()
    anna.wait_for_count("300 voices")
    anna.open("/?ordering=bogus")
    page.get_by_role("heading", name="These filters aren't valid").wait_for()


def test_rows_and_further_pages(anna: Tab) -> None:
    page = anna.page
    anna.search("Amélie 2")
    private = anna.row("Amélie 2")
    private.get_by_text("Private", exact=True).wait_for()
    assert private.get_by_text("Custom provider · Billed by provider").is_visible()
    anna.search("")
    anna.wait_for_count("300 voices")

    def is_complete() -> bool:
        page.mouse.wheel(0, 20_000)
        return bool(anna.rows().count() == 300)

    wait_until(page, is_complete, "the last page")
    assert not page.get_by_role("button", name="Load more").is_visible()
    assert len(set(anna.names())) == len(anna.names())


def test_one_voice_plays_at_a_time(anna: Tab) -> None:
    page = anna.page
    played = anna.record_played()
    first, second = "Alistair", "Bronte"
    anna.play(first)
    wait_until(page, lambda: played == [first] and anna.heard() > 0.2, "the sound")
    anna.play(second)
    wait_until(page, lambda: played == [first, second], "the other sound")
    assert not anna.row(first).get_by_role("button", name=f"Stop {first}").is_visible()
    anna.row(second).get_by_role("button", name=f"Stop {second}").click()
    anna.row(second).get_by_role("button", name=f"Play {second}").wait_for()
    assert page.locator("audio").count() == 0

    # An expired link is renewed.
    page.evaluate(
        "document.querySelector('voice-picker').shadowRoot.querySelectorAll('li voice-play[src]')"
        ".forEach((it) => it.setAttribute('src', it.getAttribute('src').replace(/:[^:]*$/, ':x')))"
    )
    anna.play(first)
    wait_until(page, lambda: played[2:] == [first], "the sound from a new link")


def test_previews_that_fail(anna: Tab, changed_site: Site) -> None:
    voices = changed_site.sandbox.api.voices
    # The service caches the error, so this voice must not play in other tests.
    generated = [it["name"] for it in voices if str(it["previewUrl"]).endswith("/preview")][-1]
    anna.search(generated)
    changed_site.sandbox.fault = FAULTS["preview_refused"]
    anna.play(generated)
    anna.row(generated).get_by_text("The provider couldn't generate this preview").wait_for()
    anna.check("preview-refused", provoked=True)
    silent = next(it["name"] for it in voices if not it["previewUrl"])
    anna.search(silent)
    anna.row(silent).get_by_text("No preview").wait_for()


def test_the_keyboard_alone(anna: Tab) -> None:
    page = anna.page
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.get_by_role("searchbox").focus()
    page.keyboard.type("english")
    anna.wait_for_count("28 voices")
    anna.tab_to("Skip voice list")
    anna.tab_to("Alistair")
    page.keyboard.press("Space")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    selected = page.get_by_role("radio", checked=True)
    assert [selected.count(), anna.focused()] == [1, "Alistair 3"]
    picker = page.locator("voice-picker")
    assert picker.evaluate("(it) => it.value") == selected.get_attribute("value")
    anna.tab_to("Play Alistair 3")
    page.keyboard.press("Enter")
    wait_until(page, lambda: anna.heard() > 0, "the sound")
    page.keyboard.press("Space")
    assert anna.focused() == "Play Alistair 3"
    anna.tab_to("Shortlist Alistair 3")
    page.keyboard.press("Space")
    anna.tab_to("Copy ID of Alistair 3")
    page.keyboard.press("Enter")
    anna.row("Alistair 3").get_by_text("ID copied").wait_for()
    assert page.evaluate("navigator.clipboard.readText()") == selected.get_attribute("value")
    assert page.get_by_role("button", name="Remove Alistair 3 from the shortlist").is_visible()


def test_a_session_that_expires(anna: Tab) -> None:
    page = anna.page
    page.get_by_role("checkbox", name="Cartesia").check()
    anna.wait_for_count("69 voices")
    page.context.clear_cookies(name="sessionid")
    page.get_by_role("checkbox", name="Google").check()
    page.get_by_role("heading", name="You are signed out").wait_for()
    anna.check("signed-out", provoked=True)
    anna.sync()
    anna.wait_for_sync_status("Your session has expired.")
    page.get_by_role("link", name="Sign in").last.click()
    page.get_by_label("Email address").fill(ANNA)
    page.get_by_label("Password").fill("wrong")
    page.get_by_role("button", name="Sign in").click()
    page.get_by_role("alert").get_by_text("Wrong email or password.").wait_for()
    anna.check("login", provoked=True)
    anna.log_in(ANNA, "/?provider=Cartesia&provider=Google")
    anna.wait_for_count("116 voices")


def test_a_service_that_does_not_respond(anna: Tab) -> None:
    page = anna.page
    page.context.set_offline(True)
    anna.search("amelie")
    page.get_by_role("heading", name="Couldn't load voices").wait_for()
    assert page.get_by_text("The voice service isn't responding.").first.is_visible()
    anna.check("service-away", provoked=True)
    anna.sync()
    anna.wait_for_sync_status("The voice service isn't responding.")
    page.context.set_offline(False)
    page.get_by_role("button", name="Try again").click()
    anna.row("Amélie").wait_for()


def test_staff_without_an_agency(anna: Tab) -> None:
    page = anna.page
    page.context.clear_cookies()
    anna.log_in(STAFF)
    anna.wait_for_count("300 voices")
    assert not page.get_by_role("button", name="Sync from Ultravox").is_visible()
    page.get_by_role("link", name="Sync in admin").click()
    page.get_by_role("button", name="Sync now").wait_for()
    anna.open("/")
    page.locator("summary", has_text=STAFF).click()
    anna.check("staff")
    page.get_by_role("button", name="Sign out").click()
    page.get_by_label("Password").wait_for()


def test_syncs_of_the_user_and_of_a_colleague(anna: Tab, changed_site: Site, browser: Any) -> None:
    page = anna.page
    changed_site.clear()
    anna.open("/")
    page.get_by_role("heading", name="No voices yet").wait_for()
    changed_site.sandbox.latency = 1.5  # seconds
    anna.sync()
    page.get_by_text("100 of 300 voices (page 1). Started by anna@agency.example").wait_for()
    bar = page.get_by_role("progressbar", name="Voices fetched")
    assert bar.evaluate("(it) => it.value / it.max") == pytest.approx(1 / 3)
    anna.wait_for_sync_status("Synced 300 voices from Ultravox.")
    anna.wait_for_count("300 voices")
    assert not bar.is_visible()
    last = page.get_by_role("table", name="Last syncs").get_by_role("row").nth(1)
    assert "300 voices" in last.inner_text()
    colleague = Tab(browser.new_context().new_page(), anna.site, anna.folder)
    colleague.log_in(BEN)
    colleague.sync()
    colleague.page.get_by_text("Started by ben@agency.example").wait_for()
    page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")  # polls at once
    page.get_by_text("Started by ben@agency.example").wait_for()
    anna.check("syncing")
    anna.wait_for_sync_status("Synced 300 voices from Ultravox.")
    colleague.page.context.close()


def test_syncs_that_fail(anna: Tab, changed_site: Site) -> None:
    page = anna.page
    rejected = "Ultravox rejected your agency's API key. Ask an administrator to update it. (401)"
    for fault, message in (("key_revoked", rejected), ("html", "Ultravox had a problem")):
        changed_site.sandbox.fault = FAULTS[fault]
        anna.sync()
        anna.wait_for_sync_status(message)
        anna.wait_for_count("300 voices")
    page.reload()
    anna.wait_for_sync_status(message)
    page.get_by_role("cell", name="failed").first.wait_for(state="attached")
    anna.check("sync-failed", provoked=True)
    changed_site.database.rows("UPDATE agencies SET ultravox_api_key = ''")
    anna.sync()
    anna.wait_for_sync_status("no Ultravox API key")


def test_any_script_length_and_width(anna: Tab, changed_site: Site) -> None:
    page, voices = anna.page, changed_site.sandbox.api.voices
    long = "Constantinopolitan" * 28
    voices[0] |= {"name": long, "description": long, "languageLabel": long, "provider": long}
    voices[1] |= {"name": "نورة", "description": "صوت هادئ وواضح لخدمة العملاء."}
    changed_site.sync()
    voices.pop(1)
    changed_site.sync()
    page.emulate_media(reduced_motion="reduce")
    anna.open("/?listed=false")
    anna.row("نورة").get_by_text("No longer in Ultravox").wait_for()
    anna.check("unlisted")
    anna.open("/")
    anna.shortlist(long)
    anna.check("long-names")
    page.evaluate("document.documentElement.dir = 'rtl'")
    anna.look("right-to-left", (320, 1280))
