"""Every error, wherever it comes from, is JSON in one form; on pages for people it is a page."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
from django.db import connection
from django.db.models.signals import post_init
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver
from rest_framework.test import APIRequestFactory
from rest_framework.views import APIView

from agencies.models import Agency, User
from tests.support.answers import ADDRESSES, BOTH_SPELLINGS, REFRESH, SECRETS, TOKEN, assert_error
from tests.support.environment import ORIGIN, PASSWORD, SERVICE_KEY
from tests.support.rows import bearer

SERVICE = {"apikey": SERVICE_KEY}
SYNC = ADDRESSES[0]
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "BREW")
UNKNOWN = [
    *("/nothing", "/nothing/", "/api", "/api/", "/api/token/more", "/logout"),
    *("/functions/v1/voices-sync/more", "/functions/v1/voices-sync.json", "/static/nothing.css"),
    *("/FUNCTIONS/V1/VOICES-SYNC", "//functions/v1/voices-sync", "/.env", "/..%2f..%2fetc/passwd"),
    *("/favicon.ico", "/%00", "/%ff%fe", "/%0a", "/<script>alert(1)</script>", "/" + "x" * 2000),
]
# What anyone may use: logging in, and the API's description.
PUBLIC = {
    *("/api/token/", "/api/token/refresh/", "/api/schema/", "/api/docs/"),
    *("/admin/login/", "/login/", "/login"),
}
LOGIN = "/admin/login/"
LOGINS = (LOGIN, "/login/")


@pytest.fixture
def calm() -> Client:
    """A client that returns a view's 500 instead of raising its exception."""
    return Client(raise_request_exception=False)


def lose(table: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(f"ALTER TABLE {table} RENAME TO lost_{table}")


def log_in(client: Client, user: User) -> Any:
    body = {"email": user.email, "password": PASSWORD}
    return client.post(TOKEN, body, content_type="application/json")


def assert_error_page(response: Any, status: int, *secrets: str) -> None:
    """Check that an error is a page that reveals nothing of the inside."""
    assert response.status_code == status
    assert response.headers["Content-Type"].startswith("text/html")
    text = response.content.decode()
    for secret in (*SECRETS, *secrets, "Traceback", "SELECT", "site-packages", "sqlite", "psycopg"):
        assert secret not in text, secret


# Closed by default


def all_addresses(resolver: Any, prefix: str = "") -> Iterator[str]:
    """Yield an example of each address of a resolver."""
    for pattern in resolver.url_patterns:
        route = re.sub(r"<[^>]+>|\(\?P<[^)]*\)|\([^)]*\)", "1", str(pattern.pattern))
        address = prefix + route.replace("^", "").replace("/?", "/").replace("$", "")
        if isinstance(pattern, URLResolver):
            yield from all_addresses(pattern, address)
        else:
            assert isinstance(pattern, URLPattern)
            yield "/" + address.removesuffix("\\Z")


def is_closed(client: Client, method: str, address: str) -> bool:
    response = client.generic(method, address)
    while response.status_code in (301, 302):
        if response["Location"].startswith(LOGINS):
            return True
        response = client.get(response["Location"])
    return response.status_code in (401, 403, 404, 405)


def test_all_other_addresses_are_closed_to_strangers(client: Client, db: None) -> None:
    addresses = set(all_addresses(get_resolver()))
    assert {*PUBLIC, *(f"{address.rstrip('/')}/" for address in ADDRESSES)} < addresses
    assert "/admin/voices/voice/1/change/" in addresses
    opened = {
        address
        for address in addresses
        for method in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
        if not is_closed(client, method, address)
    }
    assert opened == PUBLIC


def test_a_view_without_permissions_is_closed(db: None) -> None:
    class Forgetful(APIView):
        def get(self, request: Any) -> None:
            raise AssertionError("called")

    assert Forgetful.as_view()(APIRequestFactory().get("/")).status_code == 401


# 404 and 403


def test_unknown_addresses(client: Client, db: None) -> None:
    for address in UNKNOWN:
        for method in METHODS:
            response = client.generic(method, address, headers={"accept": "text/html"})
            assert_error(response, 404, "not_found")
        assert client.head(address).status_code == 404
        assert len(address) < 6 or address not in response.content.decode()


def test_pages_of_the_admin_that_are_missing_or_forbidden(client: Client, user: User) -> None:
    User.objects.update(is_staff=True)
    client.force_login(user)
    for address in ("nothing/", "voices/nothing/", "nothing", "x.css", "r/1/1/"):
        assert_error_page(client.get(f"/admin/{address}"), 404)
    for address in ("agencies/agency/", "voices/voice/add/"):
        assert_error_page(client.get(f"/admin/{address}"), 403)


# 500


@pytest.mark.parametrize("table", ["users", "agencies", "ultravox_voices", "voice_sync_runs"])
def test_lost_tables(calm: Client, ultravox: Any, user: User, table: str) -> None:
    headers = bearer(user)
    lose(table)
    for address in ADDRESSES:
        response = calm.post(address, headers=headers if table == "users" else SERVICE)
        assert_error(response, 500, "save_failed", table, headers["authorization"])
    if table == "users":
        assert_error(log_in(calm, user), 500, "database_unavailable", table)


def test_an_unexpected_error(calm: Client, user: User) -> None:
    def recurse(**_: Any) -> None:
        raise RecursionError

    for model in (Agency, User):
        post_init.connect(recurse, sender=model)
    try:
        responses = [calm.post(SYNC, headers=SERVICE), log_in(calm, user)]
    finally:
        for model in (Agency, User):
            post_init.disconnect(recurse, sender=model)
    for response in responses:
        assert_error(response, 500, "internal_error")


@pytest.mark.parametrize("debug", [False, True])
def test_no_error_shows_settings_or_code(
    calm: Client, staff: User, settings: Any, debug: bool
) -> None:
    settings.DEBUG = debug
    for address in ("/nothing", "/static/nothing.css"):
        assert_error(calm.get(address, headers={"accept": "text/html"}), 404, "not_found")
    other_host = {"host": "evil.example.com"}
    assert_error(calm.get(SYNC, headers=other_host), 400, "invalid_request", "evil.example.com")
    assert_error_page(calm.get("/", headers=other_host), 400, "evil.example.com")
    assert_error_page(Client(enforce_csrf_checks=True).post(LOGIN), 403)
    calm.force_login(staff)
    for table in ("agencies", "django_session"):
        lose(table)
    assert_error(calm.post(SYNC, headers=SERVICE), 500, "save_failed")
    assert_error_page(calm.get("/admin/"), 500, "django_session")


# Hosts and origins


@pytest.mark.parametrize("host", ["evil.example.com", "localhost.evil.com", "[::1", "", "\xff"])
def test_other_hosts(client: Client, db: None, host: str) -> None:
    headers = {"host": host} | SERVICE
    for address in (*BOTH_SPELLINGS, TOKEN, "/nothing"):
        assert_error(client.post(address, headers=headers), 400, "invalid_request")
    for address in ("/admin/", "/"):
        assert_error_page(client.get(address, headers=headers), 400)


REQUESTED = [
    *("authorization", "apikey", "content-type", "x-client-info", "x-supabase-api-version"),
    *("x-region", "if-none-match", "range"),
]


def preflight(client: Client, address: str, origin: str) -> Any:
    headers = {
        "origin": origin,
        "access-control-request-method": "POST",
        "access-control-request-headers": ",".join(REQUESTED),
    }
    return client.options(address, headers=headers)


@pytest.mark.parametrize("origin", [ORIGIN, "http://localhost:3000"])
def test_preflight_from_a_configured_origin(client: Client, origin: str) -> None:
    for address in (*BOTH_SPELLINGS, TOKEN, REFRESH, "/functions/v1/voices-list"):
        response = preflight(client, address, origin)
        assert response.status_code in (200, 204)
        assert response.headers["Access-Control-Allow-Origin"] == origin
        assert {"GET", "POST"} <= set(response["Access-Control-Allow-Methods"].split(", "))
        assert set(REQUESTED) <= set(response["Access-Control-Allow-Headers"].split(", "))
        assert "origin" in response.headers["Vary"].lower()
        assert "Access-Control-Allow-Credentials" not in response.headers


@pytest.mark.parametrize(
    "origin",
    ["https://evil.example.com", f"{ORIGIN}.evil.com", f"{ORIGIN}:8443", "null", "*", ""],
)
def test_another_origin(client: Client, db: None, origin: str) -> None:
    for address in ADDRESSES:
        assert "Access-Control-Allow-Origin" not in preflight(client, address, origin).headers
        response = client.post(address, headers={"origin": origin})
        assert_error(response, 401, "not_authenticated")
        assert "Access-Control-Allow-Origin" not in response.headers


def test_a_configured_origin_may_read_every_response(
    calm: Client, ultravox: Any, user: User
) -> None:
    origin = {"origin": ORIGIN}
    service = origin | SERVICE
    responses = [
        calm.get("/api/voices/", headers=service),
        calm.post(SYNC, headers=service),
        calm.post(SYNC, headers=origin),
        calm.get(SYNC, headers=service),
        calm.get("/nothing", headers=origin),
        calm.post(SYNC, headers=service | {"host": "evil.example.com"}),
    ]
    lose("agencies")
    responses.append(calm.post(SYNC, headers=service))
    assert [each.status_code for each in responses] == [200, 200, 401, 405, 404, 400, 500]
    assert {each.headers.get("Access-Control-Allow-Origin") for each in responses} == {ORIGIN}
    assert not any("Access-Control-Allow-Credentials" in each for each in responses)
    assert "ETag" in responses[0]["Access-Control-Expose-Headers"]
    assert "origin" in responses[0]["Vary"].lower()
