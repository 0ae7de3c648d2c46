"""The admin: who sees and does what, and what nobody is shown."""

import re
from collections.abc import Callable
from datetime import timedelta
from html import unescape
from typing import Any

import pytest
from cryptography.fernet import Fernet
from django.contrib.auth.models import Group, Permission
from django.contrib.messages import get_messages
from django.db import models
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from django_celery_beat.models import PeriodicTask

from agencies.credentials import get_agency_credentials
from agencies.models import Agency, User
from tests.support.environment import CREDENTIALS_KEY, PASSWORD
from tests.support.project import Project
from tests.ultravox import API_KEY, Ultravox
from voices.models import SyncRun, Voice
from voices.writer import add_search_texts

pytestmark = pytest.mark.django_db

VOICES = "/admin/voices/voice/"
RUNS = "/admin/voices/syncrun/"
AGENCIES = "/admin/agencies/agency/"
USERS = "/admin/agencies/user/"
BEAT = "/admin/django_celery_beat"
SYNC = f"{VOICES}sync/"
SECRET = "s3cr3t-marker"
NEW_KEY = "uvx-a-new-key-0123456789-wxyz"
NEW_PASSWORD = "correct horse battery staple"
KEY_REFUSED = (
    "Ultravox refused this API key with status 401; ask an administrator to enter one that works."
)
SYNCED = "Synced 300 voices from Ultravox"


def browser_of(user: User, **options: Any) -> Client:
    client = Client(**options)
    client.force_login(user)
    return client


@pytest.fixture
def browser(staff: User) -> Client:
    """A superuser's browser."""
    return browser_of(staff)


@pytest.fixture
def assistant() -> User:
    """A staff user without any permission."""
    return User.objects.create_user("assistant@example.com", PASSWORD, is_staff=True)


def permit(user: User, *codenames: str) -> None:
    user.user_permissions.add(*Permission.objects.filter(codename__in=codenames))


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


# Voices and runs: read only


@pytest.mark.parametrize("make", [make_voice, make_run])
def test_syncs_alone_write(browser: Client, make: Callable[..., models.Model]) -> None:
    made = make()
    address = f"/admin/voices/{made._meta.model_name}/"
    before = type(made).objects.values().get()  # type: ignore[attr-defined]
    data = {
        "name": "After",
        "synced": "9",
        "post": "yes",
        "_save": "Save",
        "action": "delete_selected",
        "_selected_action": str(made.pk),
    }
    for page in ("add/", f"{made.pk}/delete/", f"{made.pk}/change/", ""):
        assert browser.post(address + page, data).status_code == (403 if page else 200), page
    assert type(made).objects.values().get() == before  # type: ignore[attr-defined]
    for page in ("", f"{made.pk}/change/"):
        html = shown(browser, address + page)
        assert not re.search(r'name="(_save|_continue|action|_addanother)"', html)
        assert "addlink" not in html.partition('id="content"')[2]


# Voices: found


def test_voices_are_searched(browser: Client) -> None:
    make_voice(
        "5f0c9a3e-1b2c",
        name="Amélie",
        description="Warm and unhurried",
        provider="Cartesia",
        language_label="Français (Canada)",
        primary_language="fr-CA",
    )
    make_voice("other", description="Bright", language_label="日本語", primary_language="ja-JP")
    for words in (
        "Amélie",
        "Ameli",
        "unhurried",
        "5f0c9a3e-1b2c",
        "francais",
        "fr-CA",
        "amelie unhurried",
    ):
        assert listed(browser, f"q={words}") == {"5f0c9a3e-1b2c"}, words
    for words in ("%25", "_", "\\", "a'b", "nobody", "русский", "x" * 20_000):
        assert listed(browser, f"q={words}") == set(), words


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


def test_voices_are_told_in_words_and_heard(browser: Client) -> None:
    make_voice(
        "one",
        billing_style="VOICE_BILLING_STYLE_INCLUDED",
        ownership="private",
        provider="lmnt",
        preview_url="https://example.com/one.mp3",
    )
    make_voice("two", name="Second", language_label="Klingon")
    html = shown(browser, f"{VOICES}?_facets=True")
    assert "VOICE_BILLING" not in re.sub(r'href="[^"]*"', "", html)
    for words in ("Included", "Private", "LMNT", "Klingon", "Included (1)", "Custom provider (1)"):
        assert words in html, words
    [link] = re.findall(r'<voice-play name="Voice one" src="([^"]+)">', html)
    assert browser.get(unescape(link))["Location"] == "https://example.com/one.mp3"
    assert link in shown(browser, f"{VOICES}one/change/")
    assert "<voice-play" not in shown(browser, f"{VOICES}two/change/")
    make_voice("nameless", name="", preview_url="https://example.com/one.mp3")
    assert '<voice-play name="nameless"' in shown(browser, VOICES)


def test_odd_ids_open(browser: Client) -> None:
    for voice_id in ("a/b", "a b", "ä", "a?b#c", "..", "'\"<>", "_5F", "sync", "add"):
        voice = make_voice(voice_id, name="Odd")
        [link] = re.findall(rf'href="({VOICES}[^"]+/change/[^"]*)"', shown(browser, VOICES))
        assert "Odd" in shown(browser, unescape(link)), voice_id
        voice.delete()


def test_the_list_is_opened_as_fast_with_10_000_voices(
    browser: Client, django_assert_max_num_queries: Any
) -> None:
    def fill(begin: int, end: int) -> None:
        Voice.objects.bulk_create(
            Voice(
                id=f"voice-{number:05}",
                name=f"Voice {number}",
                provider=f"Provider {number % 8}",
                primary_language=f"l{number % 40}",
                ownership=("public", "private")[number % 2],
                definition={"elevenLabs": {"voiceId": number}},
                last_synced_at=timezone.now(),
            )
            for number in range(begin, end)
        )

    fill(0, 10)
    browser.get(VOICES)
    with django_assert_max_num_queries(14) as few:
        shown(browser, VOICES)
    fill(10, 10_000)
    with django_assert_max_num_queries(len(few)) as many:
        began = timezone.now()
        html = shown(browser, VOICES)
        seconds = (timezone.now() - began).total_seconds()
    assert len(many) == len(few)
    assert len(re.findall(rf'href="{VOICES}voice-\d+/change/', html)) == 100
    assert seconds < 3
    add_search_texts()  # as a sync writes them
    for query in ("q=Voice+9", "provider=Provider%203", "p=100", "o=-7"):
        with django_assert_max_num_queries(len(few) + 1):  # rows without search texts
            shown(browser, f"{VOICES}?{query}")


# Definitions: tests/unit/test_masking.py has the rules


def test_a_definition_is_shown_as_formatted_json_without_secrets(browser: Client) -> None:
    generic = {
        "url": f"https://{SECRET}@tts.example/?token={SECRET}",
        "headers": {"Authorization": f"Bearer {SECRET}", "X-Account": SECRET},
        "responseSampleRate": 24000,
        "responseMimeType": "audio/wav",
    }
    make_voice(definition={"lmnt": {"voiceId": "ünïcode日本"}, "generic": generic})
    html = shown(browser, f"{VOICES}v1/change/")
    assert "\n  &quot;generic&quot;: {\n    &quot;" in html  # PostgreSQL sorts keys
    for name in ("url", "headers"):
        assert f"\n    &quot;{name}&quot;: &quot;••••••&quot;" in html
    assert "&quot;responseSampleRate&quot;: 24000" in html
    assert "&quot;responseMimeType&quot;: &quot;audio/wav&quot;" in html
    assert "ünïcode日本" in html
    for page in ("", "v1/change/", "v1/history/", f"?q={SECRET[:4]}"):
        assert SECRET not in shown(browser, VOICES + page), page
    for query in (
        f"definition__icontains={SECRET}",
        f"definition__generic__url={SECRET}",
        f"definition__generic__headers__A__startswith={SECRET[:3]}",
    ):  # by which secrets could be guessed
        answer = browser.get(f"{VOICES}?{query}")
        other = browser.get(f"{VOICES}?{query.replace('s3c', 'xyz')}")
        assert (answer.status_code, answer.content) == (other.status_code, other.content)
        assert SECRET not in answer.content.decode()


def test_odd_definitions_are_shown(browser: Client) -> None:
    voice = make_voice()
    for voice.definition in (None, {}, [], "", 0, True, "text", [1, "generic"]):
        voice.save()
        shown(browser, f"{VOICES}v1/change/")


# Agencies


def agency_form(browser: Client, agency: Agency, **data: str) -> Any:
    return browser.post(f"{AGENCIES}{agency.pk}/change/", {"name": agency.name} | data)


def test_a_key_is_entered_kept_replaced_and_removed(browser: Client) -> None:
    response = browser.post(f"{AGENCIES}add/", {"name": "New", "new_key": f" {NEW_KEY} "})
    assert response.status_code == 302
    agency = Agency.objects.get(name="New")
    assert get_agency_credentials(agency) == NEW_KEY
    for data, name, key in (
        ({"name": "Renamed", "new_key": ""}, "Renamed", NEW_KEY),
        ({"new_key": "another-key-0123456789"}, "New", "another-key-0123456789"),
    ):
        assert agency_form(browser, agency, **data).status_code == 302
        stored = Agency.objects.get()
        assert (stored.name, get_agency_credentials(stored)) == (name, key)
    assert agency_form(browser, agency, remove_key="on").status_code == 302
    assert Agency.objects.get().ultravox_api_key == ""
    assert '<td class="field-stored_key">none</td>' in shown(browser, AGENCIES)


def test_a_stored_key_is_shown_by_its_last_four_characters(browser: Client, agency: Agency) -> None:
    agency_form(browser, agency, new_key=NEW_KEY)
    stored = Agency.objects.values_list("ultravox_api_key", flat=True).get()
    for page in ("", f"{agency.pk}/change/", f"{agency.pk}/history/", f"{agency.pk}/delete/"):
        html = shown(browser, AGENCIES + page)
        assert NEW_KEY[-5:] not in html
        assert API_KEY not in html
        assert str(stored) not in html
        assert ("••••wxyz" in html) == (page in ("", f"{agency.pk}/change/"))


def test_a_refused_form_changes_nothing_and_does_not_send_the_key_back(
    browser: Client, agency: Agency
) -> None:
    html = agency_form(browser, agency, name="", new_key=NEW_KEY).content.decode()
    assert "This field is required." in html
    assert NEW_KEY not in html
    for key in ("schlüssel", "two\tparts", "nul\0", "a\nb"):  # no header carries it
        assert agency_form(browser, agency, new_key=key).status_code == 200, key
    assert get_agency_credentials(Agency.objects.get()) == API_KEY


def test_an_undecryptable_key_is_shown_as_such(
    browser: Client, agency: Agency, settings: Any
) -> None:
    settings.CREDENTIALS_KEYS = [Fernet.generate_key().decode()]
    for page in ("", f"{agency.pk}/change/"):
        assert "cannot be decrypted" in shown(browser, AGENCIES + page)
    assert agency_form(browser, agency, name="Renamed").status_code == 302
    settings.CREDENTIALS_KEYS.append(CREDENTIALS_KEY)
    assert get_agency_credentials(Agency.objects.get(name="Renamed")) == API_KEY
    settings.CREDENTIALS_KEYS.pop()
    assert agency_form(browser, agency, new_key=NEW_KEY).status_code == 302
    assert get_agency_credentials(Agency.objects.get()) == NEW_KEY


def state_of_key(browser: Client) -> list[str]:
    """Return the state of the only agency's key, and when it was tried, as the list shows them."""
    html = shown(browser, AGENCIES)
    return [
        re.sub("<[^>]+>", "", cell)
        for cell in re.findall(r'<td class="field-key_(?:state|tried_at)[^"]*">(.*?)</td>', html)
    ]


def test_the_state_of_a_key_is_what_the_history_knows(browser: Client, agency: Agency) -> None:
    assert state_of_key(browser) == ["Not tried yet", "-"]
    tried = timezone.now() + timedelta(minutes=1)
    tried_at = [tried + timedelta(minutes=10 * number) for number in range(4)]

    def run(number: int, **fields: Any) -> None:
        began = tried_at[number] - timedelta(seconds=5)
        make_run(agency=agency, started_at=began, finished_at=tried_at[number], **fields)

    refused = {"status": "failed", "key_refused": True}
    run(0, status="succeeded")
    state, first = state_of_key(browser)
    assert state == "Works"
    run(1, **refused, error_code="ultravox_error")
    state, second = state_of_key(browser)
    assert (state, second == first) == ("Refused", False)
    run(2, status="failed", error_code="ultravox_error")  # Ultravox is away
    run(3, **refused, error_code="credentials_unavailable")  # it never saw the key
    assert state_of_key(browser) == ["Refused", second]
    # A sync that began before another key was entered tried that one's predecessor.
    SyncRun.objects.all().delete()
    agency.ultravox_api_key = "another"
    agency.save()
    now = timezone.now()
    make_run(
        agency=agency,
        status="succeeded",
        started_at=now - timedelta(1),
        finished_at=now + timedelta(1),
    )
    assert state_of_key(browser) == ["Not tried yet", "-"]
    agency.ultravox_api_key = ""
    agency.save()
    assert state_of_key(browser) == ["-", "-"]


def test_keys_are_tried(browser: Client, agency: Agency, ultravox: Ultravox) -> None:
    others = [
        Agency.objects.create(name=name, ultravox_api_key=key)
        for name, key in (("Revoked", "revoked"), ("Keyless", ""))
    ]

    def press() -> list[str]:
        ids = [str(each.pk) for each in (agency, *others)]
        data = {"action": "test_key", "_selected_action": ids}
        response = browser.post(AGENCIES, data)
        said = [str(message) for message in get_messages(response.wsgi_request)]
        shown(browser, AGENCIES)
        return said

    assert press() == [
        "Agency: the key works.",
        f"Revoked: {KEY_REFUSED}",
        "Keyless: Your agency has no Ultravox API key; add one in the agency's settings.",
    ]
    assert [request.target for request in ultravox.requests] == [
        "/api/voices?pageSize=1&limit=1"
    ] * 2
    ultravox.fault = lambda exchange: exchange.reply(400)
    assert press() == ["Agency: Ultravox answered with status 400; nothing was changed."]
    assert not SyncRun.objects.exists()


# Users


def test_a_user_is_added_with_email_and_agency(browser: Client, agency: Agency) -> None:
    passwords = {"password1": NEW_PASSWORD, "password2": NEW_PASSWORD, "usable_password": "true"}
    new = {"email": "New@Example.com", "agency": str(agency.pk)} | passwords
    assert browser.post(f"{USERS}add/", new).status_code == 302
    user = User.objects.get(email="NEW@example.com")
    assert (user.agency, user.is_active) == (agency, True)
    assert (user.is_staff, user.is_superuser) == (False, False)
    assert user.check_password(NEW_PASSWORD)
    assert "new@" in shown(browser, f"{USERS}{user.pk}/change/")
    response = browser.post(f"{USERS}add/", new | {"email": "NEW@example.com"})
    assert "There is a user with this e-mail address." in response.content.decode()
    assert User.objects.filter(email__iexact="new@example.com").count() == 1


def test_a_user_is_added_with_the_id_of_supabase(browser: Client, agency: Agency) -> None:
    given = "5b1e6a4e-3a58-4f0b-9d53-6a1c1f4f6a52"
    new = {"email": "new@example.com", "agency": str(agency.pk), "supabase_id": given}
    new |= {"password1": NEW_PASSWORD, "password2": NEW_PASSWORD, "usable_password": "true"}
    assert browser.post(f"{USERS}add/", new).status_code == 302
    assert str(User.objects.get(email="new@example.com").pk) == given
    response = browser.post(f"{USERS}add/", new | {"email": "other@example.com"})
    assert "There is a user with this id." in response.content.decode()
    assert User.objects.get(pk=given).email == "new@example.com"


def test_a_user_is_moved(browser: Client, user: User) -> None:
    other = Agency.objects.create(name="Other")
    form = {"email": user.email, "agency": str(other.pk), "is_active": "on"}
    assert browser.post(f"{USERS}{user.pk}/change/", form).status_code == 302
    user.refresh_from_db()
    assert (user.agency, user.check_password(PASSWORD)) == (other, True)


def test_only_superusers_give_rights(
    browser: Client, assistant: User, user: User, staff: User
) -> None:
    permit(
        assistant,
        "view_user",
        "add_user",
        "change_user",
        "delete_user",
        "view_group",
        "add_group",
        "change_group",
    )
    group = Group.objects.create(name="All-powerful")
    client = browser_of(assistant)
    form = {
        "email": "new@example.com",
        "is_active": "",
        "is_staff": "on",
        "is_superuser": "on",
        "groups": str(group.pk),
        "user_permissions": "1",
        "name": "Renamed",
        "permissions": "1",
    }
    for each in (assistant, user):
        response = client.post(f"{USERS}{each.pk}/change/", form | {"email": each.email})
        assert response.status_code == 302
        each.refresh_from_db()
        assert (each.is_active, each.is_superuser) == (True, False)
        assert each.is_staff == (each == assistant)
        assert not each.groups.exists()
        assert each.user_permissions.count() == (7 if each == assistant else 0)
    password = {"password1": NEW_PASSWORD, "password2": NEW_PASSWORD}
    for url, data in (
        (f"{USERS}{staff.pk}/change/", form),
        (f"{USERS}{staff.pk}/password/", password),
        (f"{USERS}{staff.pk}/delete/", {"post": "yes"}),
        ("/admin/auth/group/add/", form),
        (f"/admin/auth/group/{group.pk}/change/", form),
    ):
        assert client.post(url, data).status_code == 403, url
    selected = {"action": "delete_selected", "_selected_action": str(staff.pk), "post": "yes"}
    client.post(USERS, selected)
    before = staff.password
    staff.refresh_from_db()
    assert (staff.email, staff.password, staff.is_superuser) == ("staff@example.com", before, True)
    assert not group.permissions.exists()
    # A superuser does
    assert browser.post(f"{USERS}{user.pk}/change/", form).status_code == 302
    user.refresh_from_db()
    assert (user.is_staff, user.is_superuser, user.groups.get()) == (True, True, group)


# The history


def test_the_history_tells_what_happened(browser: Client, user: User) -> None:
    now = timezone.now()
    run = make_run(
        trigger="user",
        agency=user.agency,
        user=user,
        status="failed",
        pages=2,
        started_at=now - timedelta(seconds=90),
        finished_at=now - timedelta(seconds=87.5),
        error_code="ultravox_error",
        error_message="Ultravox answered with status 400.",
    )
    for page in ("", f"{run.pk}/change/"):
        html = shown(browser, RUNS + page)
        for word in ("Failed", "user@example.com", "Agency", "2.5", "answered with status 400"):
            assert word in html, (page, word)
    assert "ultravox_error" in html


def test_a_dead_run_is_shown_as_abandoned(browser: Client) -> None:
    now = timezone.now()
    dead = make_run(heartbeat_at=now - timedelta(minutes=5), started_at=now - timedelta(minutes=6))
    alive = make_run(agency=Agency.objects.create(name="Alive"))
    states = re.findall(r'class="field-outcome">([^<]+)<', shown(browser, RUNS))
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
    with django_assert_max_num_queries(14) as few:
        shown(browser, RUNS)
    for number in range(150):
        other = Agency.objects.create(name=f"Agency {number}")
        make_run(status="succeeded", agency=other, user=user)
    with django_assert_max_num_queries(len(few)):
        shown(browser, RUNS)


# Sync now


def sync(browser: Client, data: dict[str, str] | None = None) -> list[tuple[str, str]]:
    """Press the button, and return the messages above the list."""
    response = browser.post(SYNC, data)
    assert (response.status_code, response["Location"]) == (302, VOICES)
    said = [(it.level_tag, str(it)) for it in get_messages(response.wsgi_request)]
    html = shown(browser, VOICES)
    assert all(message in html for _, message in said)
    return said


def test_sync_now(staff: User, agency: Agency, ultravox: Ultravox) -> None:
    browser = browser_of(staff, enforce_csrf_checks=True)
    assert browser.post(SYNC).status_code == 403
    assert ultravox.requests == []
    form = re.search(rf'<form[^>]*action="{SYNC}".*?</form>', shown(browser, VOICES), re.DOTALL)
    assert form
    token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', form[0])
    assert token
    data = {"csrfmiddlewaretoken": token[1]}
    assert sync(browser, data) == [("success", SYNCED)]
    assert Voice.objects.count() == 300
    run = SyncRun.objects.get()
    assert (run.trigger, run.status, run.user, run.agency) == ("admin", "succeeded", staff, agency)
    ultravox.voices = [*ultravox.voices, {"name": "nameless"}]
    [(level, message)] = sync(browser, data)
    assert level == "success"
    assert message.startswith(SYNCED)
    assert "1 record" in message
    ultravox.fault = lambda exchange: exchange.reply(400)
    error = "Ultravox answered with status 400; nothing was changed."
    assert sync(browser, data) == [("error", error)]
    assert Voice.objects.count() == 300
    Agency.objects.all().delete()
    [(level, message)] = sync(browser, data)
    assert level == "error"
    assert message.startswith("No Ultravox API key is configured")


def test_voices_staff_may_look_and_sync(
    assistant: User, agency: Agency, ultravox: Ultravox
) -> None:
    permit(assistant, "view_voice", "view_syncrun")
    client = browser_of(assistant)
    assert "Sync now" in shown(client, VOICES)
    assert sync(client) == [("success", SYNCED)]
    assert SyncRun.objects.get().user == assistant
    shown(client, f"{VOICES}{Voice.objects.all()[0].pk}/change/")
    shown(client, RUNS)
    for url in (AGENCIES, USERS, f"{BEAT}/periodictask/"):
        assert client.get(url).status_code == 403
    html = shown(client, "/admin/")
    assert VOICES in html
    assert RUNS in html
    assert AGENCIES not in html


def test_staff_without_permissions_see_nothing(
    assistant: User, user: User, ultravox: Ultravox
) -> None:
    run, voice = make_run(agency=user.agency, user=user), make_voice()
    client = browser_of(assistant)
    for url in (VOICES, f"{VOICES}{voice.pk}/change/", RUNS, f"{RUNS}{run.pk}/change/", SYNC):
        response = client.get(url)
        assert response.status_code == 403, url
        assert "html" in response["Content-Type"]
    assert client.post(SYNC).status_code == 403
    assert ultravox.requests == []
    html = shown(client, "/admin/")
    assert VOICES not in html
    assert RUNS not in html


def test_the_group_of_voices_staff_is_there_after_migrate(project: Callable[..., Project]) -> None:
    rows = project().database.rows(
        "SELECT g.name, p.codename FROM auth_group g"
        " JOIN auth_group_permissions gp ON gp.group_id = g.id"
        " JOIN auth_permission p ON p.id = gp.permission_id ORDER BY p.codename"
    )
    assert rows == [("Voices staff", "view_syncrun"), ("Voices staff", "view_voice")]


def test_sync_now_is_only_posted(browser: Client, agency: Agency, ultravox: Ultravox) -> None:
    for method in ("GET", "HEAD", "PUT", "DELETE", "PATCH"):
        assert browser.generic(method, SYNC)["Location"] == VOICES  # as after a login in between
    assert ultravox.requests == []


@pytest.mark.parametrize("who", ["nobody", "user", "former"])
def test_sync_now_is_for_staff(user: User, ultravox: Ultravox, who: str) -> None:
    client = Client() if who == "nobody" else browser_of(user)
    if who == "former":
        User.objects.update(is_staff=True, is_active=False)
    response = client.post(SYNC)
    assert response.status_code == 302
    assert response["Location"].startswith("/admin/login/")
    assert ultravox.requests == []


# All pages


# What the content security policy forbids
INLINE = re.compile(
    r'<style|<script(?![^>]*\s(src=|type="[^"]*json"))|<\w[^>]*\s(style|on\w+)='
    r'|\s(src|action)="(https?:)?//|="\s*javascript:',
    re.IGNORECASE,
)


def test_all_pages_open_and_keep_the_policy(browser: Client, user: User) -> None:
    task = PeriodicTask.objects.get(task="voices.sync_voices")
    schedules = ("interval", "crontab", "solar", "clocked")
    voice, run = make_voice(definition={"a": 1}), make_run()
    for page in (
        *("/admin/", "/admin/password_change/", "/admin/voices/", "/admin/agencies/", f"{BEAT}/"),
        *(VOICES, f"{VOICES}{voice.pk}/change/", f"{VOICES}{voice.pk}/history/"),
        *(RUNS, f"{RUNS}{run.pk}/change/"),
        *(AGENCIES, f"{AGENCIES}add/", f"{AGENCIES}{user.agency_id}/change/"),
        f"{AGENCIES}{user.agency_id}/delete/",
        *(USERS, f"{USERS}add/", f"{USERS}{user.pk}/change/", f"{USERS}{user.pk}/password/"),
        *("/admin/auth/group/", "/admin/auth/group/add/"),
        *(f"{BEAT}/periodictask/{page}" for page in ("", "add/", f"{task.pk}/change/")),
        f"{BEAT}/periodictask/{task.pk}/history/",
        *(f"{BEAT}/{kind}schedule/{page}" for kind in schedules for page in ("", "add/")),
    ):
        response = browser.get(page)
        assert response.status_code == 200, page
        policy = response["Content-Security-Policy"]
        assert "default-src 'self'" in policy
        assert "unsafe" not in policy
        assert not INLINE.search(response.content.decode()), page


def test_the_login_page_keeps_the_policy_and_logs_in(client: Client, staff: User) -> None:
    response = client.get("/admin/", follow=True)
    assert response.redirect_chain[-1][0].startswith("/admin/login/")
    assert not INLINE.search(response.content.decode())
    data = {"username": "STAFF@Example.com", "password": PASSWORD, "next": VOICES}
    assert client.post(reverse("admin:login"), data)["Location"] == VOICES
    data["next"] = "https://elsewhere.example/"
    assert client.post(reverse("admin:login"), data)["Location"] == "/"


def test_the_interval_is_changed_in_the_admin(browser: Client) -> None:
    task = PeriodicTask.objects.get(task="voices.sync_voices")
    assert (task.interval.every, task.interval.period) == (6, "hours")
    url = f"{BEAT}/intervalschedule/{task.interval.pk}/change/"
    sent = dict(re.findall(r'name="([^"]+_FORMS)" value="(\d+)"', shown(browser, url)))
    no_tasks = sent | {name: "0" for name in sent if "INITIAL" in name or "TOTAL" in name}
    assert browser.post(url, no_tasks | {"every": "2", "period": "hours"}).status_code == 302
    assert PeriodicTask.objects.get(task="voices.sync_voices").interval.every == 2
    disable = {"action": "disable_tasks", "_selected_action": str(task.pk)}
    assert browser.post(f"{BEAT}/periodictask/", disable).status_code == 302
    assert PeriodicTask.objects.get(task="voices.sync_voices").enabled is False


# What staff may send


@pytest.mark.parametrize(
    "address",
    [
        "voices/voice/_00/change/",
        "voices/voice/%00/history/",
        "voices/voice/?q=%00",
        "voices/voice/?provider__exact=%00",
        "voices/voice/?name__icontains=%00",
        "voices/voice/?name__regex=[",
        "voices/voice/?last_synced_at__year=999999999999",
        "voices/voice/?p=99999999999999999999",
        "voices/syncrun/?pages=" + "9" * 30,
        "voices/syncrun/?error_message__contains=%00",
        "voices/syncrun/?agency__id__exact=x",
        "voices/syncrun/99999999999999999999999/change/",
        "agencies/agency/_00/delete/",
        "agencies/user/?agency__id__exact=%00",
        "r/7/%00/",
        "axes/accessattempt/?username=%00",
        "autocomplete/?app_label=agencies&model_name=user&field_name=agency&term=%00",
        "django_celery_beat/periodictask/_00/change/",
        "login/?next=//elsewhere.example",
    ],
)
def test_no_address_of_the_admin_breaks_it(client: Client, staff: User, address: str) -> None:
    client.raise_request_exception = False
    client.force_login(staff)
    answer = client.get(f"/admin/{address}")
    assert answer.status_code < 500
    assert "elsewhere" not in answer.headers.get("Location", "")
