"""`<voice-picker>` as dashboards use it: properties, events, forms and tokens."""

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
        lists = [it for it in requests if "/api/voices/" in it.url]
        return [it.headers.get("authorization") for it in lists]

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
    page.evaluate(OTHER)
    page.evaluate("(id) => { other.value = id; document.body.replaceChildren(other) }", last)
    page.get_by_text("Selected: 雅婷 4").wait_for()
    page.evaluate("other.value = 'gone'")
    page.get_by_text("The selected voice (gone) is no longer available.").wait_for()


def test_properties_set_before_the_module_loads(anna: Tab) -> None:
    page = anna.page
    anna.open_html("<voice-picker></voice-picker>")
    page.evaluate("""() => {
      const picker = document.querySelector('voice-picker');
      picker.query = new URLSearchParams('language=fr-CA&provider=Cartesia&ordering=name');
      picker.required = true;
      const script = document.createElement('script');
      Object.assign(script, { type: 'module', src: '/static/voices/voice-picker.js' });
      document.body.append(script);
    }""")
    anna.rows().first.wait_for()
    assert all("French (Canada)" in text for text in anna.rows().all_text_contents())
    assert page.locator("voice-picker").evaluate("(it) => it.hasAttribute('required')")
    assert anna.errors == []


def test_the_shortlist(anna: Tab) -> None:
    page = anna.page
    played = anna.record_played()
    anna.search("bronte")
    wait_until(page, lambda: len(anna.names()) == 4, "Bronte's voices")
    anna.shortlist("Bronte", "Bronte 2", "Bronte 3")
    page.get_by_role("button", name="Play all").click()
    wait_until(page, lambda: played == ["Bronte"], "the first")
    page.get_by_role("button", name="Remove Bronte 2 from").click()  # while the first plays
    wait_until(page, lambda: played == ["Bronte", "Bronte 3"], "the last")
    anna.shortlist("Bronte 2", "Bronte 4")
    anna.search("alistair")
    anna.row("Alistair").wait_for()
    anna.shortlist("Alistair")
    full = "Your shortlist is full (4 voices). Remove one first."
    assert anna.row("Alistair").get_by_text(full).is_visible()
    anna.check("shortlist")
