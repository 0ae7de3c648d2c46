"""Every error, Django's own included, has the one form: JSON, and a page where people look."""

from collections.abc import Iterator
from typing import Any

import pytest
import requests
from django.db import connection
from django.test import Client
from rest_framework_simplejwt.tokens import AccessToken

from agencies.models import User
from tests.conftest import PASSWORD
from tests.support.answers import (
    ADDRESSES,
    BOTH_SPELLINGS,
    REFRESH,
    TOKEN,
    assert_error,
    assert_page_error,
)
from tests.support.environment import ORIGIN, SERVICE_KEY
from tests.support.project import Database, Project

UNKNOWN = [
    "/nothing",
    "/nothing/",
    "/api",
    "/api/",
    "/api/voices",
    "/api/voices/sync/more",
    "/api/voices/sync//",
    "/functions/v1/",
    "/functions/v1/voices-sync/more",
    "/functions/v1/voices-sync.json",
    "/functions/v1/voices_sync",
    "/FUNCTIONS/V1/VOICES-SYNC",
    "//functions/v1/voices-sync",
    "/api/token/more",
    "/static/nothing.css",
    "/favicon.ico",
    "/robots.txt",
    "/%00",
    "/%ff%fe",
    "/%0a",
    "/..%2f..%2fetc/passwd",
    "/.env",
    "/<script>alert(1)</script>",
    "/" + "x" * 2000,
]
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "BREW")


@pytest.fixture
def calm() -> Client:
    """A client that answers 500 instead of raising what a view raised."""
    return Client(raise_request_exception=False)


def lose(table: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(f"ALTER TABLE {table} RENAME TO lost_{table}")


@pytest.mark.parametrize("address", UNKNOWN)
def test_unknown_addresses(client: Client, db: None, address: str) -> None:
    for method in METHODS:
        response = client.generic(method, address, headers={"accept": "text/html"})
        assert_error(response, 404, "not_found")
    response = client.head(address)
    assert response.status_code == 404


@pytest.mark.parametrize("address", UNKNOWN)
def test_unknown_addresses_say_nothing_of_the_address(client: Client, address: str) -> None:
    if len(address) > 5:
        assert address not in client.get(address).content.decode()


def test_unknown_pages_of_the_admin(client: Client, staff: User) -> None:
    client.force_login(staff)
    for address in ("/admin/nothing/", "/admin/voices/nothing/", "/admin/nothing", "/admin/x.css"):
        assert_page_error(client.get(address), 404, "not_found")


def test_pages_of_the_admin_that_are_not_for_everybody(client: Client, db: None) -> None:
    client.force_login(User.objects.create_user("staff@example.com", PASSWORD, is_staff=True))
    assert_page_error(client.get("/admin/agencies/agency/"), 403, "permission_denied")
    assert_page_error(client.get("/admin/voices/voice/add/"), 403, "permission_denied")


# 500


@pytest.mark.parametrize("address", [*ADDRESSES, TOKEN])
def test_lost_table_of_users(calm: Client, user: User, address: str) -> None:
    token = str(AccessToken.for_user(user))
    lose("users")
    body = {"email": user.email, "password": PASSWORD}
    headers = {"authorization": f"Bearer {token}"}
    response = calm.post(address, body, content_type="application/json", headers=headers)
    assert response.status_code == 500
    assert_error(response, 500, response.json()["code"], token, "users")


@pytest.mark.parametrize("table", ["agencies", "ultravox_voices", "voice_sync_runs"])
def test_lost_tables(calm: Client, ultravox: Any, user: User, table: str) -> None:
    lose(table)
    for address in BOTH_SPELLINGS:
        response = calm.post(address, headers={"apikey": SERVICE_KEY})
        assert_error(response, 500, "save_failed", table)


@pytest.mark.parametrize(
    ("address", "table"),
    [("/admin/voices/voice/", "ultravox_voices"), ("/admin/", "django_session")],
)
def test_lost_tables_of_pages(calm: Client, staff: User, address: str, table: str) -> None:
    calm.force_login(staff)
    lose(table)
    assert_page_error(calm.get(address), 500, "internal_error", table)


# CSRF


@pytest.mark.parametrize("cookie", [None, "wrong", "x" * 32])
def test_csrf_failure(staff: User, cookie: str | None) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(staff)
    if cookie:
        client.cookies["csrftoken"] = cookie
    for address in ("/admin/login/", "/admin/voices/voice/sync/", "/admin/logout/"):
        assert_page_error(client.post(address), 403, "csrf_failed")


def test_the_api_needs_no_csrf_token(ultravox: Any, user: User) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(user)
    for address in BOTH_SPELLINGS:
        assert_error(client.post(address), 401, "not_authenticated")  # a cookie signs nobody in
        assert client.post(address, headers={"apikey": SERVICE_KEY}).status_code == 200
    body = {"email": user.email, "password": PASSWORD}
    assert client.post(TOKEN, body, content_type="application/json").status_code == 200


# Hosts


@pytest.mark.parametrize(
    "host",
    ["evil.example.com", "localhost.evil.com", "localhost:80:80", "local host", "[::1", "", "a_b",
     "\xff", "localhost:port", "127.0.0.1.nip.io"],
)  # fmt: skip
def test_other_hosts(client: Client, db: None, host: str) -> None:
    for address in (*BOTH_SPELLINGS, TOKEN, REFRESH, "/nothing", "/admin/", "/"):
        check = assert_page_error if address in ("/admin/", "/") else assert_error
        response = client.post(address, headers={"host": host, "apikey": SERVICE_KEY})
        check(response, 400, "invalid_request")
        check(client.get(address, headers={"host": host}), 400, "invalid_request")


# Other origins


ALLOWED = ["authorization", "apikey", "content-type", "x-client-info", "x-supabase-api-version"]


def preflight(client: Client, address: str, origin: str, headers: str = ",".join(ALLOWED)) -> Any:
    return client.options(
        address,
        headers={
            "origin": origin,
            "access-control-request-method": "POST",
            "access-control-request-headers": headers,
        },
    )


@pytest.mark.parametrize("origin", [ORIGIN, "http://localhost:3000"])
@pytest.mark.parametrize("address", [*BOTH_SPELLINGS, TOKEN, REFRESH])
def test_preflight_of_a_configured_origin(client: Client, address: str, origin: str) -> None:
    response = preflight(client, address, origin)
    assert response.status_code in (200, 204)
    assert response.headers["Access-Control-Allow-Origin"] == origin
    assert "POST" in response.headers["Access-Control-Allow-Methods"].split(", ")
    allowed = response.headers["Access-Control-Allow-Headers"].lower().split(", ")
    assert set(ALLOWED) <= set(allowed)
    assert "origin" in response.headers["Vary"].lower()
    assert "Access-Control-Allow-Credentials" not in response.headers


@pytest.mark.parametrize(
    "origin",
    ["https://evil.example.com", "http://dashboard.example.com", f"{ORIGIN}.evil.com", "null",
     f"{ORIGIN}:8443", "https://evil-dashboard.example.com", "*", ""],
)  # fmt: skip
@pytest.mark.parametrize("address", ADDRESSES)
def test_preflight_of_another_origin(client: Client, address: str, origin: str) -> None:
    response = preflight(client, address, origin)
    assert "Access-Control-Allow-Origin" not in response.headers
    response = client.post(address, headers={"origin": origin})
    assert_error(response, 401, "not_authenticated")
    assert "Access-Control-Allow-Origin" not in response.headers


def test_success_and_errors_are_for_the_configured_origin(
    calm: Client, ultravox: Any, user: User
) -> None:
    def origin_of(response: Any) -> str | None:
        return response.headers.get("Access-Control-Allow-Origin")

    origin = {"origin": ORIGIN}
    service = origin | {"apikey": SERVICE_KEY}
    answers = {}
    for address in ADDRESSES:
        for response in (
            calm.post(address, headers=service),
            calm.post(address, headers=origin),
            calm.post(address, headers=origin | {"apikey": "wrong"}),
            calm.post(address, headers=origin | {"authorization": "Bearer wrong"}),
            calm.get(address, headers=service),
            calm.get("/nothing", headers=origin),
            calm.post(address, headers=service | {"host": "evil.example.com"}),
        ):
            answers[response.status_code] = origin_of(response)
    ultravox.fault = "status_404"
    response = calm.post(ADDRESSES[0], headers=service)
    answers[response.status_code] = origin_of(response)
    lose("agencies")
    response = calm.post(ADDRESSES[0], headers=service)
    answers[response.status_code] = origin_of(response)
    assert answers == dict.fromkeys((200, 401, 405, 404, 400, 502, 500), ORIGIN)


# With DJANGO_DEBUG: Django's own pages show settings and code


@pytest.fixture(scope="module")
def debugged(
    migrated: Database, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[str, Project]]:
    folder = tmp_path_factory.mktemp("debugged")
    database = Database.create(folder, migrated)
    project = Project(database, folder, DJANGO_DEBUG="true", WEB_CONCURRENCY="1")
    try:
        yield project.serve(), project
    finally:
        project.stop()
        database.drop()


@pytest.mark.parametrize("accept", ["text/html", "text/plain", "*/*"])
def test_errors_with_debug(debugged: tuple[str, Project], accept: str) -> None:
    url, project = debugged
    headers = {"Accept": accept}
    for address in ("/nothing", "/api/", "/static/nothing.css", "/%ff", "/favicon.ico"):
        assert_error(requests.get(url + address, headers=headers), 404, "not_found")
    for address in (ADDRESSES[0], TOKEN, "/", "/nothing", "/admin/"):
        response = requests.get(
            url + address, headers=headers | {"Host": "evil.example.com"}, allow_redirects=False
        )
        check = assert_page_error if address in ("/admin/", "/") else assert_error
        check(response, 400, "invalid_request", "evil.example.com")
    response = requests.post(url + ADDRESSES[0], headers=headers)
    assert_error(response, 401, "not_authenticated")
    assert_error(requests.get(url + ADDRESSES[0], headers=headers), 405, "method_not_allowed")
    assert_page_error(requests.post(f"{url}/admin/login/", headers=headers), 403, "csrf_failed")
    response = requests.post(url + TOKEN, data="{", headers=headers | {"Content-Type": "text/x"})
    assert_error(response, 415, "unsupported_media_type")
    # A table is lost: in a view of the API, and in one that is Django's own.
    lost = "ALTER TABLE {} RENAME TO {}"
    for table in ("agencies", "django_session"):
        project.database.rows(lost.format(table, f"lost_{table}"))
    try:
        response = requests.post(url + ADDRESSES[0], headers=headers | {"apikey": SERVICE_KEY})
        assert_error(response, 500, "save_failed")
        response = requests.get(f"{url}/admin/", headers=headers | {"Cookie": "sessionid=abcdefgh"})
        assert_page_error(response, 500, "internal_error")
    finally:
        for table in ("agencies", "django_session"):
            project.database.rows(lost.format(f"lost_{table}", table))
