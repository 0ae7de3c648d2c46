"""Limits against guessing and floods: 429 for who passes them, and for nobody else."""

import itertools
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import requests
import time_machine
from django.test import Client
from rest_framework.throttling import SimpleRateThrottle
from rest_framework_simplejwt.tokens import AccessToken

from agencies.models import User
from tests.support.answers import ADDRESSES, REFRESH, TOKEN, assert_error
from tests.support.environment import PASSWORD, SERVICE_KEY
from tests.support.project import Project, children, free_port
from tests.support.services import redis_database
from tests.ultravox import Ultravox

ADDRESS = ADDRESSES[0]
SERVICE = {"apikey": SERVICE_KEY}
SYNCS, TOKENS, FAILED, LOGINS = 4, 12, 5, 3

Post = Callable[..., Any]


@pytest.fixture
def users(
    user: User, ultravox: Ultravox, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> list[User]:
    """Users of a site with small limits behind a proxy: tests come from whatever address they say."""
    ultravox.voices = []
    settings.REST_FRAMEWORK = settings.REST_FRAMEWORK | {"NUM_PROXIES": 1}
    settings.AXES_FAILURE_LIMIT = LOGINS
    settings.AXES_COOLOFF_TIME = timedelta(minutes=2)
    settings.LOGIN_LOCK_MINUTES = 2
    for scope, limit in (("sync", SYNCS), ("token", TOKENS), ("failed", FAILED)):
        monkeypatch.setitem(SimpleRateThrottle.THROTTLE_RATES, scope, f"{limit}/hour")
    other = {"agency": user.agency, "is_staff": True}
    return [user, User.objects.create_user("other@example.com", PASSWORD, **other)]


@pytest.fixture
def post(client: Client) -> Post:
    def post(address: str, came_from: str, body: Any = None, **headers: str) -> Any:
        return client.post(
            address,
            {} if body is None else body,
            content_type="application/json",
            headers={"x-forwarded-for": came_from} | headers,
        )

    return post


def assert_limited(response: Any, seconds: int, *secrets: str) -> None:
    assert_error(response, 429, "rate_limited", *secrets)
    assert 1 <= int(response.headers["Retry-After"]) <= seconds


def bearer(user: User) -> dict[str, str]:
    return {"authorization": f"Bearer {AccessToken.for_user(user)}"}


@pytest.mark.parametrize("door", ["/admin/login/", "/login/"])
def test_passwords_are_guessed_no_further(
    client: Client, users: list[User], post: Post, door: str
) -> None:
    def sign_in(password: str, came_from: str = "10.1.0.1", name: str = "user") -> Any:
        return post(TOKEN, came_from, {"email": f"{name}@example.com", "password": password})

    def log_in(password: str, came_from: str = "10.1.0.1", name: str = "user") -> Any:
        form = {"username": f"{name}@example.com", "password": password}
        headers = {"x-forwarded-for": came_from}
        return client.post(door, form, headers=headers)

    User.objects.update(is_staff=True)
    for _ in range(LOGINS - 1):
        assert_error(sign_in("wrong"), 401, "invalid_credentials")
    assert sign_in("wrong").status_code in (401, 429)  # the last of them, which locks
    for password, name in (
        ("wrong", "user"),
        (PASSWORD, "user"),
        (PASSWORD, "USER"),
        (PASSWORD, "u\u017fer"),
    ):
        assert_limited(sign_in(password, name=name), 120, PASSWORD)
        assert log_in(password, name=name).status_code == 429  # the other door
    # Neither another user of that address, nor the user elsewhere
    assert sign_in(PASSWORD, name="other").status_code == 200
    assert sign_in(PASSWORD, came_from="10.1.0.2").status_code == 200
    assert sign_in(PASSWORD, came_from="1.2.3.4, 10.1.0.1").status_code == 429
    # The page's
    place = "10.2.0.1"
    for _ in range(LOGINS - 1):
        assert log_in("wrong", place).status_code == 200  # the form again
    assert log_in("wrong", place).status_code in (200, 429)
    for password, name in (("wrong", "user"), (PASSWORD, "user"), (PASSWORD, "USER")):
        response = log_in(password, place, name)
        assert response.status_code == 429
        assert 1 <= int(response.headers["Retry-After"]) <= 120
        assert PASSWORD not in response.content.decode()
        assert_limited(sign_in(password, place, name), 120)
    assert log_in(PASSWORD, "10.2.0.2").status_code == 302
    assert log_in(PASSWORD, place, "other").status_code == 302


def test_an_account_is_not_guessed_at_from_many_addresses(
    client: Client, users: list[User], post: Post
) -> None:
    def sign_in(password: str, came_from: str) -> Any:
        return post(TOKEN, came_from, {"email": "user@example.com", "password": password})

    assert sign_in(PASSWORD, "192.0.2.1").status_code == 200
    # Those of a /64 are one customer's
    for number in range(LOGINS):
        sign_in("wrong", f"2001:db8:0:1::{number}")
    assert_limited(sign_in(PASSWORD, "2001:db8:0:1:ffff::1"), 120)
    assert sign_in(PASSWORD, "2001:db8:0:2::1").status_code == 200
    # Those of many networks
    now = datetime.now(UTC)
    with time_machine.travel(now, tick=False):
        answers = [sign_in("wrong", f"2001:db8:1:{number:x}::1") for number in range(12 * LOGINS)]
        assert answers[LOGINS].status_code == 401
        assert_limited(answers[-1], 120)
        assert_limited(sign_in(PASSWORD, "2001:db8:2::1"), 120)
        assert sign_in(PASSWORD, "192.0.2.1").status_code == 200  # where its owner has been before
        assert (
            post(
                TOKEN, "2001:db8:2::1", {"email": "other@example.com", "password": PASSWORD}
            ).status_code
            == 200
        )
    # Then one guess in a while, which is as many as in the beginning
    later = now + timedelta(minutes=2) / (10 * LOGINS)
    with time_machine.travel(later, tick=False):
        assert_limited(sign_in("wrong", "2001:db8:3::1"), 120)
        assert_limited(sign_in(PASSWORD, "2001:db8:2::1"), 120)
    with time_machine.travel(later + timedelta(minutes=2) / (10 * LOGINS), tick=False):
        assert sign_in(PASSWORD, "2001:db8:2::1").status_code == 200


def test_a_clock_that_is_set_back_ends_a_lock(users: list[User], post: Post) -> None:
    login = {"email": "user@example.com", "password": "wrong"}
    with time_machine.travel(datetime.now(UTC) + timedelta(days=1)):
        for number in range(11 * LOGINS):
            answer = post(TOKEN, f"10.3.{number // LOGINS}.1", login)
        assert_limited(answer, 120)
    for place in ("10.3.0.1", "10.4.0.1"):
        assert post(TOKEN, place, login | {"password": PASSWORD}).status_code == 200


@pytest.mark.parametrize(
    ("said", "same"),
    [
        ("203.0.113.7:5001", "203.0.113.7:6002"),
        ("203.0.113.7", "::ffff:203.0.113.7"),
        ("[2001:db8::1]:80", "2001:db8::2"),
        ("[2001:db8::1]", "2001:db8::1"),
        ("unknown", "_hidden"),
        ("", "1.2.3"),
    ],
)
def test_addresses_that_proxies_give(users: list[User], post: Post, said: str, same: str) -> None:
    login = {"email": "user@example.com", "password": "wrong"}
    for _ in range(LOGINS):
        assert post(TOKEN, said, login).status_code in (401, 429)
    assert_limited(post(TOKEN, same, login | {"password": PASSWORD}), 120)
    assert post(TOKEN, "198.51.100.1", login | {"password": PASSWORD}).status_code == 200


def test_requests_for_tokens(users: list[User], post: Post) -> None:
    tries = [(REFRESH, {"refresh": "x"}), (TOKEN, {}), (REFRESH[:-1], [])]
    for address, body in itertools.islice(itertools.cycle(tries), TOKENS):
        assert post(address, "10.3.0.1", body).status_code in (400, 401)
    for address in (TOKEN, REFRESH, TOKEN.rstrip("/"), REFRESH.rstrip("/")):
        assert_limited(post(address, "10.3.0.1"), 3600)
    assert post(TOKEN, "10.3.0.2").status_code == 400
    assert_error(post(ADDRESS, "10.3.0.1"), 401, "not_authenticated")


def test_syncs_of_a_user(users: list[User], post: Post) -> None:
    busy, other = users
    for place in range(SYNCS):
        response = post(ADDRESSES[place % 2], f"10.4.0.{place}", **bearer(busy))
        assert response.status_code == 200
    for _ in range(2):  # another token is no other user, nor another address
        token = bearer(busy)
        assert_limited(post(ADDRESS, "10.4.0.77", **token), 3600, token["authorization"])
    assert_limited(post(ADDRESS, "10.4.0.1", **bearer(busy), **SERVICE), 3600)
    assert post(ADDRESS, "10.4.0.1", **bearer(other)).status_code == 200


def test_syncs_of_services(users: list[User], post: Post) -> None:
    for place in range(SYNCS):
        assert post(ADDRESS, f"10.5.0.{place}", **SERVICE).status_code == 200
    assert_limited(post(ADDRESS, "10.5.0.99", **SERVICE), 3600)
    assert post(ADDRESS, "10.5.0.1", **bearer(users[0])).status_code == 200


def test_failed_authentications(client: Client, users: list[User], post: Post) -> None:
    place = "10.6.0.1"
    for _ in range(FAILED + 2):  # these are none
        response = client.get(ADDRESS, headers={"x-forwarded-for": place})
        assert_error(response, 405, "method_not_allowed")
    guesses: list[dict[str, str]] = [{"apikey": "wrong"}, {"authorization": "Bearer wrong"}, {}]
    for headers in itertools.islice(itertools.cycle(guesses), FAILED):
        assert post(ADDRESS, place, **headers).status_code == 401
    for headers in guesses:
        assert_limited(post(ADDRESSES[1], place, **headers), 3600)
    # Who has credentials goes on, from that address too; strangers elsewhere are strangers
    assert post(ADDRESS, place, **bearer(users[0])).status_code == 200
    assert_error(post(ADDRESS, "10.6.0.2"), 401, "not_authenticated")
    response = client.get(ADDRESS, headers={"x-forwarded-for": place})
    assert_error(response, 405, "method_not_allowed")


def test_many_logins_at_once_take_little_memory(project: Callable[..., Project]) -> None:
    made = project()
    url = made.serve("--workers=1")
    server = made.server.pid

    def peak() -> int:
        """Return the most memory that the web server's process ever had, in MB."""
        [worker] = children(server)
        found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{worker}/status").read_text())
        assert found
        return int(found[1]) // 1000

    def log_in(number: int) -> int:
        login = {"email": f"nobody-{number}@example.com", "password": "wrong"}
        return requests.post(f"{url}{TOKEN}", json=login, timeout=60).status_code

    assert log_in(0) == 401
    before = peak()
    with ThreadPoolExecutor(128) as pool:
        assert set(pool.map(log_in, range(1, 129))) == {401}
    assert peak() - before < 250


@pytest.mark.broker
def test_machines_count_together_in_redis(project: Callable[..., Project]) -> None:
    with redis_database() as cache:
        limited = project(CACHE_URL=cache, RATE_LIMIT_FAILED="4/hour", WEB_CONCURRENCY="1")
        machines = [limited.serve(), limited.serve()]
        for machine in machines * 2:
            assert_error(requests.post(machine + ADDRESS), 401, "not_authenticated")
        for machine in machines:
            assert_limited(requests.post(machine + ADDRESS), 3600)


def test_without_the_cache_all_goes_on(
    users: list[User], post: Post, settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    away = f"redis://127.0.0.1:{free_port()}/1"
    backend = "django.core.cache.backends.redis.RedisCache"
    settings.CACHES = {"default": {"BACKEND": backend, "LOCATION": away}}
    for _ in range(SYNCS + 1):
        assert post(ADDRESS, "10.7.0.1", **SERVICE).status_code == 200
    assert_error(post(ADDRESS, "10.7.0.1"), 401, "not_authenticated")
    assert "CACHE_URL fails with ConnectionError" in caplog.text


def test_a_lock_ends(users: list[User], post: Post) -> None:
    def sign_in(password: str) -> Any:
        return post(TOKEN, "10.8.0.1", {"email": "user@example.com", "password": password})

    for _ in range(LOGINS):
        sign_in("wrong")
    assert_limited(sign_in(PASSWORD), 120)
    early = datetime.now(UTC) + timedelta(minutes=2) * 0.9
    with time_machine.travel(early):
        assert sign_in(PASSWORD).status_code == 429  # which begins the lock anew
    with time_machine.travel(early + timedelta(minutes=2) * 1.1):
        assert sign_in(PASSWORD).status_code == 200
