"""The admin: who sees and does what, and what nobody is shown."""

import re
from collections.abc import Callable
from datetime import timedelta
from html import unescape
from html.parser import HTMLParser
from typing import Any

import pytest
from cryptography.fernet import Fernet
from django.contrib.messages import get_messages
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from django_celery_beat.models import PeriodicTask

from agencies.credentials import get_agency_credentials
from agencies.models import Agency, User
from tests.conftest import PASSWORD
from tests.ultravox import API_KEY, Ultravox
from voices.models import SyncRun, Voice

pytestmark = pytest.mark.django_db

VOICES = "/admin/voices/voice/"
RUNS = "/admin/voices/syncrun/"
AGENCIES = "/admin/agencies/agency/"
USERS = "/admin/agencies/user/"
SYNC = f"{VOICES}sync/"
SECRET = "s3cr3t-marker"
NEW_KEY = "uvx-a-new-key-0123456789-wxyz"


@pytest.fixture
def browser(staff: User) -> Client:
    """A superuser's browser."""
    client = Client()
    client.force_login(staff)
    return client


@pytest.fixture
def assistant() -> User:
    """A staff user without any permission."""
    return User.objects.create_user("assistant@example.com", PASSWORD, is_staff=True)


def make_voice(voice_id: str = "v1", **fields: Any) -> Voice:
    fields = {"name": f"Voice {voice_id}", "last_synced_at": timezone.now()} | fields
    return Voice.objects.create(id=voice_id, **fields)


def make_run(**fields: Any) -> SyncRun:
    now = timezone.now()
    fields = {"trigger": "schedule", "started_at": now, "heartbeat_at": now} | fields
    return SyncRun.objects.create(**fields)


def shown(browser: Client, url: str) -> str:
    response = browser.get(url)
    assert response.status_code == 200, url
    return response.content.decode()


def listed(browser: Client, query: str) -> set[str]:
    """Return the ids of the voices that the list shows for a query."""
    response = browser.get(f"{VOICES}?{query}")
    assert response.status_code == 200, query
    return {voice.pk for voice in response.context["cl"].result_list}


def text_of(html: str, element: str) -> str:
    """Return the readable text of the first such element."""
    match = re.search(rf"<{element}[^>]*>(.*?)</{element.split()[0]}>", html, re.DOTALL)
    assert match, element
    return " ".join(re.sub(r"<[^>]+>", " ", match[1]).split())


# Voices


@pytest.mark.parametrize("page", ["add/", "v1/delete/", "v1/change/", ""])
def test_voices_are_read_only(browser: Client, page: str) -> None:
    voice = make_voice(name="Before")
    data = {
        "name": "After", "post": "yes", "action": "delete_selected", "_selected_action": "v1",
        "_save": "Save",
    }  # fmt: skip
    response = browser.post(VOICES + page, data)
    assert response.status_code == (403 if page else 200)
    voice.refresh_from_db()
    assert voice.name == "Before"


@pytest.mark.parametrize("page", ["", "v1/change/"])
def test_no_page_of_voices_offers_to_write(browser: Client, page: str) -> None:
    make_voice()
    html = shown(browser, VOICES + page)
    forms = re.findall(r"<form[^>]*>", html)
    posting = [form for form in forms if 'method="post"' in form and "logout" not in form]
    assert all(SYNC in form or "voice_form" in form or "changelist" in form for form in posting)
    assert not re.search(r'name="(_save|_continue|action|_addanother)"', html)
    assert "addlink" not in text_of(html, 'div id="content"')


@pytest.mark.parametrize(
    "words", ["Amélie", "méli", "unhurried", "5f0c9a3e-1b", "Français", "fr-CA", "Amélie unhurried"]
)
def test_voices_are_searched(browser: Client, words: str) -> None:
    make_voice(
        "5f0c9a3e-1b2c",
        name="Amélie",
        description="Warm and unhurried",
        language_label="Français (Canada)",
        primary_language="fr-CA",
        provider="Cartesia",
    )
    make_voice("other", description="Bright", language_label="日本語", primary_language="ja-JP")
    assert listed(browser, f"q={words}") == {"5f0c9a3e-1b2c"}


@pytest.mark.parametrize("words", ["%25", "_", "\\", "a'b", "nobody", "日本"])
def test_odd_searches_find_nothing(browser: Client, words: str) -> None:
    make_voice(name="Plain", description="plain")
    assert listed(browser, f"q={words}") == set()


@pytest.mark.parametrize("query", ["q=%00", "q='", "q=%22", "p=99", "o=99", "e=1", "all="])
def test_odd_addresses_do_no_harm(browser: Client, query: str) -> None:
    make_voice()
    assert browser.get(f"{VOICES}?{query}").status_code in (200, 302)


@pytest.mark.parametrize("field", ["provider", "primary_language", "ownership", "billing_style"])
def test_voices_are_filtered(browser: Client, field: str) -> None:
    make_voice("one", **{field: "First one"})
    make_voice("two", **{field: "Second"})
    make_voice("none", **{field: None})
    html = shown(browser, VOICES)
    assert re.search(rf'href="\?{field}=First(\+|%20)one"', html)
    assert f'href="?{field}=Second"' in html
    assert listed(browser, f"{field}=First%20one") == {"one"}
    assert listed(browser, f"{field}__isnull=True") == {"none"}


def test_the_list_is_opened_as_fast_with_10_000_voices(
    browser: Client, django_assert_max_num_queries: Any
) -> None:
    def fill(begin: int, end: int) -> None:
        now = timezone.now()
        Voice.objects.bulk_create(
            Voice(
                id=f"voice-{number:05}",
                name=f"Voice {number}",
                provider=f"Provider {number % 8}",
                primary_language=f"l{number % 40}",
                language_label=f"Language {number % 40}",
                ownership=("public", "private")[number % 2],
                billing_style=f"style {number % 2}",
                definition={"elevenLabs": {"voiceId": str(number)}},
                last_synced_at=now,
            )
            for number in range(begin, end)
        )

    fill(0, 10)
    browser.get(VOICES)
    with django_assert_max_num_queries(12) as few:
        shown(browser, VOICES)
    fill(10, 10_000)
    with django_assert_max_num_queries(len(few)) as many:
        began = timezone.now()
        html = shown(browser, VOICES)
        seconds = (timezone.now() - began).total_seconds()
    assert len(many) == len(few)
    assert html.count('class="action-select"') == 0
    assert len(re.findall(r'href="/admin/voices/voice/voice-\d+/change/', html)) == 100
    assert seconds < 3
    for query in ("q=Voice+9", "provider=Provider%203", "p=100", "o=-7"):
        with django_assert_max_num_queries(len(few)):
            shown(browser, f"{VOICES}?{query}")


# Definitions

PLAIN_DEFINITION = {
    "elevenLabs": {"voiceId": "plain", "model": "flash", "speed": 0.7, "more": [1, None, True]}
}


def test_a_definition_is_shown_as_formatted_json(browser: Client) -> None:
    make_voice(definition=PLAIN_DEFINITION | {"note": "ünïcode 日本 <script>"})
    html = shown(browser, f"{VOICES}v1/change/")
    assert "\n  &quot;elevenLabs&quot;: {\n    &quot;" in html  # PostgreSQL sorts keys
    assert "\n    &quot;voiceId&quot;: &quot;plain&quot;" in html
    assert "ünïcode 日本 &lt;script&gt;" in html


def test_what_a_generic_voice_needs_no_secret_for_is_shown(browser: Client) -> None:
    make_voice(
        definition={
            "generic": {
                "url": f"https://{SECRET}@tts.example/?token={SECRET}",
                "headers": {"Authorization": f"Bearer {SECRET}", "X-Account": SECRET},
                "body": {"text": "{text}", "apiKey": SECRET, "nested": [{"deep": SECRET}]},
                "responseSampleRate": 24000,
                "responseMimeType": "audio/wav",
            }
        }
    )
    html = shown(browser, f"{VOICES}v1/change/")
    for name in ("url", "headers", "body"):
        assert f"&quot;{name}&quot;: &quot;••••••&quot;" in html
    assert "&quot;responseSampleRate&quot;: 24000" in html
    assert "&quot;responseMimeType&quot;: &quot;audio/wav&quot;" in html
    assert SECRET not in html


GENERIC = {"url": SECRET, "headers": {"A": SECRET}, "body": SECRET}


@pytest.mark.parametrize(
    "definition",
    [
        {"generic": GENERIC},
        {"Generic": GENERIC},
        {"GENERIC": GENERIC},
        {"generic": SECRET},
        {"generic": [SECRET, {"url": SECRET}, [SECRET]]},
        {"generic": {"URL": SECRET, "Headers": [SECRET], "somethingElse": SECRET}},
        {"generic": {"responseSampleRate": {"deep": SECRET}, "jsonByteEncoding": [SECRET]}},
        {"wrapped": {"generic": GENERIC}},
        {"wrapped": [[{"generic": GENERIC}]]},
        [{"generic": GENERIC}, {"generic": SECRET}],
        {"generic": {"generic": {"generic": GENERIC}}},
        f'{{"generic": {{"url": "{SECRET}"}}}}',
        {"text": f'{{\\"generic\\": {{\\"url\\": \\"{SECRET}\\"}}}}'},
    ],
    ids=repr,
)
def test_secrets_of_generic_voices_are_shown_nowhere(browser: Client, definition: Any) -> None:
    make_voice(definition=definition)
    for page in ("", "v1/change/", "v1/history/", f"?q={SECRET[:4]}"):
        response = browser.get(VOICES + page)
        assert SECRET not in response.content.decode(), page
    assert "••••••" in shown(browser, f"{VOICES}v1/change/")


@pytest.mark.parametrize(
    "query",
    [
        f"definition__icontains={SECRET}",
        f"definition__generic__url={SECRET}",
        f"definition__generic__headers__A__startswith={SECRET[:3]}",
    ],
)
def test_secrets_cannot_be_guessed_by_filters(browser: Client, query: str) -> None:
    make_voice(definition={"generic": GENERIC})
    answer = browser.get(f"{VOICES}?{query}")
    other = browser.get(f"{VOICES}?{query.replace('s3c', 'xyz')}")
    assert (answer.status_code, answer.content) == (other.status_code, other.content)
    assert SECRET not in answer.content.decode()


@pytest.mark.parametrize("definition", [None, {}, [], "", 0, True, "text", [1, "generic"]])
def test_odd_definitions_are_shown(browser: Client, definition: Any) -> None:
    make_voice(definition=definition)
    shown(browser, f"{VOICES}v1/change/")


@pytest.mark.parametrize(
    "voice_id", ["a/b", "a b", "ä", "a?b#c", "..", "'\"<>", "_5F", "sync", "add"]
)
def test_odd_ids_open(browser: Client, voice_id: str) -> None:
    make_voice(voice_id, name="Odd")
    links = re.findall(r'href="(/admin/voices/voice/[^"]+/change/[^"]*)"', shown(browser, VOICES))
    assert len(links) == 1
    assert "Odd" in shown(browser, unescape(links[0]))


# Agencies


def agency_form(browser: Client, agency: Agency, **data: str) -> Any:
    return browser.post(f"{AGENCIES}{agency.pk}/change/", {"name": agency.name} | data)


def test_an_agency_is_added_with_a_key(browser: Client) -> None:
    response = browser.post(f"{AGENCIES}add/", {"name": "New", "new_key": f" {NEW_KEY} "})
    assert response.status_code == 302
    assert get_agency_credentials(Agency.objects.get(name="New")) == NEW_KEY


def test_a_key_is_replaced(browser: Client, agency: Agency) -> None:
    assert agency_form(browser, agency, new_key=NEW_KEY).status_code == 302
    assert get_agency_credentials(Agency.objects.get()) == NEW_KEY


def test_an_empty_key_keeps_the_stored_one(browser: Client, agency: Agency) -> None:
    assert agency_form(browser, agency, name="Renamed", new_key="").status_code == 302
    agency = Agency.objects.get()
    assert (agency.name, get_agency_credentials(agency)) == ("Renamed", API_KEY)


def test_a_key_is_removed(browser: Client, agency: Agency) -> None:
    assert agency_form(browser, agency, remove_key="on").status_code == 302
    assert Agency.objects.get().ultravox_api_key == ""
    assert "none" in text_of(shown(browser, AGENCIES), 'td class="field-stored_key"')


def test_a_stored_key_is_shown_by_its_last_four_characters(browser: Client) -> None:
    agency = Agency.objects.create(name="Agency", ultravox_api_key=NEW_KEY)
    stored = agency.__class__.objects.filter(pk=agency.pk).values_list("ultravox_api_key")[0][0]
    for page in ("", f"{agency.pk}/change/", f"{agency.pk}/history/", f"{agency.pk}/delete/"):
        html = shown(browser, AGENCIES + page)
        assert NEW_KEY[-5:] not in html
        assert str(stored) not in html
    assert "••••wxyz" in shown(browser, AGENCIES)
    assert "••••wxyz" in shown(browser, f"{AGENCIES}{agency.pk}/change/")


def test_a_refused_form_does_not_send_the_key_back(browser: Client, agency: Agency) -> None:
    html = agency_form(browser, agency, name="", new_key=NEW_KEY).content.decode()
    assert "This field is required." in html
    assert NEW_KEY not in html
    assert get_agency_credentials(Agency.objects.get()) == API_KEY


@pytest.mark.parametrize("key", ["schlüssel", "two\tparts", "nul\0", "a\nb"])
def test_a_key_that_no_header_carries_is_refused(browser: Client, agency: Agency, key: str) -> None:
    assert agency_form(browser, agency, new_key=key).status_code == 200
    assert get_agency_credentials(Agency.objects.get()) == API_KEY


def test_the_history_names_no_key(browser: Client, agency: Agency) -> None:
    agency_form(browser, agency, new_key=NEW_KEY)
    html = shown(browser, f"{AGENCIES}{agency.pk}/history/")
    assert NEW_KEY not in html
    assert API_KEY not in html


def test_an_undecryptable_key_is_shown_as_such(
    browser: Client, agency: Agency, settings: Any
) -> None:
    settings.CREDENTIALS_KEYS = [Fernet.generate_key().decode()]
    assert "cannot be decrypted" in shown(browser, AGENCIES)
    assert "cannot be decrypted" in shown(browser, f"{AGENCIES}{agency.pk}/change/")
    assert agency_form(browser, agency, name="Renamed").status_code == 302
    settings.CREDENTIALS_KEYS.append("c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0LXNlY3I=")
    assert get_agency_credentials(Agency.objects.get(name="Renamed")) == API_KEY
    settings.CREDENTIALS_KEYS.pop()
    assert agency_form(browser, agency, new_key=NEW_KEY).status_code == 302
    assert get_agency_credentials(Agency.objects.get()) == NEW_KEY


# Users


def test_a_user_is_added_with_email_and_agency(browser: Client, agency: Agency) -> None:
    password = "correct horse battery staple"
    response = browser.post(
        f"{USERS}add/",
        {
            "email": "New@Example.com", "agency": str(agency.pk), "usable_password": "true",
            "password1": password, "password2": password,
        },
    )  # fmt: skip
    assert response.status_code == 302, response.context["adminform"].errors
    user = User.objects.get(email__iexact="new@example.com")
    assert (user.agency, user.is_active, user.is_staff, user.is_superuser) == (
        agency, True, False, False,
    )  # fmt: skip
    assert user.check_password(password)
    assert "New@" in shown(browser, f"{USERS}{user.pk}/change/")


def test_an_email_is_taken_in_any_case(browser: Client, user: User) -> None:
    response = browser.post(
        f"{USERS}add/",
        {"email": "USER@example.com", "usable_password": "false"},
    )
    assert response.status_code == 200
    assert "There is a user with this e-mail address." in response.content.decode()
    assert User.objects.filter(email__iexact="user@example.com").count() == 1


def test_a_user_is_moved_to_another_agency(browser: Client, user: User) -> None:
    other = Agency.objects.create(name="Other")
    response = browser.post(
        f"{USERS}{user.pk}/change/",
        {"email": user.email, "agency": str(other.pk), "is_active": "on"},
    )
    assert response.status_code == 302
    user.refresh_from_db()
    assert user.agency == other
    assert user.check_password(PASSWORD)


def test_a_password_is_changed(browser: Client, user: User) -> None:
    password = "correct horse battery staple"
    response = browser.post(
        f"{USERS}{user.pk}/password/",
        {"usable_password": "true", "password1": password, "password2": password},
    )
    assert response.status_code == 302
    user.refresh_from_db()
    assert user.check_password(password)


# The history


@pytest.mark.parametrize("page", ["add/", "{}/delete/", "{}/change/", ""])
def test_the_history_is_read_only(browser: Client, page: str) -> None:
    run = make_run(status="succeeded", synced=5)
    data = {"synced": "9", "post": "yes", "action": "delete_selected", "_selected_action": run.pk}
    response = browser.post(RUNS + page.format(run.pk), data)
    assert response.status_code == (403 if page else 200)
    run.refresh_from_db()
    assert run.synced == 5


def test_the_history_tells_what_happened(browser: Client, user: User) -> None:
    now = timezone.now()
    run = make_run(
        trigger="user", agency=user.agency, user=user, status="failed", pages=2,
        started_at=now - timedelta(seconds=90), finished_at=now - timedelta(seconds=87.5),
        error_code="ultravox_error", error_message="Ultravox answered with status 400.",
    )  # fmt: skip
    for page in ("", f"{run.pk}/change/"):
        html = shown(browser, RUNS + page)
        for word in ("Failed", "user@example.com", "Agency", "2.5", "answered with status 400"):
            assert word in html, (page, word)
    assert "ultravox_error" in html


def test_a_dead_run_is_shown_as_abandoned(browser: Client) -> None:
    now = timezone.now()
    dead = make_run(heartbeat_at=now - timedelta(minutes=5), started_at=now - timedelta(minutes=6))
    alive = make_run(agency=Agency.objects.create(name="Alive"))
    states = re.findall(r'class="field-state">([^<]+)<', shown(browser, RUNS))
    assert states == ["Running", "Abandoned"]
    assert "Abandoned" in shown(browser, f"{RUNS}{dead.pk}/change/")
    assert "Running" in shown(browser, f"{RUNS}{alive.pk}/change/")
    dead.refresh_from_db()
    assert dead.status == "running"  # to look changes nothing


def test_the_history_is_opened_with_few_queries(
    browser: Client, user: User, django_assert_max_num_queries: Any
) -> None:
    make_run(status="succeeded", agency=user.agency, user=user)
    shown(browser, RUNS)
    with django_assert_max_num_queries(12) as few:
        shown(browser, RUNS)
    for number in range(150):
        other = Agency.objects.create(name=f"Agency {number}")
        make_run(status="succeeded", agency=other, user=user)
    with django_assert_max_num_queries(len(few)):
        shown(browser, RUNS)


# Sync now


def said(response: Any) -> list[tuple[str, str]]:
    return [(message.level_tag, str(message)) for message in get_messages(response.wsgi_request)]


@pytest.mark.django_db(transaction=True)
def test_sync_now(browser: Client, staff: User, agency: Agency, ultravox: Ultravox) -> None:
    response = browser.post(SYNC)
    assert (response.status_code, response["Location"]) == (302, VOICES)
    assert said(response) == [("success", "Synced 300 voices from Ultravox")]
    assert Voice.objects.count() == 300
    run = SyncRun.objects.get()
    assert (run.trigger, run.status, run.user, run.agency) == ("admin", "succeeded", staff, agency)
    html = shown(browser, VOICES)
    assert "Synced 300 voices from Ultravox" in html


@pytest.mark.django_db(transaction=True)
def test_sync_now_tells_of_skipped_records(
    browser: Client, agency: Agency, ultravox: Ultravox
) -> None:
    ultravox.fault = "record_null"
    [(level, message)] = said(browser.post(SYNC))
    assert level == "success"
    assert message.startswith("Synced 300 voices from Ultravox")
    assert "1 record" in message


@pytest.mark.django_db(transaction=True)
def test_sync_now_tells_of_a_failure(browser: Client, agency: Agency, ultravox: Ultravox) -> None:
    ultravox.fault = "status_400"
    response = browser.post(SYNC)
    assert (response.status_code, response["Location"]) == (302, VOICES)
    assert said(response) == [("error", "Ultravox answered with status 400; nothing was changed.")]
    assert not Voice.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_sync_now_without_any_key(browser: Client) -> None:
    [(level, message)] = said(browser.post(SYNC))
    assert level == "error"
    assert message.startswith("No Ultravox API key is configured")


@pytest.mark.django_db(transaction=True)
def test_any_staff_user_may_sync(assistant: User, agency: Agency, ultravox: Ultravox) -> None:
    client = Client()
    client.force_login(assistant)
    assert "Sync now" in shown(client, VOICES)
    assert said(client.post(SYNC)) == [("success", "Synced 300 voices from Ultravox")]
    assert SyncRun.objects.get().user == assistant
    shown(client, f"{VOICES}{Voice.objects.all()[0].pk}/change/")
    shown(client, RUNS)


def test_staff_without_permissions_see_no_agencies_and_users(assistant: User) -> None:
    client = Client()
    client.force_login(assistant)
    for url in (AGENCIES, USERS, "/admin/django_celery_beat/periodictask/"):
        assert client.get(url).status_code == 403
    html = shown(client, "/admin/")
    assert VOICES in html
    assert RUNS in html
    assert AGENCIES not in html


@pytest.mark.parametrize("method", ["get", "head", "put", "delete", "patch"])
def test_sync_now_is_only_posted(
    browser: Client, agency: Agency, ultravox: Ultravox, method: str
) -> None:
    """Whoever comes here otherwise, as after a login in between, is led back to the list."""
    assert getattr(browser, method)(SYNC).url == VOICES
    assert ultravox.requests == []


def test_sync_now_needs_the_forms_token(staff: User, agency: Agency, ultravox: Ultravox) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(staff)
    assert client.post(SYNC).status_code == 403
    assert ultravox.requests == []


@pytest.mark.django_db(transaction=True)
def test_the_forms_token_is_in_the_form(staff: User, agency: Agency, ultravox: Ultravox) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(staff)
    form = re.search(rf'<form[^>]*action="{SYNC}".*?</form>', shown(client, VOICES), re.DOTALL)
    assert form
    token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', form[0])
    assert token
    response = client.post(SYNC, {"csrfmiddlewaretoken": token[1]})
    assert said(response) == [("success", "Synced 300 voices from Ultravox")]


@pytest.mark.parametrize("who", ["nobody", "user", "former"])
def test_sync_now_is_for_staff(user: User, ultravox: Ultravox, who: str) -> None:
    client = Client()
    if who != "nobody":
        client.force_login(user)
    if who == "former":
        User.objects.update(is_staff=True, is_active=False)
    response = client.post(SYNC)
    assert response.status_code == 302
    assert response["Location"].startswith("/admin/login/")
    assert ultravox.requests == []


# All pages


class _Inline(HTMLParser):
    """Collect what the content security policy forbids."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = dict(attrs)
        is_data = (names.get("type") or "").endswith("json")
        if (tag == "script" and "src" not in names and not is_data) or tag == "style":
            self.found.append(f"<{tag}>")
        for name, value in attrs:
            address = (value or "").strip().lower()
            if name == "style" or name.startswith("on") or address.startswith("javascript:"):
                self.found.append(f"{tag} {name}={value}")
            if name in ("src", "action") and address.startswith(("http:", "https:", "//")):
                self.found.append(f"{tag} {name}={value}")


def with_object(page: str, make: Callable[[], Any]) -> Callable[[], str]:
    return lambda: page.format(make().pk)


BEAT = "/admin/django_celery_beat"
PAGES: dict[str, Callable[[], str]] = {
    page: lambda page=page: page  # type: ignore[misc]
    for page in (
        "/admin/", VOICES, RUNS, AGENCIES, f"{AGENCIES}add/", USERS, f"{USERS}add/",
        "/admin/password_change/", f"{BEAT}/periodictask/", f"{BEAT}/periodictask/add/",
        f"{BEAT}/intervalschedule/", f"{BEAT}/intervalschedule/add/", f"{BEAT}/crontabschedule/",
        f"{BEAT}/crontabschedule/add/", f"{BEAT}/solarschedule/", f"{BEAT}/solarschedule/add/",
        f"{BEAT}/clockedschedule/", f"{BEAT}/clockedschedule/add/", "/admin/auth/group/",
        "/admin/auth/group/add/", "/admin/voices/", "/admin/agencies/", f"{BEAT}/",
    )
}  # fmt: skip
PAGES |= {
    "a voice": with_object(f"{VOICES}{{}}/change/", lambda: make_voice(definition={"a": 1})),
    "a voice's history": with_object(f"{VOICES}{{}}/history/", make_voice),
    "a run": with_object(f"{RUNS}{{}}/change/", make_run),
    "an agency": with_object(f"{AGENCIES}{{}}/change/", lambda: Agency.objects.create(name="A")),
    "delete agency": with_object(
        f"{AGENCIES}{{}}/delete/", lambda: Agency.objects.create(name="A")
    ),
    "a user": with_object(f"{USERS}{{}}/change/", lambda: User.objects.get()),
    "a password": with_object(f"{USERS}{{}}/password/", lambda: User.objects.get()),
    "the periodic task": with_object(
        f"{BEAT}/periodictask/{{}}/change/", lambda: PeriodicTask.objects.get()
    ),
    "its history": with_object(
        f"{BEAT}/periodictask/{{}}/history/", lambda: PeriodicTask.objects.get()
    ),
}


@pytest.mark.parametrize("page", PAGES.values(), ids=PAGES)
def test_a_page_opens_and_keeps_the_policy(browser: Client, page: Callable[[], str]) -> None:
    response = browser.get(page())
    assert response.status_code == 200
    policy = response["Content-Security-Policy"]
    assert "default-src 'self'" in policy
    assert "unsafe" not in policy
    inline = _Inline()
    inline.feed(response.content.decode())
    assert inline.found == []


def test_the_login_page_keeps_the_policy_and_logs_in(client: Client, staff: User) -> None:
    response = client.get("/admin/", follow=True)
    assert response.redirect_chain[-1][0].startswith("/admin/login/")
    inline = _Inline()
    inline.feed(response.content.decode())
    assert inline.found == []
    login = reverse("admin:login")
    data = {"username": "STAFF@Example.com", "password": PASSWORD, "next": VOICES}
    assert client.post(login, data)["Location"] == VOICES


def test_the_interval_is_changed_in_the_admin(browser: Client) -> None:
    task = PeriodicTask.objects.get()
    assert (task.interval.every, task.interval.period) == (6, "hours")
    url = f"{BEAT}/intervalschedule/{task.interval.pk}/change/"
    sent = dict(re.findall(r'name="([^"]+_FORMS)" value="(\d+)"', shown(browser, url)))
    no_tasks = sent | {name: "0" for name in sent if "INITIAL" in name or "TOTAL" in name}
    response = browser.post(url, no_tasks | {"every": "2", "period": "hours"})
    assert response.status_code == 302
    assert PeriodicTask.objects.get().interval.every == 2
    response = browser.post(
        f"{BEAT}/periodictask/",
        {"action": "disable_tasks", "_selected_action": str(task.pk)},
    )
    assert response.status_code == 302
    assert PeriodicTask.objects.get().enabled is False
