"""The admin: what staff see and change, and what it never shows."""

import re
from datetime import timedelta
from html import unescape
from typing import Any

import pytest
from django.contrib.auth.models import Group, Permission
from django.contrib.messages import get_messages
from django.test import Client
from django.utils import timezone
from django_celery_beat.models import PeriodicTask

from agencies.credentials import get_agency_credentials
from agencies.models import Agency, User
from tests.support.answers import stored_key
from tests.support.environment import PASSWORD
from tests.support.rows import add_run, add_voice
from tests.ultravox import API_KEY, Ultravox
from voices.labels import label
from voices.models import SyncRun

pytestmark = pytest.mark.django_db

VOICES, RUNS = "/admin/voices/voice/", "/admin/voices/syncrun/"
AGENCIES, USERS = "/admin/agencies/agency/", "/admin/agencies/user/"
BEAT = "/admin/django_celery_beat"
SYNC = f"{VOICES}sync/"
SECRET = "s3cr3t-marker"
NEW_KEY = "uvx-a-new-key-0123456789-wxyz"
PASSWORDS = dict.fromkeys(("password1", "password2"), "correct horse battery staple")


def browser_of(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


@pytest.fixture
def browser(staff: User) -> Client:  # a superuser
    return browser_of(staff)


@pytest.fixture
def assistant() -> User:  # without any permission
    return User.objects.create_user("assistant@example.com", PASSWORD, is_staff=True)


def open_page(browser: Client, url: str) -> str:
    response = browser.get(url)
    assert response.status_code == 200, url
    assert "unsafe" not in response["Content-Security-Policy"]
    return response.content.decode()


def press(browser: Client, url: str, data: dict[str, Any] | None = None) -> list[tuple[str, str]]:
    """Post a form, and return the messages on the page that it leads to."""
    response = browser.post(url, data)
    assert response.status_code == 302
    shown = [(message.level_tag, str(message)) for message in get_messages(response.wsgi_request)]
    html = unescape(open_page(browser, response["Location"]))
    assert all(message in html for _, message in shown)
    return shown


# Voices


@pytest.mark.parametrize("create", [lambda: add_voice("v1"), lambda: add_run(None)])
def test_voices_and_runs_are_read_only(browser: Client, create: Any) -> None:
    row = create()
    url = f"/admin/voices/{row._meta.model_name}/"
    before = type(row).objects.values().get()
    for page in ("add/", f"{row.pk}/delete/", f"{row.pk}/change/"):
        data = {"name": "After", "synced": "9", "post": "yes", "_save": "Save"}
        assert browser.post(url + page, data).status_code == 403, page
    browser.post(url, {"action": "delete_selected", "_selected_action": row.pk, "post": "yes"})
    assert type(row).objects.values().get() == before
    for page in ("", f"{row.pk}/change/"):
        assert not re.search(r'name="(_save|_continue|action)"', open_page(browser, url + page))


def test_voices_are_searched_and_filtered(browser: Client) -> None:
    def found(query: str) -> set[str]:
        response = browser.get(f"{VOICES}?{query}")
        assert response.status_code == 200, query
        return {voice.pk for voice in response.context["cl"].result_list}

    names = ("provider", "primary_language", "ownership", "billing_style")
    add_voice("one", "Amélie", **dict.fromkeys(names, "First one"))
    add_voice("none", ownership=None)
    assert found("q=AMELIE") == {"one"}
    assert found(f"q={'x' * 20_000}") == set()
    for name in names:
        assert found(f"{name}=First%20one") == {"one"}
        assert found(f"{name}__isnull=True") == {"none"}


def test_voices_are_shown_with_labels_and_a_play_button(browser: Client) -> None:
    values = {"billing_style": "VOICE_BILLING_STYLE_INCLUDED", "ownership": "private"}
    values |= {"provider": "lmnt"}
    add_voice("one", preview_url="https://example.com/one.mp3", **values)
    add_voice("two", language_label="Klingon")
    html = open_page(browser, f"{VOICES}?_facets=True")
    assert "VOICE_BILLING" not in re.sub(r'href="[^"]*"', "", html)
    labels = {label(name, value) for name, value in values.items()}
    for text in ("Klingon", *labels, *(f"{text} (1)" for text in labels)):
        assert text in html, text
    [link] = re.findall(r'<voice-play name="one" src="([^"]+)">', html)
    assert browser.get(unescape(link))["Location"] == "https://example.com/one.mp3"
    assert link in open_page(browser, f"{VOICES}one/change/")
    assert "<voice-play" not in open_page(browser, f"{VOICES}two/change/")


def test_a_definition_is_shown_without_secrets(browser: Client) -> None:
    generic = {"url": f"https://{SECRET}@tts.example/", "responseSampleRate": 24000}
    add_voice("v1", definition={"generic": generic})
    html = open_page(browser, f"{VOICES}v1/change/")
    assert "&quot;url&quot;: &quot;••••••&quot;" in html
    assert "&quot;responseSampleRate&quot;: 24000" in html
    for page in ("", "v1/change/", "v1/history/", f"?q={SECRET[:4]}"):
        assert SECRET not in open_page(browser, VOICES + page), page
    for name in ("icontains", "generic__url", "generic__headers__A__startswith"):
        right, wrong = (browser.get(f"{VOICES}?definition__{name}={it}") for it in (SECRET, "xyz"))
        assert (right.status_code, right.content) == (wrong.status_code, wrong.content)


# Agencies


def change(browser: Client, agency: Agency, **data: str) -> Any:
    return browser.post(f"{AGENCIES}{agency.pk}/change/", {"name": agency.name} | data)


def test_a_key_is_entered_kept_replaced_and_removed(browser: Client) -> None:
    browser.post(f"{AGENCIES}add/", {"name": "New", "new_key": f" {NEW_KEY} "})
    agency = Agency.objects.get(name="New")
    for entered, key in (("", NEW_KEY), ("another-key", "another-key")):
        change(browser, agency, name=f"With {key}", new_key=entered)
        stored = Agency.objects.get(name=f"With {key}")
        assert get_agency_credentials(stored) == key
    change(browser, agency, remove_key="on")
    assert stored_key(agency) == ""
    assert '<td class="field-stored_key">none</td>' in open_page(browser, AGENCIES)


def test_only_the_last_four_characters_of_a_key_are_shown(browser: Client, agency: Agency) -> None:
    change(browser, agency, new_key=NEW_KEY)
    for page in ("", f"{agency.pk}/change/", f"{agency.pk}/history/", f"{agency.pk}/delete/"):
        html = open_page(browser, AGENCIES + page)
        for secret in (NEW_KEY[-5:], API_KEY, str(stored_key(agency))):
            assert secret not in html
        assert ("••••wxyz" in html) == (page in ("", f"{agency.pk}/change/"))


def test_an_invalid_form_changes_nothing(browser: Client, agency: Agency) -> None:
    assert NEW_KEY not in change(browser, agency, name="", new_key=NEW_KEY).content.decode()
    for key in ("schlüssel", "two\tparts", "a\nb"):
        assert change(browser, agency, new_key=key).status_code == 200, key
    assert get_agency_credentials(Agency.objects.get()) == API_KEY


def test_keys_are_tested(browser: Client, agency: Agency, ultravox: Ultravox) -> None:
    def statuses() -> list[str]:
        return re.findall(r'field-key_status">([^<]+)<', open_page(browser, AGENCIES))

    agencies = [agency]
    for name, key in (("Revoked", "revoked"), ("Keyless", "")):
        agencies.append(Agency.objects.create(name=name, ultravox_api_key=key))
    data = {"action": "test_key", "_selected_action": [str(each.pk) for each in agencies]}
    assert statuses() == ["Not used yet", "Not used yet", "-"]
    works, revoked, keyless = press(browser, AGENCIES, data)
    assert works == ("success", "Agency: the key works.")
    assert revoked[1].startswith("Revoked: Ultravox")
    assert "401" in revoked[1]
    assert keyless[1].startswith("Keyless: Your agency has no Ultravox API key.")
    assert len(ultravox.requests) == 2
    assert statuses() == ["Works", "Rejected", "-"]
    ultravox.fault = lambda exchange: exchange.reply(400)
    [(level, message)] = press(browser, AGENCIES, data)  # it stops at once
    assert (level, "400" in message) == ("error", True)
    assert statuses() == ["Works", "Rejected", "-"]
    assert not SyncRun.objects.exists()


# Users


def test_users_are_added(browser: Client, agency: Agency) -> None:
    supabase_id = "5b1e6a4e-3a58-4f0b-9d53-6a1c1f4f6a52"
    form = {"email": "New@Example.com", "agency": str(agency.pk), "usable_password": "true"}
    form |= PASSWORDS | {"supabase_id": supabase_id}
    assert browser.post(f"{USERS}add/", form).status_code == 302
    user = User.objects.get(email="NEW@example.com")
    assert (str(user.pk), user.agency, user.is_active) == (supabase_id, agency, True)
    assert user.check_password(PASSWORDS["password1"])
    assert "user with this ID already" in browser.post(f"{USERS}add/", form).content.decode()


def test_only_superusers_grant_permissions(
    browser: Client, assistant: User, user: User, staff: User
) -> None:
    assistant.user_permissions.add(
        *Permission.objects.filter(content_type__model__in=["user", "group"]).exclude(pk=1)
    )
    group = Group.objects.create(name="All-powerful")
    client = browser_of(assistant)
    form = {"is_staff": "on", "is_superuser": "on", "groups": str(group.pk)}
    form |= {"user_permissions": "1", "name": "Renamed", "permissions": "1"}
    for each in (assistant, user):
        data = form | {"email": each.email}
        assert client.post(f"{USERS}{each.pk}/change/", data).status_code == 302
        each.refresh_from_db()
        assert (each.is_staff, each.is_superuser) == (each == assistant, False)
        assert not each.groups.exists()
        assert not each.user_permissions.filter(pk=1).exists()
    for url, data in (
        (f"{USERS}{staff.pk}/change/", form),
        (f"{USERS}{staff.pk}/password/", PASSWORDS),
        (f"{USERS}{staff.pk}/delete/", {"post": "yes"}),
        ("/admin/auth/group/add/", form),
        (f"/admin/auth/group/{group.pk}/change/", form),
    ):
        assert client.post(url, data).status_code == 403, url
    browser.post(f"{USERS}{user.pk}/change/", form | {"email": user.email})
    user.refresh_from_db()
    assert (user.is_superuser, user.groups.get()) == (True, group)


# Runs and syncs


def test_runs_are_shown(browser: Client, user: User) -> None:
    now = timezone.now()
    error = {"error_code": "ultravox_error", "error_message": "Ultravox had a problem."}
    start, end = now - timedelta(seconds=3), now - timedelta(seconds=0.5)
    run = add_run(user.agency, start, user=user, finished_at=end, status="failed", **error)
    for page in ("", f"{run.pk}/change/"):
        html = open_page(browser, RUNS + page)
        for text in ("Failed", "user@example.com", "Agency", "2.5", "Ultravox had a problem."):
            assert text in html, (page, text)
    running = {"status": "running", "finished_at": None}
    dead = add_run(None, now - timedelta(1), **running)
    add_run(Agency.objects.create(name="Alive"), now, **running)
    outcomes = re.findall(r'class="field-outcome">(\w+)', open_page(browser, RUNS))
    assert outcomes == ["Running", "Failed", "Abandoned"]
    assert "Abandoned" in open_page(browser, f"{RUNS}{dead.pk}/change/")
    dead.refresh_from_db()
    assert dead.status == "running"  # reading changes nothing


def test_sync_now(staff: User, agency: Agency, ultravox: Ultravox) -> None:
    browser = browser_of(staff)
    assert browser.get(SYNC)["Location"] == VOICES  # after a login, for example
    assert press(browser, SYNC) == [("success", "Synced 300 voices from Ultravox")]
    run = SyncRun.objects.get()
    assert (run.trigger, run.status, run.user, run.agency) == ("admin", "succeeded", staff, agency)
    ultravox.voices = [*ultravox.voices, {"name": "no voiceId"}]
    success, warning = press(browser, SYNC)
    assert (success[0], warning[0], warning[1][:2]) == ("success", "warning", "1 ")
    ultravox.fault = lambda exchange: exchange.reply(400)
    [(level, message)] = press(browser, SYNC)
    assert (level, "400" in message) == ("error", True)


def test_voices_staff_view_and_sync(assistant: User, agency: Agency, ultravox: Ultravox) -> None:
    client, pages = browser_of(assistant), (VOICES, RUNS, f"{VOICES}v1/change/")
    add_voice("v1")
    for url in (*pages, SYNC):
        assert client.post(url).status_code == client.get(url).status_code == 403
    assert ultravox.requests == []
    assistant.groups.add(Group.objects.get(name="Voices staff"))  # a migration adds it
    html = open_page(client, "/admin/")
    for url in pages:
        open_page(client, url)
    for url in (AGENCIES, USERS, f"{BEAT}/periodictask/"):
        assert client.get(url).status_code == 403
        assert url not in html
    assert press(client, SYNC) == [("success", "Synced 300 voices from Ultravox")]


# All pages


def test_every_page_opens(browser: Client, user: User) -> None:
    task = PeriodicTask.objects.get(task="voices.sync_voices")
    assert (task.enabled, str(task.schedule)) == (True, "<freq: 6.00 hours>")
    run, agency = add_run(None), f"{AGENCIES}{user.agency_id}/"
    add_voice("v1", definition={"a": 1})
    for page in (
        *("/admin/", f"{BEAT}/", VOICES, f"{VOICES}v1/change/", RUNS, f"{RUNS}{run.pk}/change/"),
        *(AGENCIES, f"{AGENCIES}add/", f"{agency}change/", f"{agency}delete/"),
        *(USERS, f"{USERS}add/", f"{USERS}{user.pk}/change/", f"{USERS}{user.pk}/password/"),
        *("/admin/auth/group/", "/admin/auth/group/add/", "/admin/axes/accessattempt/"),
        *(f"{BEAT}/periodictask/{page}" for page in ("", "add/", f"{task.pk}/change/")),
        *(f"{BEAT}/{kind}schedule/add/" for kind in ("interval", "crontab", "solar", "clocked")),
    ):
        open_page(browser, page)


@pytest.mark.parametrize(
    "address",
    [
        *("voice/_00/change/", "voice/?q=%00", "voice/?name__regex=["),
        *("voice/?last_synced_at__year=999999999999", f"syncrun/{'9' * 30}/change/"),
    ],
)
def test_no_address_of_the_admin_causes_a_500(browser: Client, address: str) -> None:
    browser.raise_request_exception = False
    assert browser.get(f"/admin/voices/{address}").status_code < 500
