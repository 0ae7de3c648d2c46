"""What every address answers to strangers, and every error: JSON of the one form."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
import requests
from django.db import connection
from django.db.models.signals import post_init
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver
from rest_framework.test import APIRequestFactory
from rest_framework.views import APIView
from rest_framework_simplejwt.tokens import AccessToken

from agencies.models import Agency, User
from tests.support.answers import ADDRESSES, BOTH_SPELLINGS, REFRESH, SECRETS, TOKEN, assert_error
from tests.support.environment import ORIGIN, PASSWORD, SERVICE_KEY
from tests.support.project import Database, Project, own_project

SERVICE = {"apikey": SERVICE_KEY}
UNKNOWN = [
    "/nothing",
    "/nothing/",
    "/api",
    "/api/",
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
    "/login/x",
    "/logout",
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


def assert_page_of_an_error(response: Any, status: int, *secrets: str) -> None:
    """Check an error of the admin, which is a page, to tell nothing of the inside."""
    assert response.status_code == status
    assert response.headers["Content-Type"].startswith("text/html")
    text = response.content.decode()
    for shown in (*SECRETS, *secrets, "Traceback", "SELECT", "site-packages", "sqlite", "psycopg"):
        assert shown not in text, shown


# Closed by default

# What strangers may use: to sign in, to read the description, and to find the page of the login.
PUBLIC = {
    "/api/token/",
    "/api/token/refresh/",
    "/api/schema/",
    "/api/docs/",
    "/admin/login/",
    "/login/",
    "/login",
}
LOGIN = "/admin/login/"
LOGINS = (LOGIN, "/login/")


def all_addresses(resolver: Any, prefix: str = "") -> Iterator[str]:
    """Yield an example of each address of a resolver."""
    for found in resolver.url_patterns:
        route = re.sub(r"<[^>]+>|\(\?P<[^)]*\)|\([^)]*\)", "1", str(found.pattern))
        address = prefix + route.replace("^", "").replace("/?", "/").replace("$", "")
        if isinstance(found, URLResolver):
            yield from all_addresses(found, address)
        else:
            assert isinstance(found, URLPattern)
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


def test_a_view_that_forgets_to_say_who_may_call_lets_nobody_in(db: None) -> None:
    class Forgetful(APIView):
        def get(self, request: Any) -> None:
            raise AssertionError("called")

    response = Forgetful.as_view()(APIRequestFactory().get("/"))
    assert response.status_code == 401


# 404, 403


def test_unknown_addresses(client: Client, db: None) -> None:
    for address in UNKNOWN:
        for method in METHODS:
            response = client.generic(method, address, headers={"accept": "text/html"})
            assert_error(response, 404, "not_found")
        assert client.head(address).status_code == 404
        assert len(address) < 6 or address not in response.content.decode()


def test_pages_that_are_not_there_or_not_for_everybody(client: Client, db: None) -> None:
    client.force_login(User.objects.create_user("staff@example.com", PASSWORD, is_staff=True))
    for address in ("nothing/", "voices/nothing/", "nothing", "x.css", "r/1/1/"):
        assert_page_of_an_error(client.get(f"/admin/{address}"), 404)
    for address in ("agencies/agency/", "voices/voice/add/"):
        assert_page_of_an_error(client.get(f"/admin/{address}"), 403)


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
    assert address in ADDRESSES or "voices" not in response.json()["message"]


@pytest.mark.parametrize("table", ["agencies", "ultravox_voices", "voice_sync_runs"])
def test_lost_tables(calm: Client, ultravox: Any, user: User, table: str) -> None:
    lose(table)
    for address in ADDRESSES:
        assert_error(calm.post(address, headers=SERVICE), 500, "save_failed", table)


@pytest.mark.parametrize(
    ("address", "table"),
    [("/admin/voices/voice/", "ultravox_voices"), ("/admin/", "django_session"), (LOGIN, "users")],
)
def test_lost_tables_of_pages(calm: Client, staff: User, address: str, table: str) -> None:
    form = {"username": staff.email, "password": PASSWORD}
    if address != LOGIN:
        calm.force_login(staff)
    lose(table)
    response = calm.post(address, form) if address == LOGIN else calm.get(address)
    assert_page_of_an_error(response, 500, table, PASSWORD)
    assert "save the voices" not in response.content.decode()


def test_a_recursion_of_ours_is_nobody_elses_fault(calm: Client, user: User) -> None:
    """Models tell of being made: there, this process runs out of its stack."""

    def recurse(**kwargs: Any) -> None:
        raise RecursionError

    body = {"email": user.email, "password": PASSWORD}
    headers = {"authorization": f"Bearer {AccessToken.for_user(user)}"}
    for model in (Agency, User):
        post_init.connect(recurse, sender=model)
    try:
        responses = [
            calm.post(ADDRESSES[0], headers=SERVICE),
            calm.post(ADDRESSES[0], headers=headers),
            calm.post(TOKEN, body, content_type="application/json"),
        ]
    finally:
        for model in (Agency, User):
            post_init.disconnect(recurse, sender=model)
    for response in responses:
        assert_error(response, 500, "internal_error")


# CSRF


@pytest.mark.parametrize("cookie", [None, "wrong", "x" * 32])
def test_csrf_failure(staff: User, cookie: str | None) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(staff)
    if cookie:
        client.cookies["csrftoken"] = cookie
    for address in (*LOGINS, "/admin/voices/voice/sync/", "/admin/logout/", "/logout/"):
        assert_page_of_an_error(client.post(address), 403)


def test_tokens_and_keys_need_no_csrf_token(ultravox: Any, user: User) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(user)
    for address in ADDRESSES:
        assert_error(client.post(address), 403, "csrf_failed")  # for a cookie it does
        assert client.post(address, headers=SERVICE).status_code == 200
    body = {"email": user.email, "password": PASSWORD}
    assert client.post(TOKEN, body, content_type="application/json").status_code == 200


# Hosts


def test_other_hosts(client: Client, db: None) -> None:
    for host in (
        "evil.example.com",
        "localhost.evil.com",
        "localhost:80:80",
        "local host",
        "[::1",
        "",
        "a_b",
        "\xff",
        "localhost:port",
        "127.0.0.1.nip.io",
    ):
        headers = {"host": host} | SERVICE
        for address in (*BOTH_SPELLINGS, TOKEN, REFRESH, "/nothing"):
            assert_error(client.post(address, headers=headers), 400, "invalid_request")
            assert_error(client.get(address, headers=headers), 400, "invalid_request")
        for address in ("/admin/", "/"):
            assert_page_of_an_error(client.get(address, headers=headers), 400)


# Other origins


ALLOWED = ["authorization", "apikey", "content-type", "x-client-info", "x-supabase-api-version"]


def preflight(client: Client, address: str, origin: str) -> Any:
    headers = {
        "origin": origin,
        "access-control-request-method": "POST",
        "access-control-request-headers": ",".join(ALLOWED),
    }
    return client.options(address, headers=headers)


def test_preflight_of_a_configured_origin(client: Client) -> None:
    for origin in (ORIGIN, "http://localhost:3000"):
        for address in (*BOTH_SPELLINGS, TOKEN, REFRESH):
            response = preflight(client, address, origin)
            assert response.status_code in (200, 204)
            assert response.headers["Access-Control-Allow-Origin"] == origin
            assert "POST" in response.headers["Access-Control-Allow-Methods"].split(", ")
            allowed = response.headers["Access-Control-Allow-Headers"].lower().split(", ")
            assert set(ALLOWED) <= set(allowed)
            assert "origin" in response.headers["Vary"].lower()
            assert "Access-Control-Allow-Credentials" not in response.headers


def test_preflight_of_another_origin(client: Client) -> None:
    for origin in (
        "https://evil.example.com",
        "http://dashboard.example.com",
        f"{ORIGIN}.evil.com",
        "null",
        f"{ORIGIN}:8443",
        "https://evil-dashboard.example.com",
        "*",
        "",
    ):
        for address in ADDRESSES:
            response = preflight(client, address, origin)
            assert "Access-Control-Allow-Origin" not in response.headers
            response = client.post(address, headers={"origin": origin})
            assert_error(response, 401, "not_authenticated")
            assert "Access-Control-Allow-Origin" not in response.headers


def test_success_and_errors_are_for_the_configured_origin(
    calm: Client, ultravox: Any, user: User
) -> None:
    origin = {"origin": ORIGIN}
    service = origin | SERVICE
    answers = [
        calm.post(ADDRESSES[0], headers=service),
        calm.post(ADDRESSES[0], headers=origin),
        calm.post(ADDRESSES[0], headers=origin | {"apikey": "wrong"}),
        calm.post(ADDRESSES[0], headers=origin | {"authorization": "Bearer wrong"}),
        calm.get(ADDRESSES[0], headers=service),
        calm.get("/nothing", headers=origin),
        calm.post(ADDRESSES[0], headers=service | {"host": "evil.example.com"}),
    ]
    ultravox.fault = lambda exchange: exchange.reply(404)
    answers.append(calm.post(ADDRESSES[0], headers=service))
    lose("agencies")
    answers.append(calm.post(ADDRESSES[0], headers=service))
    assert [it.status_code for it in answers] == [200, 401, 401, 401, 405, 404, 400, 502, 500]
    assert {it.headers.get("Access-Control-Allow-Origin") for it in answers} == {ORIGIN}


# With DJANGO_DEBUG: Django's own pages show settings and code


@pytest.fixture(scope="module")
def debugged(
    migrated: Database, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[str, Project]]:
    folder = tmp_path_factory.mktemp("debugged")
    with own_project(migrated, folder, DJANGO_DEBUG="true") as project:
        yield project.serve("--workers=1"), project


@pytest.mark.parametrize("accept", ["text/html", "text/plain", "*/*"])
def test_errors_with_debug(debugged: tuple[str, Project], accept: str) -> None:
    url, project = debugged
    headers = {"Accept": accept}
    for address in ("/nothing", "/api/", "/static/nothing.css", "/%ff", "/favicon.ico"):
        assert_error(requests.get(url + address, headers=headers), 404, "not_found")
    other_host = headers | {"Host": "evil.example.com"}
    for address in (ADDRESSES[0], TOKEN, "/nothing"):
        response = requests.get(url + address, headers=other_host)
        assert_error(response, 400, "invalid_request", "evil.example.com")
    for address in ("/", "/admin/"):
        response = requests.get(url + address, headers=other_host, allow_redirects=False)
        assert_page_of_an_error(response, 400, "evil.example.com")
    response = requests.post(url + ADDRESSES[0], headers=headers)
    assert_error(response, 401, "not_authenticated")
    assert_error(requests.get(url + ADDRESSES[0], headers=headers), 405, "method_not_allowed")
    assert_page_of_an_error(requests.post(url + LOGIN, headers=headers), 403)
    response = requests.post(url + TOKEN, data="{", headers=headers | {"Content-Type": "text/x"})
    assert_error(response, 415, "unsupported_media_type")
    # A table is lost: in a view of the API, and in one that is Django's own.
    lost = "ALTER TABLE {} RENAME TO {}"
    for table in ("agencies", "django_session"):
        project.database.rows(lost.format(table, f"lost_{table}"))
    try:
        response = requests.post(url + ADDRESSES[0], headers=headers | SERVICE)
        assert_error(response, 500, "save_failed")
        response = requests.get(f"{url}/admin/", headers=headers | {"Cookie": "sessionid=abcdefgh"})
        assert_page_of_an_error(response, 500, "django_session")
    finally:
        for table in ("agencies", "django_session"):
            project.database.rows(lost.format(f"lost_{table}", table))
