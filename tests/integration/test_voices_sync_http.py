"""`POST /functions/v1/voices-sync` and `POST /api/voices/sync/`, as callers see them."""

import http.client
import itertools
import json
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests
from django.db import connection
from django.test import Client
from rest_framework_simplejwt.tokens import AccessToken

from agencies.models import Agency, User
from sandbox.catalogue import make_voices
from tests.support.answers import (
    ADDRESSES,
    BOTH_SPELLINGS,
    assert_error,
    in_confidence,
    store_raw_key,
    voice_rows,
)
from tests.support.environment import OTHER_SERVICE_KEY, SERVICE_KEY
from tests.support.project import Database, Project
from tests.ultravox import API_KEY, Ultravox
from voices.models import SyncRun, Voice

ADDRESS = ADDRESSES[0]
GOOD = {
    "success": True,
    "message": "Synced 3 voices from Ultravox",
    "stats": {"synced": 3},
}
METHODS = (
    "GET", "HEAD", "PUT", "PATCH", "DELETE", "TRACE", "CONNECT", "PROPFIND", "QUERY", "BREW",
)  # fmt: skip


@pytest.fixture(autouse=True)
def three_voices(ultravox: Ultravox) -> Ultravox:
    ultravox.voices = make_voices(3, base_url=ultravox.url)
    return ultravox


@pytest.fixture
def token(user: User) -> str:
    return str(AccessToken.for_user(user))


@pytest.fixture
def old_rows(db: None) -> list[tuple[Any, ...]]:
    """A table with a voice that Ultravox still has, older, and one that it has no more."""
    for voice in make_voices(1, base_url="http://example.com"):
        Voice.objects.create(
            id=voice["voiceId"],
            name="old name",
            definition={"old": [1, None]},
            last_synced_at=datetime.fromisoformat("2020-01-01T00:00:00Z"),
        )
    Voice.objects.create(
        id="gone", name="gone", last_synced_at=datetime.fromisoformat("2020-01-01T00:00:00Z")
    )
    return voice_rows()


def refuse_writes(what: str) -> None:
    """Make the database refuse one voice."""
    with connection.cursor() as cursor:
        if connection.vendor == "sqlite":
            cursor.execute(
                f"CREATE TRIGGER refuse BEFORE INSERT ON ultravox_voices WHEN NEW.id = '{what}' "
                "BEGIN SELECT RAISE(ABORT, 'refused'); END"
            )
        else:
            cursor.execute(
                "ALTER TABLE ultravox_voices "
                f"ADD CONSTRAINT refuse CHECK (id <> '{what}') NOT VALID"
            )


# Success


@pytest.mark.parametrize("address", BOTH_SPELLINGS)
def test_service_syncs(client: Client, agency: Agency, address: str) -> None:
    response = client.post(address, headers={"apikey": SERVICE_KEY})
    assert (response.status_code, response.json()) == (200, GOOD)
    assert response.headers["Content-Type"] == "application/json"
    assert Voice.objects.count() == 3
    run = SyncRun.objects.get()
    assert (run.trigger, run.agency, run.user, run.synced) == ("service", agency, None, 3)


@pytest.mark.parametrize("address", BOTH_SPELLINGS)
def test_user_syncs(client: Client, user: User, token: str, address: str) -> None:
    response = client.post(address, headers={"authorization": f"Bearer {token}"})
    assert (response.status_code, response.json()) == (200, GOOD)
    run = SyncRun.objects.get()
    assert (run.trigger, run.agency, run.user, run.synced) == ("user", user.agency, user, 3)


def test_nothing_to_sync(
    client: Client, agency: Agency, ultravox: Ultravox, old_rows: list[Any]
) -> None:
    ultravox.voices = []
    response = client.post(ADDRESS, headers={"apikey": SERVICE_KEY})
    assert response.status_code == 200
    assert response.json() == {
        "success": True,
        "message": "No voices found in Ultravox",
        "stats": {"synced": 0},
    }
    assert voice_rows() == old_rows


def test_skipped_records_are_counted(client: Client, agency: Agency, ultravox: Ultravox) -> None:
    ultravox.voices = [*make_voices(2, base_url=ultravox.url), {"name": "nameless"}, None]
    response = client.post(ADDRESS, headers={"apikey": SERVICE_KEY})
    assert response.json() == {
        "success": True,
        "message": "Synced 2 voices from Ultravox",
        "stats": {"synced": 2, "skipped": 2},
    }


def test_only_skipped_records(client: Client, agency: Agency, ultravox: Ultravox) -> None:
    ultravox.voices = [{}]
    response = client.post(ADDRESS, headers={"apikey": SERVICE_KEY})
    assert response.status_code == 200
    assert response.json()["stats"] == {"synced": 0, "skipped": 1}


def test_a_voice_that_comes_twice_counts_once(
    client: Client, agency: Agency, ultravox: Ultravox
) -> None:
    voices = make_voices(2, base_url=ultravox.url)
    ultravox.voices = [*voices, {**voices[0], "name": "the last one"}]
    response = client.post(ADDRESS, headers={"apikey": SERVICE_KEY})
    assert response.json()["stats"] == {"synced": 2}
    assert Voice.objects.get(pk=voices[0]["voiceId"]).name == "the last one"


def test_a_sync_updates_and_never_deletes(
    client: Client, agency: Agency, old_rows: list[Any]
) -> None:
    client.post(ADDRESS, headers={"apikey": SERVICE_KEY})
    names = set(Voice.objects.values_list("name", flat=True))
    assert "gone" in names
    assert "old name" not in names
    assert Voice.objects.count() == 4


# What a request may carry

BODIES = [
    ("application/json", b""),
    ("application/json", b"{}"),
    ("application/json", b"null"),
    ("application/json", b'{"agency": "another", "success": fal'),
    ("application/json", b"[" * 100_000),
    ("application/json; charset=klingon", b"{}"),
    ("application/json; charset=utf-16", b"{}"),
    ("application/x-www-form-urlencoded", b"a=%ff&a&=&" + b"x=1&" * 2000),
    ("multipart/form-data", b"--no boundary"),
    ("multipart/form-data; boundary=", b"----"),
    ("multipart/form-data; boundary=x", b"--x\r\nContent-Disposition: form-data"),
    ("text/plain", "grüße".encode()),
    ("application/octet-stream", bytes(range(256)) * 20),
    ("application/octet-stream", b"\0" * 3_000_000),
    ("no-type-at-all", b"{"),
    (";;=\x80/", b"{"),
    ("", b"{"),
]


@pytest.mark.parametrize(("content_type", "body"), BODIES)
def test_any_body_is_ignored(
    client: Client, agency: Agency, content_type: str, body: bytes
) -> None:
    for address in ADDRESSES:
        response = client.generic(
            "POST", address, body, content_type=content_type, headers={"apikey": SERVICE_KEY}
        )
        assert (response.status_code, response.json()) == (200, GOOD)


@pytest.mark.parametrize(
    "accept",
    ["", "*/*", "text/html", "image/png", "application/xml;q=0.9", "application/json;q=0", ";/,=",
     "application/json; version=7", "garbage", "\xff"],
)  # fmt: skip
def test_any_accept_header_is_answered_in_json(client: Client, agency: Agency, accept: str) -> None:
    headers = {"accept": accept, "apikey": SERVICE_KEY}
    response = client.post(ADDRESS, headers=headers)
    assert (response.status_code, response.json()) == (200, GOOD)
    assert response.headers["Content-Type"] == "application/json"
    assert_error(client.post(ADDRESS, headers={"accept": accept}), 401, "not_authenticated")
    assert_error(client.get(ADDRESS, headers=headers), 405, "method_not_allowed")
    assert_error(client.get("/nothing", headers=headers), 404, "not_found")


def test_a_query_is_ignored(client: Client, agency: Agency) -> None:
    response = client.post(f"{ADDRESS}?format=xml&apikey=x&%ff", headers={"apikey": SERVICE_KEY})
    assert (response.status_code, response.json()) == (200, GOOD)


def test_a_key_in_the_query_is_none(client: Client, agency: Agency) -> None:
    assert_error(client.post(f"{ADDRESS}?apikey={SERVICE_KEY}"), 401, "not_authenticated")


# Errors: the contract's table

Setup = Callable[[Ultravox, Agency], None]


def nothing(ultravox: Ultravox, agency: Agency) -> None:
    pass


def without_key(ultravox: Ultravox, agency: Agency) -> None:
    Agency.objects.update(ultravox_api_key="")


def with_null_key(ultravox: Ultravox, agency: Agency) -> None:
    store_raw_key(agency, None)


def with_broken_key(ultravox: Ultravox, agency: Agency) -> None:
    store_raw_key(agency, "gAAAAABnot-a-token-of-ours")


def with_plain_key(ultravox: Ultravox, agency: Agency) -> None:
    store_raw_key(agency, API_KEY)


def with_revoked_key(ultravox: Ultravox, agency: Agency) -> None:
    ultravox.keys = {"another"}


def with_refusing_database(ultravox: Ultravox, agency: Agency) -> None:
    # More than one statement's rows, of which the last is refused.
    ultravox.voices = make_voices(601, base_url=ultravox.url)
    refuse_writes(max(voice["voiceId"] for voice in ultravox.voices))


def with_read_only_table(ultravox: Ultravox, agency: Agency) -> None:
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE ultravox_voices RENAME TO lost")
        cursor.execute("CREATE VIEW ultravox_voices AS SELECT * FROM lost LIMIT 99")


def fault(name: Any) -> Setup:
    def set_up(ultravox: Ultravox, agency: Agency) -> None:
        ultravox.voices = make_voices(250, base_url=ultravox.url)
        ultravox.fault = name

    return set_up


def unreachable(ultravox: Ultravox, agency: Agency) -> None:
    ultravox.stop()


BROKEN = [
    (400, "no_api_key", without_key),
    (400, "no_api_key", with_null_key),
    (500, "credentials_unavailable", with_broken_key),
    (500, "credentials_unavailable", with_plain_key),
    (500, "save_failed", with_refusing_database),
    (500, "save_failed", with_read_only_table),
    (502, "ultravox_error", with_revoked_key),
    (502, "ultravox_error", fault(in_confidence)),
    (502, "ultravox_error", fault("status_403")),
    (502, "ultravox_error", fault("status_404")),
    (502, "ultravox_error", fault("retry_after_absurd")),
    (502, "ultravox_error", fault("body_html")),
    (502, "ultravox_error", fault("body_truncated")),
    (502, "ultravox_error", fault("body_results_null")),
    (502, "ultravox_error", fault("redirect_302_elsewhere")),
    (502, "ultravox_error", fault("next_other_host")),
    (502, "ultravox_error", fault("next_loop_of_two")),
    (502, "ultravox_error", fault("second_page_401")),
    (502, "ultravox_error", fault("second_page_null")),
]


def _name(value: Any) -> str | None:
    return getattr(value, "__name__", None)


@pytest.fixture(params=["service", "user"])
def headers(request: pytest.FixtureRequest) -> dict[str, str]:
    if request.param == "service":
        return {"apikey": SERVICE_KEY}
    return {"authorization": f"Bearer {request.getfixturevalue('token')}"}


@pytest.mark.parametrize(("status", "code", "set_up"), BROKEN, ids=_name)
def test_failed_syncs(
    client: Client,
    ultravox: Ultravox,
    agency: Agency,
    old_rows: list[Any],
    headers: dict[str, str],
    status: int,
    code: str,
    set_up: Setup,
) -> None:
    set_up(ultravox, agency)
    for address in BOTH_SPELLINGS:
        response = client.post(address, headers=headers)
        assert_error(response, status, code, *headers.values())
    assert voice_rows() == old_rows
    outcomes = SyncRun.objects.values_list("status", "error_code", "synced")
    assert list(outcomes) == [("failed", code, 0)] * len(BOTH_SPELLINGS)
    for message in SyncRun.objects.values_list("error_message", flat=True):
        assert API_KEY not in message


@pytest.mark.parametrize(
    "set_up", [unreachable, fault("status_503_always"), fault("hang")], ids=["gone", "503", "hang"]
)
def test_ultravox_away(
    client: Client,
    ultravox: Ultravox,
    agency: Agency,
    old_rows: list[Any],
    settings: Any,
    set_up: Setup,
) -> None:
    settings.ULTRAVOX_TIMEOUT, settings.ULTRAVOX_DEADLINE = 0.2, 0.4
    set_up(ultravox, agency)
    response = client.post(ADDRESS, headers={"apikey": SERVICE_KEY})
    assert_error(response, 502, "ultravox_error")
    assert voice_rows() == old_rows


@pytest.mark.parametrize("url", ["http://no-such-host.invalid", "http://127.0.0.1:9", "http://[::"])
def test_ultravox_address_that_is_none(
    client: Client, agency: Agency, settings: Any, url: str
) -> None:
    settings.ULTRAVOX_API_URL, settings.ULTRAVOX_DEADLINE = url, 0.5
    response = client.post(ADDRESS, headers={"apikey": SERVICE_KEY})
    assert_error(response, 502, "ultravox_error")


def test_service_without_any_agency(client: Client, db: None) -> None:
    for address in BOTH_SPELLINGS:
        response = client.post(address, headers={"apikey": SERVICE_KEY})
        assert_error(response, 400, "no_api_key")


def test_user_without_agency(client: Client, agency: Agency, ultravox: Ultravox) -> None:
    user = User.objects.create_user("nobody@example.com", "x")
    token = AccessToken.for_user(user)
    for address in BOTH_SPELLINGS:
        response = client.post(address, headers={"authorization": f"Bearer {token}"})
        assert_error(response, 403, "not_agency_user", str(token))
    assert not ultravox.requests
    assert not SyncRun.objects.exists()


UNAUTHENTICATED = [
    ("not_authenticated", {}),
    ("not_authenticated", {"apikey": ""}),
    ("not_authenticated", {"apikey": "  "}),
    ("not_authenticated", {"authorization": ""}),
    ("not_authenticated", {"authorization": "Bearer"}),
    ("not_authenticated", {"authorization": "Bearer    "}),
    ("not_authenticated", {"authorization": "Basic dXNlcjpwYXNzd29yZA=="}),
    ("not_authenticated", {"authorization": SERVICE_KEY}),
    ("not_authenticated", {"authorization": f"Basic {SERVICE_KEY}"}),
    ("not_authenticated", {"x-api-key": SERVICE_KEY}),
    ("invalid_api_key", {"apikey": "wrong"}),
    ("invalid_api_key", {"apikey": SERVICE_KEY[:-1]}),
    ("invalid_api_key", {"apikey": SERVICE_KEY + "x"}),
    ("invalid_api_key", {"apikey": SERVICE_KEY.upper()}),
    ("invalid_api_key", {"apikey": f"{SERVICE_KEY},{OTHER_SERVICE_KEY}"}),
    ("invalid_api_key", {"apikey": f"Bearer {SERVICE_KEY}"}),
    ("invalid_api_key", {"apikey": "k\xe9y\xff"}),
    ("invalid_api_key", {"apikey": "x" * 8000}),
    ("invalid_api_key", {"apikey": "wrong", "authorization": "Bearer "}),
    ("invalid_api_key", {"apikey": "wrong", "authorization": f"Basic {SERVICE_KEY}"}),
    ("invalid_token", {"authorization": "Bearer wrong"}),
    ("invalid_token", {"authorization": f"Bearer {SERVICE_KEY}x"}),
    ("invalid_token", {"authorization": f"Bearer {SERVICE_KEY} {SERVICE_KEY}"}),
    ("invalid_token", {"authorization": "bearer \xff\xfe"}),
    ("invalid_token", {"authorization": "Bearer wrong", "apikey": "wrong"}),
    ("invalid_token", {"authorization": "Bearer wrong", "apikey": SERVICE_KEY}),
    ("invalid_token", {"authorization": "bearer a.b.c", "apikey": SERVICE_KEY}),
]


@pytest.mark.parametrize(("code", "headers"), UNAUTHENTICATED)
def test_without_valid_credentials(
    client: Client, agency: Agency, ultravox: Ultravox, code: str, headers: dict[str, str]
) -> None:
    for address in BOTH_SPELLINGS:
        assert_error(client.post(address, headers=headers), 401, code)
    assert not ultravox.requests
    assert not SyncRun.objects.exists()


# Which flow

SERVICE_FLOW = [
    {"apikey": SERVICE_KEY},
    {"apikey": OTHER_SERVICE_KEY},
    {"apikey": f" {SERVICE_KEY} "},
    {"authorization": f"Bearer {SERVICE_KEY}"},
    {"authorization": f"bearer {OTHER_SERVICE_KEY}"},
    {"authorization": f"BEARER   {SERVICE_KEY} "},
    {"authorization": f"Bearer {SERVICE_KEY}", "apikey": SERVICE_KEY},
    {"authorization": f"Bearer {SERVICE_KEY}", "apikey": OTHER_SERVICE_KEY},
    {"authorization": f"Bearer {SERVICE_KEY}", "apikey": "wrong"},
    {"authorization": "", "apikey": SERVICE_KEY},
    {"authorization": "Bearer", "apikey": SERVICE_KEY},
    {"authorization": "Bearer ", "apikey": SERVICE_KEY},
    {"authorization": "bEaReR    ", "apikey": SERVICE_KEY},
    {"authorization": "Basic dXNlcjpwYXNzd29yZA==", "apikey": SERVICE_KEY},
    {"authorization": "Token x", "apikey": SERVICE_KEY},
]


@pytest.mark.parametrize("headers", SERVICE_FLOW)
def test_service_flow(client: Client, agency: Agency, headers: dict[str, str]) -> None:
    response = client.post(ADDRESS, headers=headers)
    assert (response.status_code, response.json()) == (200, GOOD)
    assert SyncRun.objects.get().trigger == "service"


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER", "bEaReR"])
@pytest.mark.parametrize("apikey", [{}, {"apikey": "wrong"}, {"apikey": SERVICE_KEY}])
def test_user_flow(
    client: Client, user: User, token: str, scheme: str, apikey: dict[str, str]
) -> None:
    response = client.post(ADDRESS, headers={"authorization": f"{scheme} {token}", **apikey})
    assert (response.status_code, response.json()) == (200, GOOD)
    run = SyncRun.objects.get()
    assert (run.trigger, run.user) == ("user", user)


def test_user_flow_never_falls_back_to_the_service_key(
    client: Client, agency: Agency, ultravox: Ultravox
) -> None:
    outsider = User.objects.create_user("outsider@example.com", "x")
    keyless = Agency.objects.create(name="Keyless")
    member = User.objects.create_user("member@example.com", "x", agency=keyless)
    for user, status, code in ((outsider, 403, "not_agency_user"), (member, 400, "no_api_key")):
        token = AccessToken.for_user(user)
        headers = {"authorization": f"Bearer {token}", "apikey": SERVICE_KEY}
        assert_error(client.post(ADDRESS, headers=headers), status, code)
    assert not ultravox.requests


def test_no_configured_service_key_lets_nobody_in(
    client: Client, agency: Agency, settings: Any
) -> None:
    settings.SERVICE_API_KEYS = []
    assert_error(client.post(ADDRESS, headers={"apikey": ""}), 401, "not_authenticated")
    assert_error(client.post(ADDRESS, headers={"apikey": SERVICE_KEY}), 401, "invalid_api_key")


# Methods

CREDENTIALS = [{}, {"apikey": SERVICE_KEY}, {"apikey": "wrong"}, {"authorization": "Bearer wrong"}]


@pytest.mark.parametrize("method", METHODS)
def test_other_methods_are_refused_before_anybody_is_asked(
    client: Client, agency: Agency, ultravox: Ultravox, token: str, method: str
) -> None:
    credentials = [*CREDENTIALS, {"authorization": f"Bearer {token}"}]
    for address, headers in itertools.product(BOTH_SPELLINGS, credentials):
        response = client.generic(method, address, headers=headers)
        if method == "HEAD":
            assert response.status_code == 405
            assert response.content == b""
        else:
            assert_error(response, 405, "method_not_allowed")
        assert set(response.headers["Allow"].split(", ")) == {"POST", "OPTIONS"}
        assert "WWW-Authenticate" not in response.headers
    assert not ultravox.requests


@pytest.mark.parametrize("address", BOTH_SPELLINGS)
@pytest.mark.parametrize("headers", CREDENTIALS)
def test_options_asks_nobody(
    client: Client, db: None, address: str, headers: dict[str, str]
) -> None:
    response = client.options(address, headers=headers)
    assert response.status_code in (200, 204)
    assert set(response.headers["Allow"].split(", ")) == {"POST", "OPTIONS"}


# Failover between agencies


@pytest.fixture
def agencies(db: None) -> Callable[..., list[Agency]]:
    """Make agencies in this order; a key of None is one that cannot be decrypted."""

    def make(*keys: str | None) -> list[Agency]:
        made = [
            Agency.objects.create(name=f"Agency {number}", ultravox_api_key=key or "")
            for number, key in enumerate(keys)
        ]
        for agency, key in zip(made, keys, strict=True):
            if key is None:
                store_raw_key(agency, "gAAAAABbroken")
        return made

    return make


@pytest.mark.parametrize(
    ("keys", "sent"),
    [
        (["", API_KEY], [API_KEY]),
        ([None, API_KEY], [API_KEY]),
        (["revoked", API_KEY], ["revoked", API_KEY]),
        (["a line\nbreak", API_KEY], [API_KEY]),
        (["", None, "revoked", "revoked too", API_KEY], ["revoked", "revoked too", API_KEY]),
        ([API_KEY, "never asked"], [API_KEY]),
        ([None, API_KEY, "revoked"], [API_KEY]),
    ],
)
def test_the_next_agency_is_tried(
    client: Client,
    ultravox: Ultravox,
    agencies: Callable[..., list[Agency]],
    keys: list[str | None],
    sent: list[str],
) -> None:
    made = agencies(*keys)
    response = client.post(ADDRESS, headers={"apikey": SERVICE_KEY})
    assert (response.status_code, response.json()) == (200, GOOD)
    assert [request.headers["x-api-key"] for request in ultravox.requests] == sent
    run = SyncRun.objects.get()
    assert run.agency == made[keys.index(API_KEY)]
    assert (run.status, run.synced, run.pages, run.error_code) == ("succeeded", 3, 1, "")


@pytest.mark.parametrize(
    ("keys", "codes"),
    [
        (["", ""], {(400, "no_api_key")}),
        ([None, None], {(500, "credentials_unavailable")}),
        (["", None], {(500, "credentials_unavailable")}),
        (["revoked", "revoked too"], {(502, "ultravox_error")}),
        ([None, "revoked"], {(500, "credentials_unavailable"), (502, "ultravox_error")}),
        (["revoked", "", None], {(500, "credentials_unavailable"), (502, "ultravox_error")}),
    ],
)
def test_all_agencies_fail(
    client: Client,
    agencies: Callable[..., list[Agency]],
    old_rows: list[Any],
    keys: list[str | None],
    codes: set[tuple[int, str]],
) -> None:
    agencies(*keys)
    response = client.post(ADDRESS, headers={"apikey": SERVICE_KEY})
    outcome = response.status_code, response.json()["code"]
    assert outcome in codes
    assert_error(response, *outcome, "revoked")
    assert voice_rows() == old_rows
    assert SyncRun.objects.get().error_code == outcome[1]


@pytest.mark.parametrize(
    ("key", "status", "code", "sent"),
    [
        ("", 400, "no_api_key", []),
        (None, 500, "credentials_unavailable", []),
        ("revoked", 502, "ultravox_error", ["revoked"]),
    ],
)
def test_a_user_syncs_with_their_own_agency_only(
    client: Client,
    ultravox: Ultravox,
    agencies: Callable[..., list[Agency]],
    key: str | None,
    status: int,
    code: str,
    sent: list[str],
) -> None:
    _, own = agencies(API_KEY, key)
    token = AccessToken.for_user(User.objects.create_user("user@example.com", "x", agency=own))
    response = client.post(ADDRESS, headers={"authorization": f"Bearer {token}"})
    assert_error(response, status, code, str(token))
    assert [request.headers["x-api-key"] for request in ultravox.requests] == sent
    run = SyncRun.objects.get()
    assert (run.trigger, run.agency, run.error_code) == ("user", own, code)


def test_a_user_syncs_with_the_second_agency(
    client: Client, ultravox: Ultravox, agencies: Callable[..., list[Agency]]
) -> None:
    _, own = agencies("another", API_KEY)
    token = AccessToken.for_user(User.objects.create_user("user@example.com", "x", agency=own))
    response = client.post(ADDRESS, headers={"authorization": f"Bearer {token}"})
    assert (response.status_code, response.json()) == (200, GOOD)
    assert [request.headers["x-api-key"] for request in ultravox.requests] == [API_KEY]
    assert SyncRun.objects.get().agency == own


# On the wire: the web server as it is run


@pytest.fixture(scope="module")
def served(
    migrated: Database, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[str, Ultravox]]:
    folder = tmp_path_factory.mktemp("served")
    with Ultravox(count=3) as ultravox:
        database = Database.create(folder, migrated)
        project = Project(
            database, folder, ULTRAVOX_API_URL=f"{ultravox.url}/", WEB_CONCURRENCY="1"
        )
        project.seed(key=API_KEY)
        try:
            yield project.serve(), ultravox
        finally:
            project.stop()
            database.drop()


@pytest.mark.parametrize("address", BOTH_SPELLINGS)
def test_served_without_redirect(served: tuple[str, Ultravox], address: str) -> None:
    url = served[0] + address
    response = requests.post(url, headers={"apikey": SERVICE_KEY}, allow_redirects=False)
    assert (response.status_code, response.json()) == (200, GOOD)
    assert_error(requests.post(url, allow_redirects=False), 401, "not_authenticated")
    response = requests.post(
        f"{served[0]}/api/token", json={"email": "user@example.com", "password": "wrong"}
    )
    assert_error(response, 401, "invalid_credentials")


def test_served_bodies(served: tuple[str, Ultravox], tmp_path: Path) -> None:
    url = served[0] + ADDRESS
    file = tmp_path / "file"
    file.write_bytes(b"\0" * 100_000)
    with requests.Session() as session, file.open("rb") as opened:  # on one connection
        session.headers["apikey"] = SERVICE_KEY
        for arguments in (
            {"data": b"\xff" * 3_000_000},
            {"data": (b"x" * 1000 for _ in range(100))},  # chunked
            {"data": b"{", "headers": {"Content-Type": "application/json"}},
            {"data": b"{}", "headers": {"Content-Encoding": "gzip"}},
            {"files": {"file": opened}},
            {"data": {"a": "b"}},
            {"json": {"a": "b"}},
            {},
        ):
            response = session.post(url, **arguments)  # type: ignore[arg-type]
            assert (response.status_code, response.json()) == (200, GOOD)


@pytest.mark.parametrize("method", METHODS)
def test_served_methods(served: tuple[str, Ultravox], method: str) -> None:
    response = requests.request(method, served[0] + ADDRESS, data=b"{")
    if method == "HEAD":
        assert (response.status_code, response.content) == (405, b"")
    else:
        assert_error(response, 405, "method_not_allowed")
    assert set(response.headers["Allow"].split(", ")) == {"POST", "OPTIONS"}


@pytest.mark.parametrize("length", [8_000, 8_190, 9_000, 30_000])
@pytest.mark.parametrize("header", ["Authorization", "apikey"])
def test_served_long_credentials(served: tuple[str, Ultravox], header: str, length: int) -> None:
    value = "x" * length
    code = "invalid_api_key" if header == "apikey" else "invalid_token"
    value = value if header == "apikey" else f"Bearer {value}"
    response = requests.post(served[0] + ADDRESS, headers={header: value})
    assert_error(response, 401, code)


@pytest.mark.parametrize("token", [b"\xff\xfe.\x80.\xc3", "grüße".encode(), b"\xc3\xa9"])
def test_served_bytes_that_are_no_text(served: tuple[str, Ultravox], token: bytes) -> None:
    url = urlsplit(served[0])
    connection = http.client.HTTPConnection(url.hostname or "", url.port, timeout=10)
    try:
        for header, value in ((b"Authorization", b"Bearer " + token), (b"apikey", token)):
            connection.putrequest("POST", ADDRESS)
            connection.putheader(header, value)  # type: ignore[arg-type]
            connection.putheader("Content-Length", "0")
            connection.endheaders()
            response = connection.getresponse()
            body = json.loads(response.read())
            assert response.status == 401, body
            assert body["code"] in ("invalid_token", "invalid_api_key")
    finally:
        connection.close()


def test_served_errors_hold_nothing_of_ultravox(served: tuple[str, Ultravox]) -> None:
    url, ultravox = served
    ultravox.fault = in_confidence
    try:
        response = requests.post(url + ADDRESS, headers={"apikey": SERVICE_KEY})
    finally:
        ultravox.fault = None
    assert_error(response, 502, "ultravox_error")
