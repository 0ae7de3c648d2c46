"""`POST /functions/v1/voices-sync` and `POST /api/voices/sync/`, as callers see them."""

import itertools
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import requests
from django.db import connection
from django.test import Client
from django.utils import timezone
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
from tests.support.project import Database, Project, own_project
from tests.support.seeding import add_agency
from tests.ultravox import API_KEY, Ultravox
from voices.models import SyncRun, Voice
from voices.records import MAX_DEPTH

ADDRESS = ADDRESSES[0]
SERVICE = {"apikey": SERVICE_KEY}
GOOD = {"success": True, "message": "Synced 3 voices from Ultravox", "stats": {"synced": 3}}
METHODS = ("GET", "HEAD", "PUT", "PATCH", "DELETE", "TRACE", "CONNECT", "PROPFIND", "QUERY", "BREW")


@pytest.fixture(autouse=True)
def three_voices(ultravox: Ultravox) -> Ultravox:
    ultravox.voices = make_voices(3, base_url=ultravox.url)
    return ultravox


@pytest.fixture
def old_rows(db: None) -> list[tuple[Any, ...]]:
    """A table with a voice that Ultravox still has, older, and one that it has no more."""
    [voice] = make_voices(1, base_url="http://example.com")
    for pk, name in ((voice["voiceId"], "old name"), ("gone", "gone")):
        Voice.objects.create(pk=pk, name=name, definition=[1], last_synced_at=timezone.now())
    return voice_rows()


def bearer(user: User) -> dict[str, str]:
    return {"authorization": f"Bearer {AccessToken.for_user(user)}"}


def assert_good(response: Any) -> None:
    assert (response.status_code, response.json()) == (200, GOOD)


def sent_keys(ultravox: Ultravox) -> list[str]:
    return [request.headers["x-api-key"] for request in ultravox.requests]


# Success


@pytest.mark.parametrize("address", BOTH_SPELLINGS)
def test_services_and_users_sync(client: Client, user: User, address: str) -> None:
    response = client.post(address, headers=SERVICE)
    assert_good(response)
    assert response.headers["Content-Type"] == "application/json"
    assert Voice.objects.count() == 3
    assert_good(client.post(address, headers=bearer(user)))
    runs = SyncRun.objects.order_by("pk").values_list("trigger", "agency", "user", "synced")
    assert list(runs) == [
        ("service", user.agency_id, None, 3),
        ("user", user.agency_id, user.pk, 3),
    ]


def test_what_is_counted(client: Client, agency: Agency, ultravox: Ultravox) -> None:
    def sync(*records: Any) -> tuple[str, dict[str, int]]:
        ultravox.voices = list(records)
        response = client.post(ADDRESS, headers=SERVICE)
        assert list(response.json()) == ["success", "message", "stats"]
        assert (response.status_code, response.json()["success"]) == (200, True)
        return response.json()["message"], response.json()["stats"]

    good = ultravox.voices
    none, three = "No voices found in Ultravox", "Synced 3 voices from Ultravox"
    assert sync() == (none, {"synced": 0})
    assert sync({}) == (none, {"synced": 0, "skipped": 1})
    assert sync(*good, {"name": "nameless"}, None) == (three, {"synced": 3, "skipped": 2})
    assert sync(*good, {**good[0], "name": "the last one"}) == (three, {"synced": 3})
    assert Voice.objects.get(pk=good[0]["voiceId"]).name == "the last one"


def test_a_sync_updates_and_never_deletes(
    client: Client, agency: Agency, ultravox: Ultravox, old_rows: list[Any]
) -> None:
    good, ultravox.voices = ultravox.voices, []
    assert client.post(ADDRESS, headers=SERVICE).status_code == 200
    assert voice_rows() == old_rows
    ultravox.voices = good
    client.post(ADDRESS, headers=SERVICE)
    names = set(Voice.objects.values_list("name", flat=True))
    assert "gone" in names
    assert "old name" not in names
    assert Voice.objects.count() == 4


# What a request may carry

BODIES = [
    *(("application/json", body) for body in (b"", b"{}", b"null", b"[" * 100_000)),
    ("application/json", b'{"agency": "another", "success": fal'),
    ("application/json; charset=klingon", b"{}"),
    ("application/json; charset=utf-16", b"{}"),
    ("application/x-www-form-urlencoded", b"a=%ff&a&=&" + b"x=1&" * 2000),
    ("multipart/form-data", b"--no boundary"),
    ("multipart/form-data; boundary=", b"----"),
    ("multipart/form-data; boundary=x", b"--x\r\nContent-Disposition: form-data"),
    ("text/plain", "grüße".encode()),
    ("application/octet-stream", bytes(range(256)) * 20),
    ("application/octet-stream", b"\0" * 3_000_000),
    *((odd, b"{") for odd in ("no-type-at-all", ";;=\x80/", "")),
]


def test_any_body_is_ignored(client: Client, agency: Agency) -> None:
    for content_type, body in BODIES:
        response = client.generic("POST", ADDRESS, body, content_type=content_type, headers=SERVICE)
        assert (response.status_code, response.json()) == (200, GOOD), (content_type, body[:40])


def test_any_accept_header_is_answered_in_json(client: Client, agency: Agency) -> None:
    for accept in (
        "",
        "*/*",
        "text/html",
        "image/png",
        "application/xml;q=0.9",
        "application/json;q=0",
        ";/,=",
        "application/json; version=7",
        "garbage",
        "\xff",
    ):
        headers = {"accept": accept} | SERVICE
        response = client.post(ADDRESS, headers=headers)
        assert_good(response)
        assert response.headers["Content-Type"] == "application/json"
        assert_error(client.post(ADDRESS, headers={"accept": accept}), 401, "not_authenticated")
        assert_error(client.get(ADDRESS, headers=headers), 405, "method_not_allowed")
        assert_error(client.get("/nothing", headers=headers), 404, "not_found")


def test_a_query_is_ignored(client: Client, agency: Agency) -> None:
    assert_good(client.post(f"{ADDRESS}?format=xml&apikey=x&%ff", headers=SERVICE))
    assert_error(client.post(f"{ADDRESS}?apikey={SERVICE_KEY}"), 401, "not_authenticated")


# Errors: the contract's table


def refuse_last_voice(ultravox: Ultravox, agency: Agency) -> None:
    # More than one statement's rows, of which the last is refused.
    ultravox.voices = make_voices(601, base_url=ultravox.url)
    last = max(voice["voiceId"] for voice in ultravox.voices)
    with connection.cursor() as cursor:
        if connection.vendor == "sqlite":
            cursor.execute(
                f"CREATE TRIGGER refuse BEFORE INSERT ON ultravox_voices WHEN NEW.id = '{last}' "
                "BEGIN SELECT RAISE(ABORT, 'refused'); END"
            )
        else:
            refuse = f"ADD CONSTRAINT refuse CHECK (id <> '{last}') NOT VALID"
            cursor.execute(f"ALTER TABLE ultravox_voices {refuse}")


def make_table_read_only(ultravox: Ultravox, agency: Agency) -> None:
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE ultravox_voices RENAME TO lost")
        cursor.execute("CREATE VIEW ultravox_voices AS SELECT * FROM lost LIMIT 99")


def key(stored: str | None) -> Callable[[Ultravox, Agency], None]:
    return lambda ultravox, agency: store_raw_key(agency, stored)


def fault(what: Callable[[Any], None]) -> Callable[[Ultravox, Agency], None]:
    def set_up(ultravox: Ultravox, agency: Agency) -> None:
        ultravox.voices = make_voices(250, base_url=ultravox.url)
        ultravox.fault = what

    return set_up


ELSEWHERE = {"results": [{"voiceId": "new"}], "next": "http://localhost:9/", "total": 2}
SAVE, ULTRAVOX = (500, "save_failed"), (502, "ultravox_error")
BROKEN: dict[str, tuple[tuple[int, str], Callable[[Ultravox, Agency], object]]] = {
    "no key": ((400, "no_api_key"), key("")),
    "null key": ((400, "no_api_key"), key(None)),
    "broken key": ((500, "credentials_unavailable"), key("gAAAAABnot-a-token-of-ours")),
    "plain key": ((500, "credentials_unavailable"), key(API_KEY)),
    "refused row": (SAVE, refuse_last_voice),
    "refused table": (SAVE, make_table_read_only),
    "revoked key": (ULTRAVOX, lambda ultravox, _: setattr(ultravox, "keys", {"x"})),
    "error": (ULTRAVOX, fault(in_confidence)),
    "not found": (ULTRAVOX, fault(lambda exchange: exchange.reply(404))),
    "HTML": (ULTRAVOX, fault(lambda exchange: exchange.reply(200, "<h1>Hi</h1>"))),
    "null": (ULTRAVOX, fault(lambda exchange: exchange.reply(200, "null"))),
    "elsewhere": (ULTRAVOX, fault(lambda exchange: exchange.reply(200, ELSEWHERE))),
    "second page": (ULTRAVOX, fault(lambda it: it.normal() if it.n % 2 else it.reply(403))),
    "away": (ULTRAVOX, lambda ultravox, _: ultravox.stop()),
    "overloaded": (ULTRAVOX, fault(lambda exchange: exchange.reply(503))),
    "hanging": (ULTRAVOX, fault(lambda exchange: exchange.hang())),
}


@pytest.mark.parametrize(("error", "set_up"), BROKEN.values(), ids=BROKEN)
def test_failed_syncs(
    client: Client,
    ultravox: Ultravox,
    user: User,
    old_rows: list[Any],
    settings: Any,
    error: tuple[int, str],
    set_up: Any,
) -> None:
    if error == ULTRAVOX:
        settings.ULTRAVOX_TIMEOUT, settings.ULTRAVOX_DEADLINE = 0.2, 0.4
    assert user.agency
    set_up(ultravox, user.agency)
    for address, headers in zip(ADDRESSES, (SERVICE, bearer(user)), strict=True):
        assert_error(client.post(address, headers=headers), *error, *headers.values())
    assert voice_rows() == old_rows
    outcomes = SyncRun.objects.values_list("status", "error_code", "synced")
    assert list(outcomes) == [("failed", error[1], 0)] * 2
    assert not any(API_KEY in run.error_message for run in SyncRun.objects.all())


def test_service_without_any_key(client: Client, db: None) -> None:
    for blank in ("", " ", "\n"):  # at first there is no agency
        response = client.post(ADDRESS, headers=SERVICE)
        assert_error(response, 400, "no_api_key")
        assert "your agency" not in response.json()["message"].lower()
        Agency.objects.create(name="Blank", ultravox_api_key=blank)
    assert_error(client.post(ADDRESS, headers=SERVICE), 400, "no_api_key")


UNAUTHENTICATED: dict[str, list[dict[str, str]]] = {
    "not_authenticated": [
        *({}, {"apikey": ""}, {"apikey": "  "}, {"x-api-key": SERVICE_KEY}),
        *({"authorization": given} for given in ("", "Bearer", "Bearer    ", SERVICE_KEY)),
        *({"authorization": f"Basic {given}"} for given in ("dXNlcjpwYXNzd29yZA==", SERVICE_KEY)),
    ],
    "invalid_api_key": [
        *({"apikey": key} for key in ("wrong", SERVICE_KEY[:-1], SERVICE_KEY + "x", "k\xe9y\xff")),
        *({"apikey": key} for key in (SERVICE_KEY.upper(), f"Bearer {SERVICE_KEY}", "x" * 8000)),
        {"apikey": f"{SERVICE_KEY},{OTHER_SERVICE_KEY}"},
        {"apikey": "wrong", "authorization": "Bearer "},
        {"apikey": "wrong", "authorization": f"Basic {SERVICE_KEY}"},
    ],
    "invalid_token": [
        {"authorization": "Bearer wrong"},
        {"authorization": f"Bearer {SERVICE_KEY}x"},
        {"authorization": f"Bearer {SERVICE_KEY} {SERVICE_KEY}"},
        {"authorization": "bearer \xff\xfe"},
        {"authorization": "Bearer wrong", "apikey": "wrong"},
        {"authorization": "Bearer wrong", "apikey": SERVICE_KEY},
        {"authorization": "bearer a.b.c", "apikey": SERVICE_KEY},
    ],
}


@pytest.mark.parametrize("code", UNAUTHENTICATED)
def test_without_valid_credentials(
    client: Client, agency: Agency, ultravox: Ultravox, code: str
) -> None:
    for headers, address in zip(
        UNAUTHENTICATED[code], itertools.cycle(BOTH_SPELLINGS), strict=False
    ):
        assert_error(client.post(address, headers=headers), 401, code)
    assert not ultravox.requests
    assert not SyncRun.objects.exists()


# Which flow

SERVICE_FLOW = [
    *({"apikey": key} for key in (SERVICE_KEY, OTHER_SERVICE_KEY, f" {SERVICE_KEY} ")),
    {"authorization": f"Bearer {SERVICE_KEY}"},
    {"authorization": f"bearer {OTHER_SERVICE_KEY}"},
    {"authorization": f"BEARER   {SERVICE_KEY} "},
    {"authorization": f"Bearer {SERVICE_KEY}", "apikey": SERVICE_KEY},
    {"authorization": f"Bearer {SERVICE_KEY}", "apikey": OTHER_SERVICE_KEY},
    {"authorization": f"Bearer {SERVICE_KEY}", "apikey": "wrong"},
    *(
        {"authorization": none, "apikey": SERVICE_KEY}
        for none in ("", "Bearer", "Bearer ", "bEaReR    ", "Basic dXNlcjpwYXNzd29yZA==", "Token x")
    ),
]


def test_service_flow(client: Client, user: User) -> None:
    for headers in SERVICE_FLOW:
        assert_good(client.post(ADDRESS, headers=headers))
        assert SyncRun.objects.latest("pk").trigger == "service", headers


def test_user_flow(client: Client, user: User) -> None:
    token = str(AccessToken.for_user(user))
    for scheme in ("Bearer", "bearer", "BEARER", "bEaReR"):
        for apikey in ({}, {"apikey": "wrong"}, SERVICE):
            headers = {"authorization": f"{scheme} {token}"} | apikey
            assert_good(client.post(ADDRESS, headers=headers))
            run = SyncRun.objects.latest("pk")
            assert (run.trigger, run.user) == ("user", user), headers


def test_user_flow_never_falls_back_to_the_service_key(
    client: Client, agency: Agency, ultravox: Ultravox
) -> None:
    outsider = User.objects.create_user("outsider@example.com", "x")
    for address, apikey in itertools.product(BOTH_SPELLINGS, ({}, SERVICE)):
        headers = bearer(outsider)
        response = client.post(address, headers=headers | apikey)
        assert_error(response, 403, "not_agency_user", headers["authorization"])
    assert not SyncRun.objects.exists()
    keyless = Agency.objects.create(name="Keyless")
    member = User.objects.create_user("member@example.com", "x", agency=keyless)
    assert_error(client.post(ADDRESS, headers=bearer(member) | SERVICE), 400, "no_api_key")
    assert not ultravox.requests


def test_no_configured_service_key_lets_nobody_in(
    client: Client, agency: Agency, settings: Any
) -> None:
    settings.SERVICE_API_KEYS = []
    assert_error(client.post(ADDRESS, headers={"apikey": ""}), 401, "not_authenticated")
    assert_error(client.post(ADDRESS, headers=SERVICE), 401, "invalid_api_key")


# Methods


def test_other_methods_are_refused_before_anybody_is_asked(
    client: Client, user: User, ultravox: Ultravox
) -> None:
    nobody: list[dict[str, str]] = [{}, {"apikey": "wrong"}, {"authorization": "Bearer wrong"}]
    for headers in (*nobody, SERVICE, bearer(user)):
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


# Failover between agencies


def make_agencies(*keys: str | None) -> list[Agency]:
    """Make agencies in this order; a key of None is one that cannot be decrypted."""
    made = []
    for number, stored in enumerate(keys):
        agency = Agency.objects.create(name=f"Agency {number}", ultravox_api_key=stored or "")
        if stored is None:
            store_raw_key(agency, "gAAAAABbroken")
        made.append(agency)
    return made


GOOD_IN_THE_END = [
    (["", API_KEY], [API_KEY]),
    ([None, API_KEY], [API_KEY]),
    (["revoked", API_KEY], ["revoked", API_KEY]),
    (["a line\nbreak", API_KEY], [API_KEY]),
    (["", None, "revoked", "revoked too", API_KEY], ["revoked", "revoked too", API_KEY]),
    ([API_KEY, "never asked"], [API_KEY]),
    ([None, API_KEY, "revoked"], [API_KEY]),
]


@pytest.mark.parametrize(("keys", "sent"), GOOD_IN_THE_END)
def test_the_next_agency_is_tried(
    client: Client, db: None, ultravox: Ultravox, keys: list[str | None], sent: list[str]
) -> None:
    made = make_agencies(*keys)
    assert_good(client.post(ADDRESS, headers=SERVICE))
    assert sent_keys(ultravox) == sent
    run = SyncRun.objects.get(status="succeeded")
    assert run.agency == made[keys.index(API_KEY)]
    assert (run.synced, run.pages, run.error_code) == (3, 1, "")


def test_each_key_tried_has_a_run(client: Client, db: None) -> None:
    _, undecryptable, revoked, good, _ = make_agencies(" ", None, "revoked", API_KEY, "never asked")
    assert_good(client.post(ADDRESS, headers=SERVICE))
    runs = SyncRun.objects.order_by("pk").values_list("agency", "status", "error_code")
    assert list(runs) == [
        (undecryptable.pk, "failed", "credentials_unavailable"),
        (revoked.pk, "failed", "ultravox_error"),
        (good.pk, "succeeded", ""),
    ]


UNREADABLE = (500, "credentials_unavailable")
BAD_TO_THE_LAST = [
    (["", ""], {(400, "no_api_key")}),
    ([None, None], {UNREADABLE}),
    (["", None], {UNREADABLE}),
    (["revoked", "revoked too"], {ULTRAVOX}),
    ([None, "revoked"], {UNREADABLE, ULTRAVOX}),
    (["revoked", "", None], {UNREADABLE, ULTRAVOX}),
]


@pytest.mark.parametrize(("keys", "codes"), BAD_TO_THE_LAST)
def test_all_agencies_fail(
    client: Client, old_rows: list[Any], keys: list[str | None], codes: set[tuple[int, str]]
) -> None:
    make_agencies(*keys)
    response = client.post(ADDRESS, headers=SERVICE)
    outcome = response.status_code, response.json()["code"]
    assert outcome in codes
    assert_error(response, *outcome, "revoked")
    assert voice_rows() == old_rows
    runs = set(SyncRun.objects.values_list("status", "error_code"))
    assert ("failed", outcome[1]) in runs
    assert runs <= {("failed", code) for _, code in codes}


OWN_KEYS = [(API_KEY, None), ("", (400, "no_api_key")), (None, UNREADABLE), ("revoked", ULTRAVOX)]


@pytest.mark.parametrize(("stored", "error"), OWN_KEYS)
def test_a_user_syncs_with_their_own_agency_only(
    client: Client, db: None, ultravox: Ultravox, stored: str | None, error: tuple[int, str] | None
) -> None:
    _, own = make_agencies(API_KEY if error else "another", stored)
    headers = bearer(User.objects.create_user("user@example.com", "x", agency=own))
    response = client.post(ADDRESS, headers=headers)
    if error:
        assert_error(response, *error, headers["authorization"])
    else:
        assert_good(response)
    assert sent_keys(ultravox) == ([stored] if stored else [])
    run = SyncRun.objects.get()
    assert (run.trigger, run.error_code) == ("user", error[1] if error else "")
    assert run.agency == own or stored == ""


# On the wire: the web server as it is run


@pytest.fixture(scope="module")
def served(
    migrated: Database, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Project, str, Ultravox]]:
    folder = tmp_path_factory.mktemp("served")
    with (
        Ultravox(count=3) as ultravox,
        own_project(migrated, folder, ULTRAVOX_API_URL=f"{ultravox.url}/") as project,
    ):
        add_agency(project)
        yield project, project.serve("--workers=1"), ultravox


Served = tuple[Project, str, Ultravox]


def test_served_without_redirect(served: Served) -> None:
    for address in BOTH_SPELLINGS:
        url = served[1] + address
        assert_good(requests.post(url, headers=SERVICE, allow_redirects=False))
        assert_error(requests.post(url, allow_redirects=False), 401, "not_authenticated")
        for method in METHODS:
            response = requests.request(method, url, data=b"{")
            if method == "HEAD":
                assert (response.status_code, response.content) == (405, b"")
            else:
                assert_error(response, 405, "method_not_allowed")
            assert set(response.headers["Allow"].split(", ")) == {"POST", "OPTIONS"}
    body = {"email": "user@example.com", "password": "wrong"}
    response = requests.post(f"{served[1]}/api/token", json=body)
    assert_error(response, 401, "invalid_credentials")


@pytest.mark.parametrize("depth", [100, 400, 900, 3_000, 20_000])
def test_served_definitions_nested_deep(served: Served, depth: int) -> None:
    """What is nested too deep is stored as JSON text, whatever stack is left to the server's thread."""
    project, url, ultravox = served
    nested = '{"a": ' * depth + "1" + "}" * depth
    page = f'{{"results": [{{"voiceId": "deep", "definition": {nested}}}], "next": null}}'
    ultravox.fault = lambda exchange: exchange.reply(200, page)
    try:
        response = requests.post(url + ADDRESS, headers=SERVICE)
    finally:
        ultravox.fault = None
    if depth > 1_000 and response.status_code == 502:  # the parser does not read it
        return assert_error(response, 502, "ultravox_error")
    assert response.status_code == 200, response.text
    stored = project.database.value("SELECT definition FROM ultravox_voices WHERE id = 'deep'")
    levels = 0
    definition = json.loads(stored) if isinstance(stored, str) else stored
    while isinstance(definition, dict):
        definition = definition["a"]
        levels += 1
    rest = depth - MAX_DEPTH
    assert levels == min(depth, MAX_DEPTH)
    assert definition == ('{"a": ' * rest + "1" + "}" * rest if rest else 1)
