"""Limits against guessing and floods: 429 for who passes them, and for nobody else."""

import itertools
import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import requests
import time_machine
from django.test import Client

from agencies.models import User
from tests.support.answers import ADDRESSES, REFRESH, TOKEN, assert_error
from tests.support.environment import ENVIRONMENT, SERVICE_KEY
from tests.support.project import Database, Project, free_port
from tests.support.services import redis_database
from tests.ultravox import API_KEY, Ultravox

PASSWORD = "a password of the tests"
SYNCS, TOKENS, FAILED, LOGINS = 4, 12, 5, 3

Post = Callable[..., requests.Response]


@pytest.fixture(scope="module")
def limited(
    migrated: Database, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[str, Project]]:
    """A web server with small limits, behind a proxy: each test comes from addresses of its own."""
    folder = tmp_path_factory.mktemp("limited")
    database = Database.create(folder, migrated)
    with Ultravox(count=0) as ultravox:
        project = Project(
            database,
            folder,
            ULTRAVOX_API_URL=ultravox.url,
            DJANGO_TRUSTED_PROXIES="1",
            RATE_LIMIT_SYNC=f"{SYNCS}/hour",
            RATE_LIMIT_TOKEN=f"{TOKENS}/hour",
            RATE_LIMIT_FAILED=f"{FAILED}/hour",
            LOGIN_FAILURES=str(LOGINS),
            LOGIN_LOCK_MINUTES="2",
            WEB_CONCURRENCY="1",
        )
        try:
            project.shell(
                "from agencies.models import Agency, User\n"
                f"agency = Agency.objects.create(name='Agency', ultravox_api_key={API_KEY!r})\n"
                f"for name in ('one', 'two', 'three', 'four'): User.objects.create_user("
                f"name + '@example.com', {PASSWORD!r}, agency=agency, is_staff=True)"
            )
            yield project.serve(), project
        finally:
            project.stop()
            database.drop()


@pytest.fixture
def post(limited: tuple[str, Project]) -> Post:
    def post(address: str, came_from: str, **arguments: Any) -> requests.Response:
        headers = arguments.pop("headers", {}) | {"X-Forwarded-For": came_from}
        return requests.post(
            limited[0] + address, headers=headers, allow_redirects=False, **arguments
        )

    return post


@pytest.fixture
def token(post: Post) -> Callable[[str], str]:
    places = itertools.count(1)

    def token(name: str) -> str:
        body = {"email": f"{name}@example.com", "password": PASSWORD}
        response = post(TOKEN, f"10.9.0.{next(places)}", json=body)
        assert response.status_code == 200, response.text
        return response.json()["access"]

    return token


def test_passwords_are_guessed_no_further(post: Post) -> None:
    def sign_in(password: str, came_from: str = "10.1.0.1", email: str = "one@example.com") -> Any:
        return post(TOKEN, came_from, json={"email": email, "password": password})

    for _ in range(LOGINS - 1):
        assert_error(sign_in("wrong"), 401, "invalid_credentials")
    response = sign_in("wrong")  # the last of them, which locks
    assert response.status_code in (401, 429)
    for password in ("wrong", PASSWORD):
        response = sign_in(password)
        assert response.status_code == 429
        assert PASSWORD not in response.text
        assert 1 <= int(response.headers["Retry-After"]) <= 120
    assert_error(sign_in(PASSWORD, email="ONE@example.com"), 429, "rate_limited")
    # Neither another user of that address, nor the user elsewhere
    assert sign_in(PASSWORD, email="two@example.com").status_code == 200
    assert sign_in(PASSWORD, came_from="10.1.0.2").status_code == 200
    assert sign_in(PASSWORD, came_from="1.2.3.4, 10.1.0.1").status_code == 429


def test_the_admin_s_passwords_too(limited: tuple[str, Project], post: Post) -> None:
    url = f"{limited[0]}/admin/login/"

    def sign_in(
        password: str, came_from: str = "10.2.0.1", name: str = "three"
    ) -> requests.Response:
        with requests.Session() as session:
            session.headers["X-Forwarded-For"] = came_from
            page = session.get(url).text
            match = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', page)
            assert match, page
            body = {
                "username": f"{name}@example.com",
                "password": password,
                "csrfmiddlewaretoken": match[1],
            }
            return session.post(url, data=body, headers={"Referer": url}, allow_redirects=False)

    for _ in range(LOGINS - 1):
        assert sign_in("wrong").status_code == 200  # the form again
    assert sign_in("wrong").status_code in (200, 429)
    for password in ("wrong", PASSWORD):
        response = sign_in(password)
        assert response.status_code == 429
        assert PASSWORD not in response.text
        assert 1 <= int(response.headers["Retry-After"]) <= 120
    assert sign_in(PASSWORD, name="THREE").status_code == 429
    body = {"email": "three@example.com", "password": PASSWORD}
    assert_error(post(TOKEN, "10.2.0.1", json=body), 429, "rate_limited")  # the other door
    assert sign_in(PASSWORD, came_from="10.2.0.2").status_code == 302
    assert sign_in(PASSWORD, name="four").status_code == 302


def test_requests_for_tokens(post: Post) -> None:
    for address, body in itertools.islice(
        itertools.cycle([(REFRESH, {"refresh": "x"}), (TOKEN, {}), (REFRESH[:-1], [])]), TOKENS
    ):
        assert post(address, "10.3.0.1", json=body).status_code in (400, 401)
    for address in (TOKEN, REFRESH, TOKEN.rstrip("/"), REFRESH.rstrip("/")):
        response = post(address, "10.3.0.1", json={})
        assert_error(response, 429, "rate_limited")
        assert int(response.headers["Retry-After"]) <= 3600
    assert post(TOKEN, "10.3.0.2", json={}).status_code == 400
    response = post(ADDRESSES[0], "10.3.0.1")
    assert_error(response, 401, "not_authenticated")


def test_syncs_of_a_user(post: Post, token: Callable[[str], str]) -> None:
    def sync(bearer: str, place: int, **headers: str) -> requests.Response:
        headers |= {"Authorization": f"Bearer {bearer}"}
        return post(ADDRESSES[place % 2], f"10.4.0.{place}", headers=headers)

    busy, other = token("two"), token("four")
    for place in range(SYNCS):
        assert sync(busy, place).status_code == 200
    for again in (busy, token("two")):  # another token is no other user, nor another address
        response = sync(again, 77)
        assert_error(response, 429, "rate_limited", again)
        assert int(response.headers["Retry-After"]) <= 3600
    assert_error(sync(busy, 1, apikey=SERVICE_KEY), 429, "rate_limited")
    assert sync(other, 1).status_code == 200


def test_syncs_of_services(post: Post, token: Callable[[str], str]) -> None:
    for place in range(SYNCS):
        response = post(ADDRESSES[0], f"10.5.0.{place}", headers={"apikey": SERVICE_KEY})
        assert response.status_code == 200, response.text
    response = post(ADDRESSES[0], "10.5.0.99", headers={"apikey": SERVICE_KEY})
    assert_error(response, 429, "rate_limited")
    bearer = {"Authorization": f"Bearer {token('three')}"}
    assert post(ADDRESSES[0], "10.5.0.1", headers=bearer).status_code == 200


def test_failed_authentications(post: Post, token: Callable[[str], str]) -> None:
    guesses: list[dict[str, str]] = [
        {"apikey": "wrong"}, {"Authorization": "Bearer wrong"}, {}
    ]  # fmt: skip
    bearer = {"Authorization": f"Bearer {token('one')}"}
    for headers in itertools.islice(itertools.cycle(guesses), FAILED):
        assert post(ADDRESSES[0], "10.6.0.1", headers=headers).status_code == 401
    for headers in guesses:
        response = post(ADDRESSES[1], "10.6.0.1", headers=headers)
        assert_error(response, 429, "rate_limited")
        assert int(response.headers["Retry-After"]) <= 3600
    # Who has credentials goes on, from that address too; strangers elsewhere are strangers
    assert post(ADDRESSES[0], "10.6.0.1", headers=bearer).status_code == 200
    assert_error(post(ADDRESSES[0], "10.6.0.2"), 401, "not_authenticated")


def test_who_is_limited_hears_405_first(limited: tuple[str, Project]) -> None:
    headers = {"X-Forwarded-For": "10.7.0.1"}
    for _ in range(FAILED + 2):
        response = requests.get(limited[0] + ADDRESSES[0], headers=headers)
        assert_error(response, 405, "method_not_allowed")


@pytest.mark.broker
def test_machines_count_together_in_redis(project: Callable[..., Project]) -> None:
    with redis_database() as cache:
        limited = project(CACHE_URL=cache, RATE_LIMIT_FAILED="4/hour", WEB_CONCURRENCY="1")
        machines = [limited.serve(), limited.serve()]
        for machine in machines * 2:
            response = requests.post(machine + ADDRESSES[0])
            assert_error(response, 401, "not_authenticated")
        for machine in machines:
            assert_error(requests.post(machine + ADDRESSES[0]), 429, "rate_limited")


def test_without_the_cache_all_goes_on(project: Callable[..., Project], ultravox: Ultravox) -> None:
    away = f"redis://127.0.0.1:{free_port()}/1"
    site = project(CACHE_URL=away, ULTRAVOX_API_URL=ultravox.url, RATE_LIMIT_SYNC="1/hour")
    site.seed(key=API_KEY)
    address = site.serve() + ADDRESSES[0]
    for _ in range(2):
        assert requests.post(address, headers={"apikey": SERVICE_KEY}).status_code == 200
    assert_error(requests.post(address), 401, "not_authenticated")
    assert "CACHE_URL fails with ConnectionError" in site.log("web")


def test_a_lock_ends(client: Client, user: User) -> None:
    def sign_in(password: str) -> Any:
        body = {"email": user.email, "password": password}
        return client.post(TOKEN, body, content_type="application/json")

    for _ in range(int(ENVIRONMENT["LOGIN_FAILURES"])):
        sign_in("wrong")
    assert_error(sign_in(PASSWORD), 429, "rate_limited")
    lock = timedelta(minutes=float(ENVIRONMENT["LOGIN_LOCK_MINUTES"]))
    early = datetime.now(UTC) + lock * 0.9
    with time_machine.travel(early):
        assert sign_in(PASSWORD).status_code == 429  # which begins the lock anew
    with time_machine.travel(early + lock * 1.1):
        assert sign_in(PASSWORD).status_code == 200
