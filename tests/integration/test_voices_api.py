"""The read API over HTTP: addresses, parameters, bodies, headers, callers."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import quote, urlsplit

import pytest
import time_machine
from django.db import connection
from django.test import Client

from agencies.models import Agency, User
from sandbox.catalogue import make_voices
from tests.support.answers import ADDRESSES, TOKEN, assert_error
from tests.support.environment import PASSWORD, SERVICE_KEY
from tests.support.rows import NOW, add_private_voice, add_run, add_voice, bearer
from tests.ultravox import Ultravox
from voices.models import SyncRun
from voices.sync import sync_voices

pytestmark = pytest.mark.django_db

LIST, ALIAS, RUNS = "/api/voices/", "/functions/v1/voices-list", "/api/sync-runs/"
SERVICE = {"apikey": SERVICE_KEY}
HOUR = timedelta(hours=1)
AUDIO = "https://example.com/a.wav"


@pytest.fixture
def get(client: Client) -> Callable[..., Any]:
    """Return the JSON at an address, for a user or, without one, for a service."""

    def get(address: str = LIST, user: User | None = None, **query: Any) -> Any:
        response = client.get(address, query, headers=bearer(user) if user else SERVICE)
        assert response.status_code == 200, response.content
        return response.json()

    return get


# Bodies


def test_bodies(get: Any, agency: Agency) -> None:
    generic = {"headers": {"k": "secret"}, "responseSampleRate": 8000}
    add_voice("a", "A", preview_url=AUDIO, definition={"generic": generic, "other": 2**70})
    add_voice("b", "B", description="x", language_label="y", definition=None)
    run = add_run(agency, synced=1)
    body = get()
    assert list(body) == ["count", "next", "previous", "results", "facets", "last_sync"]
    names = ["primary_language", "provider", "ownership", "billing_style", "listed"]
    assert list(body["facets"]) == names
    assert body["facets"]["ownership"] == [{"value": "public", "label": "Public", "count": 2}]
    assert body["last_sync"]["synced"] == 1
    assert body["last_sync"]["finished_at"].endswith("Z")
    assert datetime.fromisoformat(body["last_sync"]["finished_at"]) == run.finished_at
    first, second = body["results"]
    assert second == {
        "id": "b",
        "name": "B",
        "description": "x",
        "language_label": "y",
        "primary_language": None,
        "ownership": "public",
        "billing_style": None,
        "provider": None,
        "preview_url": None,
        "last_synced_at": "2026-11-25T12:00:00.123456Z",
        "listed": True,
    }
    assert first["preview_url"].startswith("http://testserver/api/voices/a/preview?signature=")
    masked = {"generic": {"headers": "••••••", "responseSampleRate": 8000}, "other": "••••••"}
    assert get("/api/voices/a/") == first | {"definition": masked}
    assert get("/api/voices/b") == second | {"definition": None}
    SyncRun.objects.all().delete()
    assert get()["last_sync"] is None


def test_search_follows_each_sync(ultravox: Ultravox, agency: Agency, get: Any) -> None:
    for name in ("Émilie", "Jörg"):
        ultravox.voices = [{"voiceId": "1", "name": name, "ownership": "public"}]
        sync_voices(trigger="service")
        counts = [get(search=word)["count"] for word in ("emilie", "jorg")]
        assert counts == [name == "Émilie", name == "Jörg"]


def test_pages(get: Any, agency: Agency) -> None:
    for voice_id in "abcdefg":
        add_voice(voice_id)
    first = get(page_size=3)
    assert first["next"] == "http://testserver/api/voices/?page=2&page_size=3"
    second = get(first["next"])
    assert [voice["id"] for voice in second["results"]] == ["d", "e", "f"]
    assert second["previous"] == "http://testserver/api/voices/?page_size=3"
    last = get(second["next"])
    assert (last["next"], last["previous"], len(last["results"])) == (None, first["next"], 1)
    assert (first["previous"], first["count"], last["count"]) == (None, 7, 7)
    empty = get(search="no such voice")
    assert [empty[name] for name in ("count", "results", "next", "previous")] == [0, [], None, None]
    alias = get(ALIAS, page_size=6, forceFunctionRegion="eu-west-1")
    assert alias["next"].startswith("http://testserver/functions/v1/voices-list?")


INVALID = {
    "page": ["0", "x", "", "1e3", "9" * 20, "1.0", "%201", "%D9%A1", "1&page=2", "2"],
    "page_size": ["0", "201"],
    "ordering": ["id", "--name", "name&ordering=provider"],
    "listed": ["1", "", "True"],
    "search": ["a&search=b", "x" * 1001, "%00"],
    "id": ["%00"],
    "provider": ["%00"],
    "language": ["en_us!", "", "en&language=--"],
    "primary_language": ["en"],
    "limit": ["5"],
    "forceFunctionRegion": ["x"],
    "format": ["xml"],
    "page[]": ["1"],
}


@pytest.mark.parametrize("name", INVALID)
def test_invalid_parameters_are_named(client: Client, db: None, name: str) -> None:
    for value in INVALID[name]:
        response = client.get(f"{LIST}?{name}={value}", headers=SERVICE)
        assert_error(response, 400, "invalid_request")
        assert name in response.json()["message"]


def test_parameters_reach_the_search(get: Any, agency: Agency) -> None:
    add_voice("a", primary_language="zh_CN", provider="LMNT")
    add_voice("b", primary_language="en-US", billing_style="x")
    add_private_voice("c", agency)
    for query, expected in (
        ({"language": "zh_cn"}, "a"),  # no language tag, but a voice has it
        ({"language": "EN"}, "b"),
        ({"provider": ["LMNT", "other"], "billing_style": "-"}, "a"),
        ({"ownership": "private"}, "c"),
        ({"listed": "true"}, ""),
        ({"listed": "false", "ordering": "-name"}, "cba"),
        ({"id": ["b", "a", "none"]}, "ab"),
        ({"search": "EN"}, "b"),
    ):
        assert "".join(voice["id"] for voice in get(**query)["results"]) == expected, query


# Addresses


def test_ids_of_any_characters(get: Any, client: Client) -> None:
    with_address = (
        *("preview", "50%", "50%25", "%2F", "é€", "a b+c", "x?y#z", "a\nb", "'\"<>", "..a"),
    )
    without_address = ("a/b", "a/preview", "sync/more", "/", "a/", "a//b", ".", "..")
    for voice_id in (*with_address, *without_address, "sync"):
        add_voice(voice_id, preview_url=AUDIO)
        [voice] = get(id=voice_id)["results"]
        assert voice["id"] == voice_id
        assert (voice["preview_url"] is None) == (voice_id in without_address)
        if voice_id in with_address:
            address = f"{LIST}{quote(voice_id, safe='')}"
            assert get(address)["id"] == get(f"{address}/")["id"] == voice_id
            link = urlsplit(voice["preview_url"])
            assert client.get(f"{link.path}?{link.query}")["Location"] == AUDIO
    for encoded in ("a%2Fb", "a%00b", "%2F", "a%2F%2Fb", "none"):
        assert_error(client.get(f"{LIST}{encoded}/", headers=SERVICE), 404, "not_found")
    for address in ("/api/voices/sync", "/api/voices/sync/"):
        assert_error(client.get(address), 405, "method_not_allowed")


def test_200_ids_in_one_address(get: Any, agency: Agency) -> None:
    add_voice("0" * 36)
    assert get(id=[f"{number:036}" for number in range(200)], page_size=200)["count"] == 1


@pytest.mark.parametrize(
    "address",
    [LIST, LIST.rstrip("/"), ALIAS, f"{ALIAS}/", "/api/voices/a/", RUNS, "/api/sync-runs/1"],
)
def test_methods_come_before_credentials(client: Client, db: None, address: str) -> None:
    assert_error(client.get(address), 401, "not_authenticated")
    assert client.head(address).status_code == 401
    assert client.options(address).status_code == 204
    for method in ("POST", "PUT", "PATCH", "DELETE", "TRACE", "BREW"):
        response = client.generic(method, address)
        assert_error(response, 405, "method_not_allowed")
        assert response["Allow"] == "GET, HEAD, OPTIONS"


# Headers


def test_an_etag_lasts_for_as_long_as_the_body(client: Client, user: User) -> None:
    add_voice("open", preview_url=AUDIO)
    add_private_voice("clone", user.agency)
    run = add_run(user.agency)
    client.force_login(user)
    addresses = (LIST, f"{LIST}?search=open", "/api/voices/open/", RUNS, f"{RUNS}{run.pk}/")
    with time_machine.travel(NOW + timedelta(minutes=10), tick=False):
        responses = {address: client.get(address) for address in addresses}
    with time_machine.travel(NOW + timedelta(minutes=59), tick=False):
        for address, first in responses.items():
            assert first["Cache-Control"] == "private, no-cache"
            vary = {name.strip().lower() for name in first["Vary"].split(",")}
            assert vary >= {"authorization", "apikey", "cookie"}
            known = client.get(address, headers={"if-none-match": first["ETag"]})
            assert (known.status_code, known.content, known["ETag"]) == (304, b"", first["ETag"])
            assert known["Cache-Control"] == first["Cache-Control"]
            assert "authorization" in known["Vary"].lower()
            for headers in ({"if-none-match": '"other"'}, {"if-match": '"other"'}):
                other = client.get(address, headers=headers)
                assert (other.status_code, other.content) == (200, first.content)
            head = client.head(address)
            assert (head.status_code, head.content, head["ETag"]) == (200, b"", first["ETag"])
        with connection.cursor() as cursor:
            cursor.execute("UPDATE ultravox_voices SET description = 'other' WHERE id = 'open'")
        for address in addresses[:3]:
            etag = responses[address]["ETag"]
            assert client.get(address, headers={"if-none-match": etag}).status_code == 200, address
    with time_machine.travel(NOW + timedelta(minutes=61), tick=False):  # new signatures in links
        etag = responses[LIST]["ETag"]
        assert client.get(LIST, headers={"if-none-match": etag}).status_code == 200


# Callers


def test_invisible_voices_and_runs_are_not_found(client: Client, user: User) -> None:
    other = Agency.objects.create(name="Other")
    add_private_voice("clone", other, preview_url=AUDIO)
    run = add_run(other)
    for address in (
        "/api/voices/clone/",
        "/api/voices/clone/preview",
        "/api/voices/none/",
        f"{RUNS}{run.pk}/",
        f"{RUNS}{10**18 - 1}/",
    ):
        assert_error(client.get(address, headers=bearer(user)), 404, "not_found")


def test_readers_need_an_agency_or_the_permission(client: Client, user: User, staff: User) -> None:
    add_voice("a")
    User.objects.filter(pk=user.pk).update(agency=None, is_staff=True)
    for address in (LIST, ALIAS, "/api/voices/a/", "/api/voices/a/preview", RUNS):
        assert_error(client.get(address, headers=bearer(user)), 403, "not_agency_user")
    for address in (LIST, "/api/voices/a/", RUNS):
        assert client.get(address, headers=bearer(staff)).status_code == 200


def test_a_session_reads_and_syncs_with_a_csrf_token(
    user: User, ultravox: Ultravox, staff: User
) -> None:
    ultravox.voices = make_voices(3, base_url=ultravox.url)
    client = Client(enforce_csrf_checks=True)
    client.force_login(user)
    assert client.get(LIST).status_code == 200
    for address in ADDRESSES:
        assert_error(client.post(address), 403, "csrf_failed")
    client.cookies["csrftoken"] = token = "a" * 32
    response = client.post("/api/voices/sync/", headers={"x-csrftoken": token})
    assert (response.status_code, response.json()["stats"]) == (200, {"synced": 3})
    assert SyncRun.objects.get().user == user
    # A bearer token or a key decides before the session.
    assert_error(client.get(LIST, headers={"authorization": "Bearer x"}), 401, "invalid_token")
    assert_error(client.get(LIST, headers={"apikey": "x"}), 401, "invalid_api_key")
    assert client.post("/api/voices/sync/", headers=SERVICE).status_code == 200
    login = {"email": user.email, "password": PASSWORD}
    assert client.post(TOKEN, login, content_type="application/json").status_code == 200
    client.force_login(staff)
    assert client.get(LIST).status_code == 200
    client.cookies["csrftoken"] = token
    response = client.post("/api/voices/sync/", headers={"x-csrftoken": token})
    assert_error(response, 403, "not_agency_user")
    User.objects.filter(pk=staff.pk).update(is_active=False)
    assert_error(client.get(LIST), 401, "not_authenticated")


# Runs


def test_runs(client: Client, get: Any, user: User, staff: User) -> None:
    colleague = User.objects.create_user("colleague@example.com", PASSWORD, agency=user.agency)
    counts = dict.fromkeys(("synced", "voices", "total"), 300)
    run = add_run(user.agency, NOW - HOUR, user=colleague, trigger="user", pages=3, **counts)
    error = {"error_code": "ultravox_error", "error_message": "Ultravox had a problem."}
    add_run(user.agency, NOW, user=staff, trigger="admin", status="failed", **error)
    failed, succeeded = get(RUNS, user)["results"]
    assert succeeded == counts | {
        "id": run.pk,
        "trigger": "user",
        "status": "succeeded",
        "started_at": "2026-11-25T11:00:00.123456Z",
        "finished_at": "2026-11-25T11:00:01.123456Z",
        "started_by": colleague.email,
        "pages": 3,
        "skipped": 0,
        "code": None,
        "message": "Synced 300 voices from Ultravox",
    }
    shown = [failed[name] for name in ("status", "code", "message", "started_by")]
    assert shown == ["failed", *error.values(), None]
    assert get(RUNS)["results"][0]["started_by"] == staff.email
    assert get(f"{RUNS}{run.pk}/", user) == succeeded
    assert get(RUNS, page_size=1)["count"] == 2
    for query in ("page=3&page_size=1", "page_size=0", "search=x"):
        assert_error(client.get(f"{RUNS}?{query}", headers=SERVICE), 400, "invalid_request")


def test_a_running_sync_shows_its_progress(
    get: Any, user: User, ultravox: Ultravox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("voices.runs.HEARTBEAT", 0)
    shown: list[dict[str, Any]] = []
    sync_voices(
        trigger="user",
        agency=user.agency,
        user=user,
        progress=lambda run: shown.append(get(f"{RUNS}{run.pk}/", user)),
    )
    last = shown[-1]
    assert (last["status"], last["total"], last["finished_at"]) == ("running", 300, None)
    assert last["started_by"] == user.email
    assert 0 < last["voices"] == 100 * last["pages"] <= 300
    assert get(RUNS)["results"][0]["voices"] == 300


def test_a_dead_run_is_abandoned(get: Any, user: User) -> None:
    run = add_run(user.agency, NOW - 24 * HOUR, status="running", finished_at=None)
    shown = get(f"{RUNS}{run.pk}/")
    assert (shown["status"], shown["code"]) == ("abandoned", "abandoned")
    assert shown["message"]
