"""Limits against guesses and floods: 429 above a limit, and only for the caller who exceeds it."""

import itertools
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import time_machine
from django.test import Client, RequestFactory
from rest_framework.throttling import SimpleRateThrottle

from agencies.models import User
from agencies.throttling import client_ip
from tests.support.answers import ADDRESSES, REFRESH, TOKEN, assert_error
from tests.support.environment import PASSWORD, SERVICE_KEY
from tests.support.rows import bearer
from tests.ultravox import Ultravox

SYNC = ADDRESSES[0]
SERVICE = {"apikey": SERVICE_KEY}
SYNCS, TOKENS, FAILED, LOGINS = 4, 12, 5, 2
LOCKED = timedelta(minutes=2)
LOGIN_ADDRESSES = (TOKEN, "/admin/login/", "/login/")


@pytest.fixture
def users(
    user: User, ultravox: Ultravox, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> list[User]:
    """Two users of a site with small limits behind a proxy."""
    ultravox.voices = []
    settings.REST_FRAMEWORK = settings.REST_FRAMEWORK | {"NUM_PROXIES": 1}
    settings.AXES_FAILURE_LIMIT = LOGINS
    settings.AXES_COOLOFF_TIME = LOCKED
    settings.LOGIN_LOCK_MINUTES = 2
    for scope, limit in (("sync", SYNCS), ("token", TOKENS), ("failed", FAILED)):
        monkeypatch.setitem(SimpleRateThrottle.THROTTLE_RATES, scope, f"{limit}/hour")
    User.objects.update(is_staff=True)
    other = {"agency": user.agency, "is_staff": True}
    return [user, User.objects.create_user("other@example.com", PASSWORD, **other)]


def post(address: str, ip: str, body: Any = None, **headers: str) -> Any:
    """Post JSON from a client's address, as the proxy reports it."""
    headers |= {"x-forwarded-for": ip}
    return Client().post(address, body or {}, content_type="application/json", headers=headers)


def log_in(password: str, ip: str, name: str = "user", address: str = TOKEN) -> Any:
    email = f"{name}@example.com"
    form = {"email": email, "username": email, "password": password}
    return Client().post(address, form, headers={"x-forwarded-for": ip})


def assert_limited(response: Any, seconds: float = 3600) -> None:
    assert_error(response, 429, "rate_limited", PASSWORD)
    assert 1 <= int(response.headers["Retry-After"]) <= seconds


# Logins


@pytest.mark.parametrize("address", LOGIN_ADDRESSES)
def test_failed_logins_lock_the_account_for_that_address(users: list[User], address: str) -> None:
    ip = "10.1.0.1"
    assert log_in("wrong", ip, address=address).status_code in (200, 401)
    log_in("wrong", ip, address=address)  # the last of LOGINS
    for other in LOGIN_ADDRESSES:
        for name in ("user", "USER", "u\u017fer"):
            response = log_in(PASSWORD, ip, name, other)
            assert response.status_code == 429
            assert 1 <= int(response["Retry-After"]) <= LOCKED.total_seconds()
            assert PASSWORD not in response.content.decode()
    assert_limited(log_in(PASSWORD, f"1.2.3.4, {ip}"), LOCKED.total_seconds())  # a forged header
    assert log_in(PASSWORD, ip, "other").status_code == 200
    assert log_in(PASSWORD, "10.1.0.2", address=address).status_code in (200, 302)


def test_guesses_from_many_addresses_are_slowed_down(users: list[User]) -> None:
    known, new = "192.0.2.1", "2001:db8:2::1"
    assert log_in(PASSWORD, known).status_code == 200
    now, pause = datetime.now(UTC), LOCKED / (10 * LOGINS)
    with time_machine.travel(now, tick=False):
        for number in range(10 * LOGINS - 1):
            assert log_in("wrong", f"2001:db8:1:{number:x}::1").status_code == 401
        log_in("wrong", "2001:db8:2::2")
        assert_limited(log_in(PASSWORD, new))
        assert log_in(PASSWORD, known).status_code == 200
        assert log_in(PASSWORD, new, "other").status_code == 200
    with time_machine.travel(now + pause, tick=False):
        log_in("wrong", "2001:db8:3::1")  # one more guess
        assert_limited(log_in(PASSWORD, new))
    with time_machine.travel(now + pause * 2, tick=False):
        assert log_in(PASSWORD, new).status_code == 200


@pytest.mark.parametrize(
    ("reported", "address"),
    [
        ("203.0.113.7:5001", "203.0.113.7"),
        ("::ffff:203.0.113.7", "203.0.113.7"),
        ("[2001:db8::1]:80", "2001:db8::"),  # a customer's /64
        ("2001:db8:0:1::1", "2001:db8:0:1::"),
        ("unknown", "127.0.0.1"),
    ],
)
def test_addresses_as_proxies_report_them(
    rf: RequestFactory, settings: Any, reported: str, address: str
) -> None:
    settings.REST_FRAMEWORK = settings.REST_FRAMEWORK | {"NUM_PROXIES": 1}
    assert client_ip(rf.get("/", headers={"x-forwarded-for": reported})) == address


# Requests


def test_requests_for_tokens_are_limited_by_address(users: list[User]) -> None:
    tries = [(REFRESH, {"refresh": "x"}), (TOKEN, {}), (REFRESH[:-1], [])]
    for address, body in itertools.islice(itertools.cycle(tries), TOKENS):
        assert post(address, "10.3.0.1", body).status_code in (400, 401)
    for address in (TOKEN, REFRESH, TOKEN.rstrip("/"), REFRESH.rstrip("/")):
        assert_limited(post(address, "10.3.0.1"))
    assert post(TOKEN, "10.3.0.2").status_code == 400


def test_syncs_are_limited_by_user_and_for_all_services_together(users: list[User]) -> None:
    busy, other = map(bearer, users)
    for caller in (busy, SERVICE):
        for number in range(SYNCS):
            response = post(ADDRESSES[number % 2], f"10.4.0.{number}", **caller)
            assert response.status_code == 200
        assert_limited(post(SYNC, "10.4.0.77", **caller))
    assert post(SYNC, "10.4.0.1", **other, **SERVICE).status_code == 200
    assert_limited(post(SYNC, "10.4.0.1", **bearer(users[0])))  # another token of the same user


def test_failed_authentications_are_limited_by_address(users: list[User]) -> None:
    ip = "10.6.0.1"
    guesses: list[dict[str, str]] = [{"apikey": "wrong"}, {"authorization": "Bearer wrong"}, {}]
    for _ in range(FAILED + 2):  # another method fails before authentication
        assert Client().get(SYNC, headers={"x-forwarded-for": ip}).status_code == 405
    for headers in itertools.islice(itertools.cycle(guesses), FAILED):
        assert post(SYNC, ip, **headers).status_code == 401
    for headers in guesses:
        assert_limited(post(ADDRESSES[1], ip, **headers))
    assert post(SYNC, ip, **bearer(users[0])).status_code == 200
    assert_error(post(SYNC, "10.6.0.2"), 401, "not_authenticated")
