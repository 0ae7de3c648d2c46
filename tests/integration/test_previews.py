"""A voice's preview: whoever may hear it hears it, and Ultravox is asked once."""

import errno
import stat
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlsplit

import pytest
import requests
import time_machine
from django.test import Client
from rest_framework_simplejwt.tokens import AccessToken

from agencies.models import Agency, User
from sandbox import audio
from tests.support.answers import MARKER, assert_error, store_raw_key
from tests.support.environment import ORIGIN, PASSWORD, SERVICE_KEY
from tests.support.project import Database, own_project, wait_for
from tests.support.seeding import add_agency
from tests.ultravox import API_KEY, Exchange, Ultravox
from voices.models import AgencyVoice, Voice
from voices.previews import media_type as type_of

pytestmark = pytest.mark.django_db

SERVICE = {"apikey": SERVICE_KEY}
NOW = datetime(2026, 11, 25, 12, 30, tzinfo=UTC)
ADDRESS = "/api/voices/v/preview"
WAV = audio.wav("v")
KINDS = {
    "audio/wav": WAV,
    "audio/mpeg": b"ID3\x04\0\0" + b"\0" * 50,
    "audio/ogg": b"OggS\0\2" + b"\0" * 50,
    "audio/flac": b"fLaC" + b"\0" * 50,
    "audio/webm": b"\x1a\x45\xdf\xa3" + b"\0" * 50,
    "audio/mp4": b"\0\0\0\x1cftypM4A " + b"\0" * 50,
    "audio/aac": b"\xff\xf1\x50\x80" + b"\0" * 50,
}

Previews = Callable[..., Any]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, settings: Any) -> Path:
    settings.PREVIEW_FOLDER = tmp_path / "previews"
    return settings.PREVIEW_FOLDER  # type: ignore[no-any-return]


@pytest.fixture
def voice(ultravox: Ultravox, agency: Agency) -> Voice:
    """A public voice whose preview Ultravox makes."""
    return make("v", ultravox)


def make(voice_id: str, ultravox: Ultravox, **fields: Any) -> Voice:
    url = f"{ultravox.url}/api/voices/{quote(voice_id, safe='')}/preview"
    fields = {"ownership": "public", "preview_url": url, "last_synced_at": NOW} | fields
    return Voice.objects.create(id=voice_id, name=voice_id, **fields)


def answer(
    status: int = 200, body: bytes | Any = WAV, **headers: str
) -> Callable[[Exchange], None]:
    fields = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda exchange: exchange.reply(status, body, headers=fields)


@pytest.fixture
def hear(client: Client, ultravox: Ultravox) -> Previews:
    """Ask for the preview as a service, or with other headers."""
    ultravox.previews = answer()

    def get(address: str = ADDRESS, headers: dict[str, str] | None = None, **more: str) -> Any:
        return client.get(address, headers=SERVICE | more if headers is None else headers | more)

    return get


def bearer(user: User) -> dict[str, str]:
    return {"authorization": f"Bearer {AccessToken.for_user(user)}"}


def path_of(link: str) -> str:
    parts = urlsplit(link)
    return f"{parts.path}?{parts.query}"


def link_of(client: Client, headers: dict[str, str], voice_id: str = "v") -> str:
    rows = client.get("/api/voices/", headers=headers).json()["results"]
    return next(path_of(row["preview_url"]) for row in rows if row["id"] == voice_id)


# The audio


@pytest.mark.parametrize("kind", KINDS)
def test_the_audio_with_the_type_that_its_bytes_have(
    hear: Previews, voice: Voice, ultravox: Ultravox, kind: str
) -> None:
    ultravox.previews = answer(body=KINDS[kind], Content_Type="text/plain")
    for _ in range(2):
        response = hear()
        assert (response.status_code, response.content) == (200, KINDS[kind])
        assert response["Content-Type"] == kind
        assert response["Accept-Ranges"] == "bytes"
        assert response["X-Content-Type-Options"] == "nosniff"
        assert response["Cache-Control"] == "private, max-age=3600"
    again = hear(**{"if-none-match": response["ETag"]})
    assert (again.status_code, again.content) == (304, b"")
    [asked] = ultravox.requests
    assert asked.headers["x-api-key"] == API_KEY


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"<h1>no</h1>",
        b"RIFF",
        b"{}",
        "\ufeffhello".encode("utf-16"),
        b"\xff\xff\xff",
        b"PK\3\4",
    ],
)
def test_what_is_no_audio(text: bytes) -> None:
    assert type_of(text) is None


def test_mp3_frames_without_a_tag() -> None:
    assert type_of(audio.mp3()) == "audio/mpeg"


@pytest.mark.parametrize(
    ("asked", "status", "first", "last"),
    [
        ("bytes=0-1", 206, 0, 1),
        ("bytes=10-", 206, 10, None),
        ("bytes=-5", 206, -5, None),
        ("bytes=0-", 206, 0, None),
        ("bytes=5-999999999", 206, 5, None),
        ("bytes=-99999999", 206, 0, None),
        ("bytes=5-4", 200, 0, None),
        ("bytes=-", 200, 0, None),
        ("bytes=0-1,5-6", 200, 0, None),
        ("items=0-1", 200, 0, None),
        ("bytes=x-", 200, 0, None),
        ("bytes=" + "9" * 5000 + "-", 200, 0, None),
    ],
)
def test_ranges(
    hear: Previews, voice: Voice, asked: str, status: int, first: int, last: int | None
) -> None:
    part = WAV[first : None if last is None else last + 1]
    response = hear(range=asked)
    assert (response.status_code, response.content) == (status, part)
    assert response["Content-Type"] == "audio/wav"
    assert response["Content-Length"] == str(len(part))
    if status == 206:
        start = first % len(WAV)
        assert response["Content-Range"] == f"bytes {start}-{start + len(part) - 1}/{len(WAV)}"
    assert hear(range=asked, **{"if-range": response["ETag"]}).status_code == status
    changed = hear(range=asked, **{"if-range": '"another"'})
    assert (changed.status_code, changed.content) == (200, WAV)


def test_other_preconditions_are_ignored(hear: Previews, voice: Voice) -> None:
    assert hear(**{"if-match": '"x"'}).content == WAV


@pytest.mark.parametrize("asked", [f"bytes={len(WAV)}-", "bytes=999999999-", "bytes=-0"])
def test_ranges_that_are_not_there(hear: Previews, voice: Voice, asked: str) -> None:
    response = hear(range=asked)
    assert_error(response, 416, "range_not_satisfiable")
    assert response["Content-Range"] == f"bytes */{len(WAV)}"


def test_head(client: Client, hear: Previews, voice: Voice) -> None:
    response = client.head(ADDRESS, headers=SERVICE)
    assert (response.status_code, response.content) == (200, b"")
    assert response["Content-Type"] == "audio/wav"


def test_other_methods_come_before_credentials(client: Client, voice: Voice) -> None:
    for method in ("POST", "PUT", "DELETE"):
        assert_error(client.generic(method, ADDRESS), 405, "method_not_allowed")
    assert_error(client.get(ADDRESS), 401, "not_authenticated")


@pytest.mark.parametrize(("size", "status"), [(10_000_000, 200), (10_000_001, 502)])
def test_the_largest_preview(
    hear: Previews, voice: Voice, ultravox: Ultravox, size: int, status: int
) -> None:
    ultravox.previews = answer(body=WAV.ljust(size, b"\0"))
    assert hear().status_code == status


# Who may hear


@pytest.fixture
def stranger(db: None) -> User:
    other = Agency.objects.create(name="Other", ultravox_api_key="another-key")
    return User.objects.create_user("stranger@example.com", PASSWORD, agency=other)


def test_a_private_preview_is_for_those_who_see_the_voice_kept_or_not(
    client: Client, hear: Previews, ultravox: Ultravox, user: User, stranger: User
) -> None:
    clone = make("v", ultravox, ownership="private")
    AgencyVoice.objects.create(agency=user.agency, voice=clone, last_seen_at=NOW)
    assert_error(hear(headers=bearer(stranger)), 404, "not_found")
    heard = hear(headers=bearer(user))
    assert (heard.status_code, "authorization" in heard["Vary"].lower()) == (200, True)
    assert_error(hear(headers=bearer(stranger)), 404, "not_found")
    assert hear().status_code == 200
    assert len(ultravox.requests) == 1


def test_a_link_plays_without_credentials_for_its_voice_only(
    client: Client, hear: Previews, voice: Voice, ultravox: Ultravox, user: User
) -> None:
    make("w", ultravox)
    link = link_of(client, bearer(user))
    assert link.startswith(f"{ADDRESS}?signature=")
    assert client.get(link).status_code == 200
    assert client.get(link.replace("/v/", "/w/")).status_code == 401
    for wrong in (link[:-1], f"{link}x", f"{ADDRESS}?signature=", f"{ADDRESS}?signature=a:b"):
        response = client.get(wrong)
        assert response.status_code == 401
        assert client.get(wrong, headers=SERVICE).status_code == 200
    assert_error(client.get(f"{link}x"), 401, "invalid_token")


def test_a_link_serves_no_other_voice_whatever_their_ids(
    client: Client, hear: Previews, ultravox: Ultravox, user: User
) -> None:
    for voice_id in ("x.secret", "x:secret"):
        make(voice_id, ultravox)
    make("secret", ultravox, ownership="private")
    for voice_id, before in (("x.secret", "."), ("x:secret", ":")):
        signed = link_of(client, bearer(user), voice_id).partition("=")[2]
        given, _, signature = signed.partition(":")
        for other in (signed, f"{given}{before}x:{signature}", f"{given}:x:{signature}"):
            response = client.get(f"/api/voices/secret/preview?signature={other}")
            assert_error(response, 401, "invalid_token")


def test_a_link_serves_for_an_hour_at_least_and_two_at_most(
    client: Client, hear: Previews, voice: Voice
) -> None:
    hour = timedelta(hours=1)
    start = NOW.replace(minute=0)
    with time_machine.travel(start, tick=False):
        early = link_of(client, SERVICE)
    with time_machine.travel(start + timedelta(minutes=59, seconds=59), tick=False):
        late = link_of(client, SERVICE)
    assert late == early
    with time_machine.travel(start + 2 * hour - timedelta(seconds=1), tick=False):
        assert client.get(late).status_code == 200
        assert link_of(client, SERVICE) != late
    with time_machine.travel(start + 2 * hour, tick=False):
        assert_error(client.get(late), 401, "invalid_token")


def test_a_link_serves_whoever_has_lost_access(
    client: Client, hear: Previews, voice: Voice, user: User
) -> None:
    link = link_of(client, bearer(user))
    user.delete()
    assert client.get(link).status_code == 200


# What is kept


def test_what_is_kept_serves_until_the_voice_changes(
    hear: Previews, voice: Voice, ultravox: Ultravox
) -> None:
    changes: list[tuple[dict[str, Any], int]] = [
        ({"name": "v"}, 1),
        ({"name": "another"}, 1),
        ({"definition": {"a": 1}}, 2),
        ({"preview_url": f"{voice.preview_url}?v=2"}, 3),
    ]
    for change, asked in changes:
        Voice.objects.update(**change)
        assert hear().status_code == 200
        assert len(ultravox.requests) == asked


def test_files_are_plain_and_for_their_owner(hear: Previews, voice: Voice, folder: Path) -> None:
    hear()
    [file] = folder.iterdir()
    assert file.read_bytes() == WAV
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_the_least_recently_used_go_first(
    hear: Previews, ultravox: Ultravox, agency: Agency, settings: Any, folder: Path
) -> None:
    settings.PREVIEW_BYTES = len(WAV) * 2
    for voice_id in ("a", "b", "a", "c", "a", "b"):
        if not Voice.objects.filter(pk=voice_id).exists():
            make(voice_id, ultravox)
        assert hear(f"/api/voices/{voice_id}/preview").status_code == 200
    asked = [request.path.split("/")[3] for request in ultravox.requests]
    assert asked == ["a", "b", "c", "b"]
    assert sum(file.stat().st_size for file in folder.iterdir()) <= settings.PREVIEW_BYTES


def test_a_folder_that_cannot_be_written_to(
    hear: Previews, voice: Voice, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder.write_text("a file")
    assert hear().content == WAV
    assert "Previews are not kept" in caplog.text


def test_a_full_disk_leaves_no_rubbish(
    hear: Previews, voice: Voice, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = Path.write_bytes

    def full(file: Path, content: bytes) -> int:
        write(file, content[:100])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    assert hear().content == WAV
    assert list(folder.iterdir()) == []


def test_audio_that_may_be_cut_off_is_kept_for_a_minute_only(
    hear: Previews, voice: Voice, ultravox: Ultravox
) -> None:
    ultravox.previews = lambda exchange: exchange.send(b"HTTP/1.1 200 OK\r\n\r\n" + WAV[:100])
    assert (hear().content, hear().content) == (WAV[:100], WAV[:100])
    assert len(ultravox.requests) == 1
    ultravox.previews = answer()
    with time_machine.travel(datetime.now(UTC) + timedelta(seconds=61), tick=False):
        assert hear().content == WAV


@pytest.fixture
def slow(
    migrated: Database, tmp_path: Path, ultravox: Ultravox
) -> Iterator[tuple[str, threading.Event]]:
    """The URL of a process with voices "v0" to "v29", whose previews come once the event is set."""
    go = threading.Event()

    def slowly(exchange: Exchange) -> None:
        go.wait(20)
        exchange.reply(200, WAV)

    ultravox.voices = [
        {
            "voiceId": f"v{number}",
            "name": "V",
            "ownership": "public",
            "previewUrl": f"{ultravox.url}/api/voices/v{number}/preview",
        }
        for number in range(30)
    ]
    with own_project(migrated, tmp_path, ULTRAVOX_API_URL=ultravox.url) as project:
        add_agency(project)
        assert project.manage("sync_voices").returncode == 0
        url = project.serve("--workers=1")
        ultravox.reset()
        ultravox.previews = slowly
        yield url, go


def listen(url: str, number: int) -> requests.Response:
    return requests.get(f"{url}/api/voices/v{number}/preview", headers=SERVICE, timeout=30)


def test_more_listeners_than_a_process_holds(slow: tuple[str, threading.Event]) -> None:
    """While Ultravox hangs, 20 requests wait for it, more are `busy` at once, and all others go on."""
    url, go = slow
    with ThreadPoolExecutor(30) as listeners:
        calls = [listeners.submit(listen, url, number) for number in range(30)]
        wait_for(lambda: sum(call.done() for call in calls) == 10)
        for refused in [call.result() for call in calls if call.done()]:
            assert (refused.status_code, refused.json()["code"]) == (503, "busy")
            assert int(refused.headers["Retry-After"]) >= 1
        began = time.monotonic()
        listing = requests.get(f"{url}/api/voices/", headers=SERVICE, timeout=30)
        assert (listing.status_code, time.monotonic() - began < 3) == (200, True)
        go.set()
        assert sorted(call.result().status_code for call in calls) == [200] * 20 + [503] * 10


def test_listeners_who_come_meanwhile_wait_for_one_answer(
    slow: tuple[str, threading.Event], ultravox: Ultravox
) -> None:
    url, go = slow
    with ThreadPoolExecutor(20) as listeners:
        heard = [listeners.submit(listen, url, 0) for _ in range(20)]
        ultravox.wait_for_requests(1, 20)
        go.set()
        assert {each.result().content for each in heard} == {WAV}
    assert len(ultravox.requests) == 1


# Where audio lies in public


@pytest.mark.parametrize("url", ["https://cdn.example.com/a.wav?x=1", "http://example.com/ä b.mp3"])
def test_public_audio_is_redirected_to(
    hear: Previews, voice: Voice, ultravox: Ultravox, url: str
) -> None:
    Voice.objects.update(preview_url=url)
    response = hear()
    assert response.status_code == 302
    assert unquote(response["Location"]) == url
    assert ultravox.requests == []


def test_another_port_is_elsewhere(hear: Previews, voice: Voice, ultravox: Ultravox) -> None:
    Voice.objects.update(preview_url="http://127.0.0.1:1/a.wav")
    assert hear()["Location"] == "http://127.0.0.1:1/a.wav"


def test_a_redirect_of_ultravox_s_is_passed_on_for_a_minute(
    hear: Previews, voice: Voice, ultravox: Ultravox
) -> None:
    elsewhere = "https://storage.example.com/a.wav?signed=1"
    ultravox.previews = answer(302, Location=elsewhere)
    for _ in range(2):
        response = hear()
        assert (response.status_code, response["Location"]) == (302, elsewhere)
        assert "no-store" in response["Cache-Control"]
    assert len(ultravox.requests) == 1
    with time_machine.travel(datetime.now(UTC) + timedelta(seconds=61), tick=False):
        assert hear().status_code == 302
    assert len(ultravox.requests) == 2
    assert ultravox.decoy.connections == 0


@pytest.mark.parametrize(
    "location",
    [
        "http://storage.example.com/a.wav",
        "/audio/v.wav",
        "",
        "//",
        "https:",
        "ftp://a/b",
        "https://[x",
        "https://user[@example.com/",
        "https://example.com/" + "x" * 17_000,
    ],
)
def test_any_other_redirect_is_not_followed(
    hear: Previews, voice: Voice, ultravox: Ultravox, location: str
) -> None:
    ultravox.previews = answer(302, Location=location)
    for _ in range(2):
        assert_error(hear(), 502, "preview_unavailable")
    assert len(ultravox.requests) == 1


def test_a_redirect_back_to_ultravox_is_not_followed(
    hear: Previews, voice: Voice, ultravox: Ultravox
) -> None:
    ultravox.previews = lambda exchange: exchange.reply(
        302, headers={"Location": f"{ultravox.url}/audio/v.wav"}
    )
    assert_error(hear(), 502, "preview_unavailable")


# What goes wrong


@pytest.mark.parametrize("url", [None, "", "  "])
def test_a_voice_without_a_preview(hear: Previews, voice: Voice, url: str | None) -> None:
    Voice.objects.update(preview_url=url)
    assert_error(hear(), 404, "no_preview")


@pytest.mark.parametrize(
    "url",
    [
        "ftp://example.com/a",
        "javascript:alert(1)",
        "a.wav",
        "http://",
        "http://[x",
        "file:///etc/passwd",
        "https://user[@example.com/",
        "https://example.com/" + "x" * 17_000,
    ],
)
def test_a_preview_with_an_address_that_leads_nowhere(
    hear: Previews, voice: Voice, url: str
) -> None:
    Voice.objects.update(preview_url=url)
    assert_error(hear(), 502, "preview_unavailable")


@pytest.mark.parametrize(
    ("status", "word"),
    [
        (400, "provider"),
        (401, "key"),
        (402, "key"),
        (403, "key"),
        (404, "voice"),
        (410, "voice"),
        (418, "provider"),
        (422, "provider"),
        (429, "key"),
        (500, "provider"),
        (503, "provider"),
    ],
)
def test_an_error_of_ultravox_s_says_who_is_to_blame_and_is_kept_for_a_minute(
    hear: Previews,
    voice: Voice,
    ultravox: Ultravox,
    status: int,
    word: str,
    caplog: pytest.LogCaptureFixture,
    folder: Path,
) -> None:
    ultravox.previews = answer(status, {"detail": MARKER, "key": API_KEY})
    for _ in range(2):
        response = hear()
        assert_error(response, 502, "preview_unavailable", "another-key")
        assert word in response.json()["message"]
        assert str(status) in response.json()["message"]
    assert len(ultravox.requests) == 1
    assert MARKER not in caplog.text
    for file in folder.iterdir():
        assert not any(
            secret in file.read_bytes() for secret in (MARKER.encode(), API_KEY.encode())
        )
    ultravox.previews = answer()
    with time_machine.travel(datetime.now(UTC) + timedelta(seconds=61), tick=False):
        assert hear().status_code == 200


def test_what_is_no_audio_is_unavailable(hear: Previews, voice: Voice, ultravox: Ultravox) -> None:
    ultravox.previews = answer(body=b"<h1>Just a moment...</h1>", Content_Type="audio/wav")
    assert_error(hear(), 502, "preview_unavailable", "moment")


def test_ultravox_away(hear: Previews, voice: Voice, ultravox: Ultravox) -> None:
    ultravox.previews = lambda exchange: exchange.reset()
    assert_error(hear(), 502, "preview_unavailable")
    assert len(ultravox.requests) == 1


@pytest.mark.parametrize("way", ["hangs", "drips", "hangs in its head"])
def test_ultravox_is_waited_for_no_longer_than_its_timeout(
    hear: Previews, voice: Voice, ultravox: Ultravox, settings: Any, way: str
) -> None:
    settings.ULTRAVOX_TIMEOUT = 0.6
    ultravox.drip_interval = 0.1

    def script(exchange: Exchange) -> None:
        if way == "hangs":
            exchange.hang()
        head = b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n"
        exchange.drip(
            [head, *([b"x: y\r\n"] * 99)] if "head" in way else [head + b"\r\n", *([b"R"] * 99)]
        )

    ultravox.previews = script
    began = datetime.now(UTC)
    assert_error(hear(), 502, "preview_unavailable")
    assert (datetime.now(UTC) - began).total_seconds() < 1.5


# Keys


def test_whose_key_is_used(
    client: Client, hear: Previews, voice: Voice, ultravox: Ultravox, user: User, stranger: User
) -> None:
    def keys(headers: dict[str, str]) -> list[str]:
        ultravox.reset()
        ultravox.previews = answer()
        Voice.objects.update(definition={"changed": str(headers)})
        assert hear(headers=headers).status_code == 200
        return [request.headers["x-api-key"] for request in ultravox.requests]

    ultravox.keys = {API_KEY, "another-key"}
    assert keys(bearer(user)) == [API_KEY]
    assert keys(bearer(stranger)) == ["another-key"]
    assert keys(SERVICE) == [API_KEY]
    link = link_of(client, bearer(stranger))
    ultravox.reset()
    ultravox.previews = answer()
    Voice.objects.update(definition={"changed": "again"})
    assert client.get(link).status_code == 200
    assert ultravox.requests[0].headers["x-api-key"] == "another-key"


def test_a_private_voice_is_asked_for_with_a_key_that_sees_it(
    hear: Previews, ultravox: Ultravox, agency: Agency, stranger: User
) -> None:
    clone = make("v", ultravox, ownership="private")
    assert_error(hear(), 400, "no_api_key")
    AgencyVoice.objects.create(agency=stranger.agency, voice=clone, last_seen_at=NOW)
    assert hear().status_code == 200
    assert ultravox.requests[0].headers["x-api-key"] == "another-key"


def test_keys_that_are_missing_or_unreadable(
    hear: Previews, voice: Voice, ultravox: Ultravox, agency: Agency, stranger: User
) -> None:
    assert stranger.agency
    store_raw_key(stranger.agency, "")
    store_raw_key(agency, "not decryptable")
    assert_error(hear(), 500, "credentials_unavailable")
    store_raw_key(agency, None)
    for _ in range(3):
        assert_error(hear(), 400, "no_api_key")
    assert ultravox.requests == []
    store_raw_key(agency, "not decryptable")
    stranger.agency.ultravox_api_key = "another-key"
    stranger.agency.save()
    assert hear().status_code == 200


def test_a_refused_key_is_not_tried_again_and_another_is(
    hear: Previews, voice: Voice, ultravox: Ultravox, user: User, stranger: User
) -> None:
    def with_one_key(exchange: Exchange) -> None:
        good = exchange.request.headers["x-api-key"] == "another-key"
        exchange.reply(200 if good else 401, WAV)

    ultravox.previews = with_one_key
    refused = hear(headers=bearer(user))
    assert_error(refused, 502, "preview_unavailable")
    assert hear(headers=bearer(user)).content == WAV
    asked = [request.headers["x-api-key"] for request in ultravox.requests]
    assert asked == [API_KEY, "another-key"]


# Limits


def test_what_a_caller_makes_ultravox_be_asked_for_is_limited(
    client: Client, hear: Previews, ultravox: Ultravox, user: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("voices.api.previews.PreviewThrottle.rate", "2/min", raising=False)
    monkeypatch.setattr("voices.api.previews.PreviewThrottle.get_rate", lambda self: "2/min")
    for voice_id in ("v", "w", "x"):
        make(voice_id, ultravox)
    headers = bearer(user)
    for voice_id, status in (("v", 200), ("v", 200), ("w", 200), ("v", 200), ("x", 429)):
        assert hear(f"/api/voices/{voice_id}/preview", headers).status_code == status, voice_id
    limited = client.get(link_of(client, headers, "x"))  # a link counts for whom it was given to
    assert_error(limited, 429, "rate_limited")
    assert hear("/api/voices/x/preview").status_code == 200  # another caller
    assert hear("/api/voices/x/preview", headers).status_code == 200  # it is kept now


def test_other_origins_play_and_read(client: Client, hear: Previews, voice: Voice) -> None:
    response = client.get(
        link_of(client, SERVICE), headers={"origin": ORIGIN, "range": "bytes=0-1"}
    )
    assert response["Access-Control-Allow-Origin"] == ORIGIN
    exposed = response["Access-Control-Expose-Headers"]
    assert "Content-Range" in exposed
