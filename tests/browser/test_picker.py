"""`<voice-picker>` as dashboards use it: properties, events, forms, tokens and any width."""

from typing import Any

import pytest

from tests.browser.conftest import Site
from tests.browser.tab import Tab, needs_chromium, wait_until

pytestmark = [pytest.mark.browser, needs_chromium]

# A second picker on the page
OTHER = "globalThis.other = document.createElement('voice-picker'), 0"


def test_a_token_is_requested_each_time_and_never_cached(anna: Tab) -> None:
    page = anna.page
    requests: list[Any] = []
    page.on("request", lambda it: requests.append(it))

    def tokens() -> list[str | None]:
        lists = [request for request in requests if "/api/voices/" in request.url]
        return [request.headers.get("authorization") for request in lists]

    page.evaluate(OTHER)
    page.evaluate("""() => {
      globalThis.errors = [];
      other.addEventListener('voice-error', (it) => errors.push(it.detail.code));
      other.accessToken = async () => 'first';
      document.body.append(other);
    }""")
    wait_until(page, lambda: page.evaluate("errors") == ["invalid_token"], "the error")
    assert tokens() == ["Bearer first"] * 2  # the second after a 401
    page.evaluate("() => { other.accessToken = async () => 'second'; other.refresh() }")
    wait_until(page, lambda: tokens()[2:] == ["Bearer second"] * 2, "another token")
    page.evaluate("() => { other.accessToken = async () => { throw new Error('signed out') } }")
    page.evaluate("other.refresh()")
    wait_until(page, lambda: page.evaluate("errors")[2:] == ["not_authenticated"], "the error")
    page.evaluate("() => { other.accessToken = null }")
    wait_until(page, lambda: tokens()[4:] == [None], "the list for the session")
    page.evaluate("() => { other.accessToken = async () => 'third'; }")
    wait_until(page, lambda: tokens()[5:] == ["Bearer third"] * 2, "the list for the token")
    for _ in range(3):  # as a framework does on each render
        page.evaluate("() => { other.accessToken = async () => 'third' }")
    page.wait_for_timeout(100)
    assert len(tokens()) == 7


def test_the_picker_in_a_form_works_like_an_input(anna: Tab) -> None:
    page = anna.page
    page.evaluate(OTHER)
    page.evaluate("""() => {
      globalThis.form = document.createElement('form');
      other.name = 'voice';
      form.append(other);
      document.body.replaceChildren(form);
      globalThis.events = [];
      for (const type of ['input', 'change']) {
        form.addEventListener(type, () => events.push([type, other.value]));
      }
    }""")
    data = "[...new FormData(form)]"
    assert page.evaluate(data) == [["voice", ""]]
    anna.rows().nth(2).wait_for()
    radio = anna.rows().nth(1).get_by_role("radio")
    radio.check()
    voice = radio.get_attribute("value")
    anna.search("a")
    assert page.evaluate("events") == [["input", voice], ["change", voice]]
    assert page.evaluate(data) == [["voice", voice]]
    page.evaluate("form.reset()")
    assert page.evaluate("[other.value, other.checkValidity()]") == ["", True]
    page.evaluate("other.required = true")
    assert not page.evaluate("other.checkValidity()")
    assert page.evaluate("other.validationMessage") == "Select a voice."
    page.evaluate("other.disabled = true")
    assert page.evaluate(data) == []
    assert page.evaluate("other.matches(':disabled')")


def test_a_selected_voice_outside_the_list_is_named(anna: Tab, site: Site) -> None:
    page = anna.page
    last = site.database.value("SELECT id FROM ultravox_voices WHERE name = '雅婷 4'")
    urls: list[str] = []
    page.on("request", lambda it: urls.append(it.url))
    page.evaluate(OTHER)
    page.evaluate("(id) => { other.value = id; document.body.replaceChildren(other) }", last)
    page.get_by_text("Selected: 雅婷 4").wait_for()
    page.get_by_role("button", name="Load more").click()
    wait_until(page, lambda: anna.rows().count() >= 100, "more rows")
    assert len([url for url in urls if f"/{last}/" in url]) == 1
    page.evaluate("other.value = 'gone'")
    page.get_by_text("The selected voice (gone) is no longer available.").wait_for()


def test_properties_set_before_the_module_loads(anna: Tab) -> None:
    page = anna.page
    anna.open_html("<voice-picker></voice-picker>")
    page.evaluate("""async () => {
      const picker = document.querySelector('voice-picker');
      picker.query = new URLSearchParams('language=fr-CA&provider=Cartesia&ordering=name');
      picker.required = true;
      for (const version of [1, 2]) {
        const script = document.createElement('script');
        Object.assign(script, { type: 'module', src: `/static/voices/voice-picker.js?v=${version}` });
        document.body.append(script);
        await new Promise((done) => { script.onload = done });
      }
    }""")
    anna.rows().first.wait_for()
    assert all("French (Canada)" in text for text in anna.rows().all_text_contents())
    assert page.get_by_label("Order").input_value() == ""
    assert page.locator("voice-picker").evaluate("(it) => it.hasAttribute('required')")
    assert anna.errors == []


@pytest.mark.parametrize("parent", ["div style='display: flex'", "dialog open"])
def test_the_width_does_not_depend_on_the_parent(anna: Tab, parent: str) -> None:
    script = "<script type='module' src='/static/voices/voice-picker.js'></script>"
    anna.open_html(f"{script}<{parent}>Voice <voice-picker></voice-picker>")
    anna.rows().first.wait_for()
    assert anna.page.locator("voice-picker").evaluate("(it) => it.offsetWidth") > 600
    anna.look("width", (320,))


def test_a_sync_leaves_the_list_in_place(anna: Tab, site: Site) -> None:
    page = anna.page
    page.get_by_role("button", name="Load more").scroll_into_view_if_needed()
    wait_until(page, lambda: anna.rows().count() >= 100, "the second page")
    loaded, name = anna.rows().count(), anna.names()[80]
    play = anna.row(name).get_by_role("button", name=f"Play {name}")
    play.focus()
    top = play.evaluate("(it) => it.getBoundingClientRect().top")
    page.evaluate("globalThis.table = document.querySelector('#history table')")
    poll = "document.dispatchEvent(new Event('visibilitychange'))"
    with page.expect_response("**/api/sync-runs/**"):
        page.evaluate(poll)
    assert page.evaluate("table.isConnected")
    site.sync()
    with page.expect_response("**/api/voices/?page=2"):
        page.evaluate(poll)
    anna.wait_for_sync_status("Synced 300 voices from Ultravox.")
    wait_until(page, lambda: not page.evaluate("table.isConnected"), "the history")
    assert anna.rows().count() >= loaded
    assert anna.focused()[0] == f"Play {name}"
    moved = play.evaluate("(it) => it.getBoundingClientRect().top") - top
    assert abs(moved) < 200  # the height of the sync's outcome


def test_the_keyboard_reaches_the_end(anna: Tab) -> None:
    page = anna.page
    anna.shortlist(*anna.names()[:2])
    page.get_by_role("searchbox").focus()
    anna.tab_to("Skip voice list")
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    assert anna.focused()[0].startswith("Select ")
    # The shortlist's bar never covers the focused element.
    anna.rows().nth(3).get_by_role("radio").focus()
    page.set_viewport_size({"width": 1280, "height": 700})
    bar = page.get_by_role("group", name="Shortlist").bounding_box()
    for _ in range(40):
        page.keyboard.press("Tab")
        name, bottom = anna.focused()
        assert bottom <= bar["y"] + 1, name


def test_the_shortlist(anna: Tab) -> None:
    page = anna.page
    played = anna.record_played()
    anna.search("bronte")
    wait_until(page, lambda: len(anna.names()) == 4, "Bronte's voices")
    anna.shortlist("Bronte", "Bronte 2", "Bronte 3")
    page.get_by_role("button", name="Play all").click()
    wait_until(page, lambda: played == ["Bronte"], "the first")
    page.get_by_role("button", name="Remove Bronte 2 from").click()  # while the first plays
    anna.shortlist("Bronte 4")
    wait_until(page, lambda: len(played) == 2, "the next")
    assert page.locator(".chip[aria-current]").inner_text().startswith("Bronte 3")
    wait_until(page, lambda: played == ["Bronte", "Bronte 3", "Bronte 4"], "the last")
    page.get_by_role("button", name="Play all").wait_for()

    anna.shortlist("Bronte 2")
    anna.search("alistair")
    anna.row("Alistair").wait_for()
    anna.shortlist("Alistair")
    full = "Your shortlist is full (4 voices). Remove one first."
    assert anna.row("Alistair").get_by_text(full).is_visible()
    anna.check("shortlist")
