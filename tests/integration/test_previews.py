"""`GET /api/voices/<id>/preview`: who hears which voice, and how often Ultravox is asked."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
import time_machine
from django.conf import settings as django_settings
from django.db import connection
from django.test import Client
from rest_framework.throttling import SimpleRateThrottle

from agencies.models import Agency, User
from sandbox import audio
from tests.support.answers import MARKER, assert_error, store_raw_key
from tests.support.environment import ORIGIN, PASSWORD, SERVICE_KEY
from tests.support.project import wait_for
from tests.support.rows import NOW, add_voice, bearer
from tests.ultravox import API_KEY, Exchange, Ultravox
from voices.models import AgencyVoice, Voice

pytestmark = pytest.mark.django_db

SERVICE = {"apikey": SERVICE_KEY}
OTHER_KEY = "another-key"
ADDRESS = "/api/voices/v/preview"
WAV = audio.wav("v")

GetPreview = Callable[..., Any]


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, settings: Any) -> None:
    settings.PREVIEW_FOLDER = tmp_path / "previews"


@pytest.fixture
def voice(ultravox: Ultravox, agency: Agency) -> Voice:
    """A public voice whose preview Ultravox generates."""
    return add_generated("v", ultravox)


@pytest.fixture
def other_user(db: None) -> User:
    other = Agency.objects.create(name="Other", ultravox_api_key=OTHER_KEY)
    return User.objects.create_user("other@example.com", PASSWORD, agency=other)


@pytest.fixture
def get_preview(client: Client, voice: Voice, ultravox: Ultravox) -> GetPreview:
    """Request a preview as a service, or with other headers. Ultravox returns WAV."""
    ultravox.previews = reply()

    def get(address: str = ADDRESS, headers: dict[str, str] = SERVICE, **more: str) -> Any:
        return client.get(address, headers=headers | more)

    return get


def add_generated(voice_id: str, ultravox: Ultravox) -> Voice:
    return add_voice(voice_id, preview_url=f"{ultravox.url}/api/voices/{voice_id}/preview")


def reply(status: int = 200, body: bytes | Any = WAV, **headers: str) -> Callable[[Exchange], None]:
    fields = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda exchange: exchange.reply(status, body, headers=fields)


def link_of(client: Client, headers: dict[str, str], voice_id: str = "v") -> str:
    """Return the path and query of the `preview_url` in the caller's list of voices."""
    rows = client.get("/api/voices/", headers=headers).json()["results"]
    [url] = [row["preview_url"] for row in rows if row["id"] == voice_id]
    return urlsplit(url)._replace(scheme="", netloc="").geturl()


def later(seconds: float) -> Any:
    return time_machine.travel(datetime.now(UTC) + timedelta(seconds=seconds), tick=False)


def keys_sent(ultravox: Ultravox) -> list[str]:
    return [request.headers["x-api-key"] for request in ultravox.requests]


def test_audio_is_requested_once_and_labelled_by_its_bytes(
    client: Client, get_preview: GetPreview, ultravox: Ultravox
) -> None:
    mp3 = audio.mp3()
    ultravox.previews = reply(body=mp3, Content_Type="text/plain")
    for _ in range(2):
        response = get_preview()
        assert (response.status_code, response.content) == (200, mp3)
        assert response["Content-Type"] == "audio/mpeg"
        assert response["Accept-Ranges"] == "bytes"
        assert response["X-Content-Type-Options"] == "nosniff"
        assert response["Cache-Control"] == "private, max-age=3600"
    unchanged = get_preview(**{"if-none-match": response["ETag"]})
    assert (unchanged.status_code, unchanged.content) == (304, b"")
    head = client.head(ADDRESS, headers=SERVICE)
    assert (head.status_code, head.content, head["Content-Type"]) == (200, b"", "audio/mpeg")
    assert_error(client.post(ADDRESS), 405, "method_not_allowed")
    assert keys_sent(ultravox) == [API_KEY]


def test_a_range_of_the_audio(get_preview: GetPreview) -> None:
    response = get_preview(range="bytes=0-1", origin=ORIGIN)
    assert (response.status_code, response.content) == (206, WAV[:2])
    assert (response["Content-Type"], response["Content-Length"]) == ("audio/wav", "2")
    assert response["Content-Range"] == f"bytes 0-1/{len(WAV)}"
    assert response["Access-Control-Allow-Origin"] == ORIGIN
    assert "Content-Range" in response["Access-Control-Expose-Headers"]
    beyond = get_preview(range=f"bytes={len(WAV)}-")
    assert_error(beyond, 416, "range_not_satisfiable")
    assert beyond["Content-Range"] == f"bytes */{len(WAV)}"


@pytest.mark.parametrize(("size", "status"), [(10_000_000, 200), (10_000_001, 502)])
def test_the_largest_preview(
    get_preview: GetPreview, ultravox: Ultravox, size: int, status: int
) -> None:
    ultravox.previews = reply(body=WAV.ljust(size, b"\0"))
    assert get_preview().status_code == status


def test_a_private_preview_is_only_for_callers_who_see_the_voice(
    get_preview: GetPreview, ultravox: Ultravox, user: User, other_user: User
) -> None:
    Voice.objects.update(ownership="private")
    AgencyVoice.objects.create(agency=user.agency, voice_id="v", last_seen_at=NOW)
    assert_error(get_preview(headers=bearer(other_user)), 404, "not_found")
    response = get_preview(headers=bearer(user))
    assert (response.status_code, "authorization" in response["Vary"].lower()) == (200, True)
    assert_error(get_preview(headers=bearer(other_user)), 404, "not_found")
    assert get_preview().status_code == 200
    assert len(ultravox.requests) == 1


def test_a_link_plays_without_credentials_for_its_voice_only(
    client: Client, get_preview: GetPreview, ultravox: Ultravox, user: User
) -> None:
    add_generated("x:v", ultravox)
    prefix, _, code = link_of(client, bearer(user), "x:v").rpartition(":")
    forged = f"{prefix.replace('x%3Av', 'v')}:x:{code}"
    link = link_of(client, bearer(user))
    assert link.startswith(f"{ADDRESS}?signature=")
    for invalid in (link[:-1], f"{link}x", link.replace("/v/", "/x:v/"), forged):
        assert_error(client.get(invalid), 401, "invalid_token")
        assert client.get(invalid, headers=SERVICE).status_code == 200
    user.delete()
    assert client.get(link).status_code == 200


def test_a_link_is_valid_for_one_to_two_hours(client: Client, get_preview: GetPreview) -> None:
    def at(**since_start: int) -> Any:
        return time_machine.travel(NOW.replace(minute=0) + timedelta(**since_start), tick=False)

    with at(seconds=0):
        link = link_of(client, SERVICE)
    with at(minutes=59, seconds=59):
        assert link_of(client, SERVICE) == link
    with at(minutes=119, seconds=59):
        assert client.get(link).status_code == 200
        assert link_of(client, SERVICE) != link
    with at(hours=2):
        assert_error(client.get(link), 401, "invalid_token")


def test_requests_to_ultravox_are_limited_for_each_caller(
    get_preview: GetPreview, ultravox: Ultravox, user: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(SimpleRateThrottle.THROTTLE_RATES, "preview", "2/min")
    add_generated("w", ultravox)
    add_generated("x", ultravox)
    headers = bearer(user)
    for voice_id, status in (("v", 200), ("v", 200), ("w", 200), ("v", 200), ("x", 429)):
        assert get_preview(f"/api/voices/{voice_id}/preview", headers).status_code == status
    link = link_of(Client(), headers, "x")  # counts for its user
    assert_error(get_preview(link, {}), 429, "rate_limited")
    assert get_preview("/api/voices/x/preview").status_code == 200  # another caller
    assert get_preview("/api/voices/x/preview", headers).status_code == 200  # cached by now


def test_audio_is_cached_until_the_voice_changes(
    get_preview: GetPreview, voice: Voice, ultravox: Ultravox
) -> None:
    another_url = f"{voice.preview_url}?v=2"
    for column, value, count in (
        ("name", "v", 1),
        ("name", "another", 1),
        ("definition", {"a": 1}, 2),
        ("preview_url", another_url, 3),
    ):
        Voice.objects.update(**{column: value})
        assert get_preview().content == WAV
        assert len(ultravox.requests) == count


@pytest.mark.django_db(transaction=True)
def test_one_request_for_many_listeners_and_a_limit_on_waiting(
    voice: Voice, ultravox: Ultravox
) -> None:
    go_on = threading.Event()

    def reply_later(exchange: Exchange) -> None:
        go_on.wait(20)
        exchange.reply(200, WAV)

    def listen() -> Any:
        try:
            return Client().get(ADDRESS, headers=SERVICE)
        finally:
            connection.close()

    ultravox.previews = reply_later
    slots = django_settings.PREVIEW_SLOTS
    with ThreadPoolExecutor(slots + 2) as listeners:
        calls = [listeners.submit(listen) for _ in range(slots + 2)]
        try:
            wait_for(lambda: sum(call.done() for call in calls) == 2)
            for busy in [call.result() for call in calls if call.done()]:
                assert_error(busy, 503, "busy")
                assert int(busy["Retry-After"]) >= 1
        finally:
            go_on.set()
    assert sorted(call.result().status_code for call in calls) == [200] * slots + [503] * 2
    assert len(ultravox.requests) == 1


@pytest.mark.parametrize(
    "url", ["https://example.com/a.wav?x=1", "http://example.com/ä b.mp3", "http://127.0.0.1:1/a"]
)
def test_a_public_url_is_redirected_to(
    get_preview: GetPreview, ultravox: Ultravox, url: str
) -> None:
    Voice.objects.update(preview_url=url)
    response = get_preview()
    assert (response.status_code, unquote(response["Location"])) == (302, url)
    assert ultravox.requests == []


def test_a_redirect_from_ultravox_is_cached_for_a_minute(
    get_preview: GetPreview, ultravox: Ultravox
) -> None:
    public = "https://storage.example.com/a.wav?signed=1"
    ultravox.previews = reply(302, Location=public)
    for _ in range(2):
        response = get_preview()
        assert (response.status_code, response["Location"]) == (302, public)
        assert "no-store" in response["Cache-Control"]
    assert len(ultravox.requests) == 1
    with later(61):
        assert get_preview().status_code == 302
    assert len(ultravox.requests) == 2
    assert ultravox.decoy.connections == 0


INVALID_URLS = ["http://", "ftp://a/b", "https://[x", "https://example.com/" + "x" * 17_000]


@pytest.mark.parametrize(
    "location", [*INVALID_URLS, "", "http://example.com/a", "/audio/v.wav", "{ultravox}/v.wav"]
)
def test_any_other_redirect_is_not_followed(
    get_preview: GetPreview, ultravox: Ultravox, location: str
) -> None:
    ultravox.previews = reply(302, Location=location.format(ultravox=ultravox.url))
    for _ in range(2):
        assert_error(get_preview(), 502, "preview_unavailable")
    assert len(ultravox.requests) == 1


@pytest.mark.parametrize(
    ("url", "status", "code"),
    [(url, 404, "no_preview") for url in (None, "", "  ")]
    + [(url, 502, "preview_unavailable") for url in (*INVALID_URLS, "javascript:a", "a.wav")],
)
def test_no_or_an_invalid_preview_url(
    get_preview: GetPreview, url: str | None, status: int, code: str
) -> None:
    Voice.objects.update(preview_url=url)
    assert_error(get_preview(), status, code)


@pytest.mark.parametrize(
    ("status", "cause"),
    [(status, "provider") for status in (400, 418, 422, 500, 503)]
    + [(status, "key") for status in (401, 402, 403, 429)]
    + [(status, "voice") for status in (200, 404, 410)],
)
def test_an_error_names_its_cause_and_is_cached_for_a_minute(
    get_preview: GetPreview, ultravox: Ultravox, status: int, cause: str
) -> None:
    ultravox.previews = reply(status, {"detail": MARKER, "key": API_KEY})
    for _ in range(2):
        response = get_preview()
        assert_error(response, 502, "preview_unavailable")
        assert cause in response.json()["message"]
        assert status == 200 or str(status) in response.json()["message"]
    assert len(ultravox.requests) == 1
    ultravox.previews = reply()
    with later(61):
        assert get_preview().status_code == 200


@pytest.mark.parametrize("fault", ["resets", "hangs", "drips"])
def test_ultravox_has_its_timeout_and_one_request(
    get_preview: GetPreview, ultravox: Ultravox, settings: Any, fault: str
) -> None:
    settings.ULTRAVOX_TIMEOUT = 0.3
    ultravox.drip_interval = 0.1
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n"
    faults: dict[str, Callable[[Exchange], object]] = {
        "resets": lambda exchange: exchange.reset(),
        "hangs": lambda exchange: exchange.hang(),
        "drips": lambda exchange: exchange.drip([head, *([b"R"] * 99)]),
    }
    ultravox.previews = faults[fault]
    started_at = time.monotonic()
    response = get_preview()
    assert time.monotonic() - started_at < 3
    assert_error(response, 502, "preview_unavailable")
    assert response.json()["message"] == "The preview took too long. Try again in a minute."
    assert len(ultravox.requests) == 1


def test_the_caller_s_own_key_is_preferred(
    client: Client, get_preview: GetPreview, ultravox: Ultravox, user: User, other_user: User
) -> None:
    link = link_of(client, bearer(other_user))
    for number, (address, headers) in enumerate(
        [(ADDRESS, bearer(user)), (ADDRESS, bearer(other_user)), (ADDRESS, SERVICE), (link, {})]
    ):
        Voice.objects.update(definition={"version": number})
        assert get_preview(address, headers).status_code == 200
    assert keys_sent(ultravox) == [API_KEY, OTHER_KEY, API_KEY, OTHER_KEY]


def test_a_private_voice_needs_a_key_that_sees_it(
    get_preview: GetPreview, ultravox: Ultravox, agency: Agency, other_user: User
) -> None:
    Voice.objects.update(ownership="private")
    assert_error(get_preview(), 400, "no_api_key")
    AgencyVoice.objects.create(agency=other_user.agency, voice_id="v", last_seen_at=NOW)
    assert get_preview().status_code == 200
    assert keys_sent(ultravox) == [OTHER_KEY]


def test_blank_and_unreadable_keys(
    get_preview: GetPreview, ultravox: Ultravox, agency: Agency, other_user: User
) -> None:
    assert other_user.agency
    store_raw_key(agency, "not decryptable")
    assert get_preview().status_code == 200
    Voice.objects.update(definition={})  # not cached
    store_raw_key(other_user.agency, "")
    assert_error(get_preview(), 500, "credentials_unavailable")
    assert keys_sent(ultravox) == [OTHER_KEY]


def test_a_rejected_key_is_not_used_again_and_another_is(
    get_preview: GetPreview, ultravox: Ultravox, user: User, other_user: User
) -> None:
    def accept_other_key(exchange: Exchange) -> None:
        is_accepted = exchange.request.headers["x-api-key"] == OTHER_KEY
        exchange.reply(200 if is_accepted else 401, WAV)

    ultravox.previews = accept_other_key
    assert_error(get_preview(headers=bearer(user)), 502, "preview_unavailable")
    assert get_preview(headers=bearer(user)).content == WAV
    assert keys_sent(ultravox) == [API_KEY, OTHER_KEY]
