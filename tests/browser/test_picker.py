"""`<voice-picker>` as a dashboard uses it: properties, events, forms, tokens, and any width."""

from typing import Any

import pytest

from tests.browser.conftest import ANNA
from tests.browser.tab import Tab, needs_chromium, wait_until
from tests.support.project import Project

pytestmark = [pytest.mark.browser, needs_chromium]

# Another picker beside the page's
OTHER = "globalThis.other = document.createElement('voice-picker'), 0"


def test_its_token_is_asked_for_and_never_outlives_its_function(anna: Tab) -> None:
    page = anna.page
    asked: list[Any] = []
    page.on("request", lambda it: asked.append(it))

    def tokens() -> list[str | None]:
        lists = [request for request in asked if "/api/voices/" in request.url]
        return [request.headers.get("authorization") for request in lists]

    page.evaluate(OTHER)
    page.evaluate("""() => {
      globalThis.errors = [];
      other.addEventListener('voice-error', (it) => errors.push(it.detail.code));
      other.accessToken = async () => 'first';
      document.body.append(other);
    }""")
    wait_until(page, lambda: page.evaluate("errors") == ["invalid_token"], "the error")
    assert tokens() == ["Bearer first"] * 2  # again after a 401
    page.evaluate("() => { other.accessToken = async () => 'second'; other.refresh() }")
    wait_until(page, lambda: tokens()[2:] == ["Bearer second"] * 2, "another token")
    page.evaluate("() => { other.accessToken = async () => { throw new Error('signed out') } }")
    page.evaluate("other.refresh()")
    wait_until(page, lambda: page.evaluate("errors")[2:] == ["not_authenticated"], "the error")
    page.evaluate("() => { other.accessToken = null }")
    wait_until(page, lambda: tokens()[4:] == [None], "the session's list")
    page.evaluate("() => { other.accessToken = async () => 'third'; }")
    wait_until(page, lambda: tokens()[5:] == ["Bearer third"] * 2, "its list")
    for _ in range(3):  # as a framework sets it
        page.evaluate("() => { other.accessToken = async () => 'third' }")
    page.wait_for_timeout(100)
    assert len(tokens()) == 7


def test_it_is_part_of_a_form_as_an_input_is(anna: Tab) -> None:
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
    for place in (1, 2):
        anna.rows().nth(place).get_by_role("radio").check()
    first, second = (
        anna.rows().nth(place).get_by_role("radio").get_attribute("value") for place in (1, 2)
    )
    assert page.evaluate("events") == [
        ["input", first],
        ["change", first],
        ["input", second],
        ["change", second],
    ]
    page.get_by_role("searchbox").fill("a")
    assert len(page.evaluate("events")) == 4
    assert page.evaluate(data) == [["voice", second]]
    page.evaluate("form.reset()")
    assert page.evaluate("[other.value, other.checkValidity()]") == ["", True]
    page.evaluate("other.required = true")
    assert page.evaluate("[other.checkValidity(), other.validationMessage]") == [
        False,
        "Choose a voice.",
    ]
    page.evaluate("other.disabled = true")
    assert page.evaluate(data) == []
    assert page.evaluate("other.matches(':disabled')")


def test_a_value_that_the_list_does_not_show_is_named(anna: Tab, site: Project) -> None:
    page = anna.page
    query = "SELECT id FROM ultravox_voices WHERE name = '雅婷 4'"
    [(last,)] = site.database.rows(query)
    asked: list[str] = []
    page.on("request", lambda it: asked.append(it.url))
    page.evaluate(OTHER)
    page.evaluate("(id) => { other.value = id; document.body.replaceChildren(other) }", last)
    page.get_by_text("Chosen: 雅婷 4").wait_for()
    for count in (100, 150):
        page.get_by_role("button", name="Load more").click()
        wait_until(page, lambda count=count: anna.rows().count() >= count, "more rows")
    assert len([url for url in asked if f"/{last}/" in url]) == 1
    page.evaluate("other.value = 'gone'")
    page.get_by_text("The chosen voice, gone, is not there for you").wait_for()
    anna.errors.clear()


def test_what_is_set_before_the_module_is_loaded_counts(anna: Tab) -> None:
    page = anna.page
    body = "<!doctype html><title>Early</title><voice-picker></voice-picker>"
    page.route("**/early", lambda it: it.fulfill(content_type="text/html", body=body))
    anna.open("/early")
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


PLACED = """([tag, style]) => {
  const parent = Object.assign(document.createElement(tag), { style });
  parent.append('Voice', document.createElement('voice-picker'));
  document.body.replaceChildren(parent);
  parent.showModal?.();
}"""


def test_it_has_a_width_of_its_own(anna: Tab) -> None:
    for place in (
        ["div", "display: flex"],
        ["div", "display: grid; justify-items: start"],
        ["dialog", ""],
    ):
        anna.page.set_viewport_size({"width": 1280, "height": 800})
        anna.page.evaluate(PLACED, place)
        anna.rows().first.wait_for()
        width = anna.page.locator("voice-picker").evaluate("(it) => it.offsetWidth")
        assert width > 600, place
        anna.look("own-width", (320,))


def test_filters_that_are_not_on_the_screen_stay(tab: Tab, site: Project) -> None:
    assert site.manage("sync_voices").returncode == 0
    tab.log_in(ANNA, "/?language=da-DK&language=xx-YY&listed=true")
    page = tab.page
    tab.wait_for_count("7 voices")
    assert page.get_by_role("checkbox", name="Danish (Denmark)").is_checked()
    assert page.get_by_role("checkbox", name="xx-yy").is_checked()
    page.get_by_role("checkbox", name="French 12").check()
    tab.wait_for_count("19 voices")
    assert page.url.endswith("?language=da-DK&language=xx-YY&language=fr&listed=true")
    page.get_by_role("checkbox", name="Listed by Ultravox").uncheck()
    wait_until(page, lambda: "listed" not in page.url, "all of them")


def test_a_sync_disturbs_nobody_who_reads(anna: Tab, site: Project) -> None:
    page = anna.page
    page.get_by_role("button", name="Load more").scroll_into_view_if_needed()
    wait_until(page, lambda: anna.rows().count() >= 100, "the second page")
    loaded = anna.rows().count()
    name = anna.names()[80]
    play = anna.row(name).get_by_role("button", name=f"Play {name}")
    play.focus()
    top = play.evaluate("(it) => it.getBoundingClientRect().top")
    page.evaluate("globalThis.table = document.querySelector('#history table')")
    look = "document.dispatchEvent(new Event('visibilitychange'))"  # as one comes back to the tab
    with page.expect_response("**/api/sync-runs/**"):
        page.evaluate(look)
    assert page.evaluate("table.isConnected")
    assert site.manage("sync_voices").returncode == 0  # too short to be seen under way
    with page.expect_response("**/api/voices/?page=2"):
        page.evaluate(look)
    page.get_by_role("region", name="Sync").get_by_text(
        "Synced 300 voices from Ultravox."
    ).wait_for()
    wait_until(page, lambda: not page.evaluate("table.isConnected"), "the history")
    assert anna.rows().count() >= loaded
    assert anna.focused()[0] == f"Play {name}"
    moved = play.evaluate("(it) => it.getBoundingClientRect().top") - top
    assert abs(moved) < 200  # what the sync's outcome takes


def test_the_end_is_reached_by_keyboard(anna: Tab) -> None:
    page = anna.page
    for name in anna.names()[:2]:
        anna.row(name).get_by_role("button", name="Shortlist").click()
    page.get_by_role("searchbox").focus()
    anna.tab_to("Skip the list")
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    assert anna.focused()[0].startswith("Choose ")
    # What has the focus is never behind the shortlist's bar.
    anna.rows().nth(3).get_by_role("radio").focus()
    page.set_viewport_size({"width": 1280, "height": 700})
    bar = page.get_by_role("group", name="Shortlist").bounding_box()
    for _ in range(40):
        page.keyboard.press("Tab")
        name, bottom = anna.focused()
        assert bottom <= bar["y"] + 1, name


def test_the_shortlist_may_change_while_it_is_heard(anna: Tab) -> None:
    page = anna.page
    heard: list[Any] = []
    page.expose_function("heard", lambda name: heard.append(name))
    page.evaluate("document.addEventListener('voice-play', (it) => heard(it.detail.name))")
    page.get_by_role("searchbox").fill("bronte")
    wait_until(page, lambda: len(anna.names()) == 4, "Bronte's voices")
    for name in ("Bronte", "Bronte 2", "Bronte 3"):
        anna.row(name).get_by_role("button", name="Shortlist").click()
    page.get_by_role("button", name="Hear them in turn").click()
    wait_until(page, lambda: heard == ["Bronte"], "the first")
    page.get_by_role("button", name="Remove Bronte 2 from").click()
    anna.row("Bronte 4").get_by_role("button", name="Shortlist").click()
    wait_until(page, lambda: len(heard) == 2, "the next")
    assert page.locator(".chip[aria-current]").inner_text().startswith("Bronte 3")
    wait_until(page, lambda: heard == ["Bronte", "Bronte 3", "Bronte 4"], "the last")
    page.get_by_role("button", name="Hear them in turn").wait_for()
