"""`POST /functions/v1/voices-sync` and `POST /api/voices/sync/`, as callers see them."""

import itertools
from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection
from django.test import Client

from agencies.models import Agency, User
from sandbox.catalogue import make_voices
from tests.support.answers import (
    ADDRESSES,
    BOTH_SPELLINGS,
    assert_error,
    in_confidence,
    store_raw_key,
)
from tests.support.environment import OTHER_SERVICE_KEY, SERVICE_KEY
from tests.support.rows import bearer
from tests.ultravox import Ultravox
from voices.models import SyncRun, Voice

ADDRESS = ADDRESSES[0]
SERVICE = {"apikey": SERVICE_KEY}
SYNCED = {"success": True, "message": "Synced 3 voices from Ultravox", "stats": {"synced": 3}}
METHODS = ("GET", "HEAD", "PUT", "PATCH", "DELETE", "TRACE", "CONNECT", "BREW")


@pytest.fixture(autouse=True)
def three_voices(ultravox: Ultravox) -> None:
    ultravox.voices = make_voices(3, base_url=ultravox.url)


def assert_synced(response: Any) -> None:
    assert (response.status_code, response.json()) == (200, SYNCED)
    assert response.headers["Content-Type"] == "application/json"


# Success


@pytest.mark.parametrize("address", BOTH_SPELLINGS)
def test_services_and_users_sync(client: Client, user: User, address: str) -> None:
    assert_synced(client.post(address, headers=SERVICE))
    assert Voice.objects.count() == 3
    assert_synced(client.post(address, headers=bearer(user)))
    runs = SyncRun.objects.order_by("pk").values_list("trigger", "agency", "user", "synced")
    assert list(runs) == [
        ("service", user.agency_id, None, 3),
        ("user", user.agency_id, user.pk, 3),
    ]


@pytest.mark.parametrize(
    ("records", "message", "stats"),
    [
        ([], "No voices found in Ultravox", {"synced": 0}),
        ([{}], "No voices found in Ultravox", {"synced": 0, "skipped": 1}),
        ([{"voiceId": "a"}, None], "Synced 1 voices from Ultravox", {"synced": 1, "skipped": 1}),
    ],
)
def test_the_body_of_a_success(
    client: Client,
    agency: Agency,
    ultravox: Ultravox,
    records: list[Any],
    message: str,
    stats: dict[str, int],
) -> None:
    ultravox.voices = records
    response = client.post(ADDRESS, headers=SERVICE)
    assert response.status_code == 200
    assert response.json() == {"success": True, "message": message, "stats": stats}


# What a request may hold

BODIES = [
    *(("application/json", body) for body in (b"", b"null", b"[" * 100_000, b'{"success": fal')),
    ("application/json; charset=utf-16", b"{}"),
    ("application/x-www-form-urlencoded", b"a=%ff&a&=&" + b"x=1&" * 2000),
    ("multipart/form-data; boundary=x", b"--x\r\nContent-Disposition: form-data"),
    ("application/octet-stream", bytes(range(256)) * 12_000),
    (";;=\x80/", b"{"),
]


def test_any_body_and_query_are_ignored(client: Client, agency: Agency) -> None:
    address = f"{ADDRESS}?format=xml&apikey=x&%ff"
    for content_type, body in BODIES:
        response = client.generic("POST", address, body, content_type=content_type, headers=SERVICE)
        assert (response.status_code, response.json()) == (200, SYNCED), (content_type, body[:40])
    assert_error(client.post(f"{ADDRESS}?apikey={SERVICE_KEY}"), 401, "not_authenticated")


@pytest.mark.parametrize("accept", ["text/html", "application/json;q=0", ";/,=", "\xff"])
def test_every_response_is_json_whatever_the_accept_header(
    client: Client, agency: Agency, accept: str
) -> None:
    headers = {"accept": accept} | SERVICE
    assert_synced(client.post(ADDRESS, headers=headers))
    assert_error(client.post(ADDRESS, headers={"accept": accept}), 401, "not_authenticated")
    assert_error(client.get(ADDRESS, headers=headers), 405, "method_not_allowed")
    assert_error(client.get("/nothing", headers=headers), 404, "not_found")


# Errors of a sync: `test_sync.py` has the causes


def make_table_read_only() -> None:
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE ultravox_voices RENAME TO lost")
        cursor.execute("CREATE VIEW ultravox_voices AS SELECT * FROM lost LIMIT 99")


CAUSES: list[tuple[int, str, Callable[[Ultravox, Agency], None]]] = [
    (400, "no_api_key", lambda ultravox, agency: store_raw_key(agency, "")),
    (500, "credentials_unavailable", lambda ultravox, agency: store_raw_key(agency, "gAAAAABx")),
    (500, "save_failed", lambda ultravox, agency: make_table_read_only()),
    (502, "ultravox_error", lambda ultravox, agency: setattr(ultravox, "fault", in_confidence)),
]


@pytest.mark.parametrize(("status", "code", "cause"), CAUSES)
def test_a_failed_sync(
    client: Client,
    ultravox: Ultravox,
    user: User,
    agency: Agency,
    status: int,
    code: str,
    cause: Callable[[Ultravox, Agency], None],
) -> None:
    cause(ultravox, agency)
    for address, headers in zip(ADDRESSES, (SERVICE, bearer(user)), strict=True):
        response = client.post(address, headers=headers)
        assert_error(response, status, code, *headers.values())
        is_own = "Your agency" in response.json()["message"]
        assert is_own is (code == "no_api_key" and headers != SERVICE)
    assert set(SyncRun.objects.values_list("status", "error_code")) == {("failed", code)}


# Credentials

UNAUTHENTICATED: dict[str, list[dict[str, str]]] = {
    "not_authenticated": [
        *({}, {"apikey": ""}, {"apikey": "  "}, {"x-api-key": SERVICE_KEY}),
        *({"authorization": value} for value in ("", "Bearer    ", f"Basic {SERVICE_KEY}")),
    ],
    "invalid_api_key": [
        *({"apikey": key} for key in ("wrong", SERVICE_KEY[:-1], SERVICE_KEY + "x", "k\xe9y\xff")),
        {"apikey": f"{SERVICE_KEY},{OTHER_SERVICE_KEY}"},
        {"apikey": "wrong", "authorization": "Bearer "},
    ],
    "invalid_token": [
        {"authorization": f"Bearer {SERVICE_KEY}x"},
        {"authorization": f"Bearer {SERVICE_KEY} {SERVICE_KEY}"},
        {"authorization": "bearer \xff\xfe"},
        {"authorization": "Bearer wrong", "apikey": SERVICE_KEY},
    ],
}


@pytest.mark.parametrize("code", UNAUTHENTICATED)
def test_without_valid_credentials(
    client: Client, agency: Agency, ultravox: Ultravox, code: str
) -> None:
    for headers, address in itertools.product(UNAUTHENTICATED[code], ADDRESSES):
        assert_error(client.post(address, headers=headers), 401, code)
    assert not ultravox.requests
    assert not SyncRun.objects.exists()


def test_without_configured_service_keys(client: Client, agency: Agency, settings: Any) -> None:
    settings.SERVICE_API_KEYS = []
    assert_error(client.post(ADDRESS, headers={"apikey": ""}), 401, "not_authenticated")
    assert_error(client.post(ADDRESS, headers=SERVICE), 401, "invalid_api_key")


SERVICES = [
    *({"apikey": key} for key in (SERVICE_KEY, OTHER_SERVICE_KEY, f" {SERVICE_KEY} ")),
    {"authorization": f"Bearer {SERVICE_KEY}"},
    {"authorization": f"BEARER   {OTHER_SERVICE_KEY} "},
    {"authorization": f"Bearer {SERVICE_KEY}", "apikey": "wrong"},
    *({"authorization": it, "apikey": SERVICE_KEY} for it in ("bEaReR    ", "Basic dXNlcjo=")),
]


def test_a_service_key_decides(client: Client, user: User) -> None:
    for headers in SERVICES:
        assert_synced(client.post(ADDRESS, headers=headers))
        assert SyncRun.objects.latest("pk").trigger == "service", headers


def test_a_bearer_token_decides(client: Client, user: User) -> None:
    token = bearer(user)["authorization"]
    for authorization in (token, token.replace("Bearer", "bEaReR")):
        for apikey in ({}, {"apikey": "wrong"}, SERVICE):
            headers = {"authorization": authorization} | apikey
            assert_synced(client.post(ADDRESS, headers=headers))
            run = SyncRun.objects.latest("pk")
            assert (run.trigger, run.user) == ("user", user), headers


def test_a_user_never_falls_back_to_the_service_key(
    client: Client, agency: Agency, ultravox: Ultravox
) -> None:
    headers = bearer(User.objects.create_user("outsider@example.com", "x"))
    for address, apikey in itertools.product(ADDRESSES, ({}, SERVICE)):
        response = client.post(address, headers=headers | apikey)
        assert_error(response, 403, "not_agency_user", headers["authorization"])
    assert not SyncRun.objects.exists()
    keyless = Agency.objects.create(name="Keyless")
    member = User.objects.create_user("member@example.com", "x", agency=keyless)
    assert_error(client.post(ADDRESS, headers=bearer(member) | SERVICE), 400, "no_api_key")
    assert not ultravox.requests


# Methods


def test_other_methods_are_rejected_before_credentials(
    client: Client, user: User, ultravox: Ultravox
) -> None:
    for headers in ({}, {"apikey": "wrong"}, {"authorization": "Bearer wrong"}, bearer(user)):
        for method, address in itertools.product(METHODS, BOTH_SPELLINGS):
            response = client.generic(method, address, headers=headers)
            if method == "HEAD":
                assert (response.status_code, response.content) == (405, b"")
            else:
                assert_error(response, 405, "method_not_allowed")
            assert set(response.headers["Allow"].split(", ")) == {"POST", "OPTIONS"}
            assert "WWW-Authenticate" not in response.headers
        for address in BOTH_SPELLINGS:
            response = client.options(address, headers=headers)
            assert response.status_code in (200, 204)
            assert set(response.headers["Allow"].split(", ")) == {"POST", "OPTIONS"}
    assert not ultravox.requests
