"""Users' tokens: this service's and Supabase's, side by side."""

import hmac
import json
import time
import uuid
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from django.db import IntegrityError, transaction
from django.test import Client
from rest_framework_simplejwt.tokens import AccessToken, RefreshToken

from agencies.jwks import KeySet, key_set
from agencies.models import User
from agencies.tokens import authenticate_token
from tests.support.answers import ADDRESSES, INVALID_TOKEN, REFRESH, TOKEN, assert_error
from tests.support.environment import ENVIRONMENT, PASSWORD
from tests.support.jwks import PATH, KeySetServer, claims, encode, sign, signing_key
from tests.ultravox import Ultravox
from voiceproject.errors import ServiceError
from voices.models import SyncRun

SECRET = "supabase-s-own-jwt-secret-of-the-tests-0123456789"
OWN_SECRET = ENVIRONMENT["DJANGO_SECRET_KEY"]
EMAIL = "user@example.com"
ALGORITHMS = ["HS256", "ES256", "RS256"]
NOW = int(time.time())

Claims = Callable[..., dict[str, Any]]


def authenticate(token: str) -> User | str:
    """Return the token's user, or the code of the error."""
    try:
        return authenticate_token(token)
    except ServiceError as error:
        return error.code


def token_of(*parts: Any) -> str:
    """Join a token's parts: bytes unchanged, other values as JSON."""
    return ".".join(encode(p if isinstance(p, bytes) else json.dumps(p).encode()) for p in parts)


def post(client: Client, address: str, body: Any, content_type: str = "application/json") -> Any:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return client.generic("POST", address, data, content_type=content_type)


def log_in(client: Client, email: str = EMAIL, password: str = PASSWORD) -> Any:
    return post(client, TOKEN, {"email": email, "password": password})


# This service's tokens: how users get them


def test_log_in_and_refresh(client: Client, user: User) -> None:
    login = {"email": user.email, "password": PASSWORD}
    tokens = post(client, TOKEN.rstrip("/"), login).json()
    assert set(tokens) == {"access", "refresh"}
    assert authenticate(tokens["access"]) == user
    response = post(client, REFRESH.rstrip("/"), {"refresh": tokens["refresh"]})
    assert (response.status_code, set(response.json())) == (200, {"access"})
    assert response["Cache-Control"] == "no-store"
    assert authenticate(response.json()["access"]) == user


def test_an_email_address_in_any_spelling_is_one_user(client: Client, db: None) -> None:
    User.objects.create_user("u\u017fer@example.com", PASSWORD)  # a long s
    with pytest.raises(IntegrityError), transaction.atomic():
        User.objects.create_user("USER@example.com", PASSWORD)
    assert log_in(client, " USER@EXAMPLE.COM").status_code == 200
    # PostgreSQL's UPPER turns a dotless i into I, so Python folds case.
    User.objects.create_user("adm\u0131n@example.com", "another password")
    User.objects.create_user("admin@example.com", PASSWORD)
    assert log_in(client, "admin@example.com").status_code == 200


def test_wrong_email_or_password(client: Client, user: User) -> None:
    User.objects.create_user("inactive@example.com", PASSWORD, is_active=False)
    User.objects.create_user("spaces@example.com", f" {PASSWORD} ")
    assert log_in(client, "spaces@example.com", f" {PASSWORD} ").status_code == 200
    for email, password in (
        *((EMAIL, wrong) for wrong in ("wrong", PASSWORD.upper(), f"{PASSWORD} ", "x" * 100_000)),
        *((f"{name}@example.com", PASSWORD) for name in ("nobody", "inactive", "spaces")),
        ("not an address", PASSWORD),
    ):
        assert_error(log_in(client, email, password), 401, "invalid_credentials", PASSWORD)


UNREADABLE: list[Any] = [
    *({}, [], None, b"", b"[" * 100_000, b'{"email": NaN}', b"\xff{", {"email": EMAIL}),
    *({"email": f"{EMAIL}{odd}", "password": PASSWORD} for odd in ("\0", "\ud800")),
    *({"refresh": token} for token in ("", None, ["a"], "a\0b", "a\ud800")),
]


@pytest.mark.parametrize("address", [TOKEN, REFRESH])
def test_requests_that_cannot_be_read(client: Client, user: User, address: str) -> None:
    for body in UNREADABLE:
        assert_error(post(client, address, body), 400, "invalid_request", PASSWORD)
    assert_error(post(client, address, b"{", "multipart/form-data"), 400, "invalid_request")
    assert_error(post(client, address, b"{}", "text/plain"), 415, "unsupported_media_type")
    assert_error(client.get(address), 405, "method_not_allowed")


def test_only_a_valid_refresh_token_refreshes(client: Client, user: User) -> None:
    expired = RefreshToken.for_user(user)
    expired.set_exp(lifetime=-timedelta(seconds=1))
    for token in (str(AccessToken.for_user(user)), str(expired), "a.b.c", "grüße.grüße.grüße", 7):
        response = post(client, REFRESH, {"refresh": token})
        assert_error(response, 401, INVALID_TOKEN, str(expired))


# This service's tokens: which are accepted


def own(user: User, secret: str = OWN_SECRET, algorithm: str = "HS256", **changes: Any) -> str:
    """Return an access token with changed claims; a change to None removes the claim."""
    token = str(AccessToken.for_user(user))
    payload = jwt.decode(token, options={"verify_signature": False}) | changes
    return sign({k: v for k, v in payload.items() if v is not None}, secret, algorithm)


@pytest.mark.parametrize(
    ("claim", "values"),
    [
        ("exp", [NOW - 1, None, "soon", float("inf")]),
        ("token_type", ["refresh", None]),
        ("iss", ["another", None]),
        ("aud", ["another", None]),
        ("user_id", [None, str(uuid.uuid4()), "not-a-uuid", 7, ["a"], {"a": 1}, "\0", "\ud800"]),
    ],
)
def test_own_token_with_a_wrong_claim(user: User, claim: str, values: list[Any]) -> None:
    assert authenticate(own(user)) == user
    for value in values:
        assert authenticate(own(user, **{claim: value})) == INVALID_TOKEN, value


def test_own_token_with_a_wrong_signature(user: User) -> None:
    head, body, signature = own(user).split(".")
    none = token_of({"alg": "none", "typ": "JWT"})
    for token in (
        *(own(user, SECRET), own(user, algorithm="HS512")),
        *(f"{none}.{body}.", f"{none}.{body}.{signature}", f"{head}.{body}"),
    ):
        assert authenticate(token) == INVALID_TOKEN, token


# Supabase's tokens


@pytest.fixture
def supabase(settings: Any) -> Iterator[KeySetServer]:
    """Supabase Auth with a key for each algorithm, and a process that has cached none."""
    key_set.cache_clear()
    with KeySetServer(signing_key("ec"), signing_key("rsa", "RS256")) as server:
        settings.SUPABASE_URL = server.url
        settings.SUPABASE_JWT_SECRET = SECRET
        yield server
    key_set.cache_clear()


@pytest.fixture
def claim(supabase: KeySetServer, user: User) -> Claims:
    """Return a function that returns the user's claims; a change to None removes the claim."""
    return lambda **changes: claims(str(user.pk), **({"iss": f"{supabase.url}/auth/v1"} | changes))


def signed(payload: dict[str, Any], algorithm: str) -> str:
    if algorithm == "HS256":
        return sign(payload, SECRET, "HS256")
    key = signing_key("ec") if algorithm == "ES256" else signing_key("rsa", "RS256")
    return key.sign(payload)


def test_a_token_of_either_issuer_syncs(
    client: Client, ultravox: Ultravox, user: User, claim: Claims, supabase: KeySetServer
) -> None:
    ultravox.voices = []
    for token in (own(user), *(signed(claim(), algorithm) for algorithm in ALGORITHMS)):
        response = client.post(ADDRESSES[0], headers={"authorization": f"Bearer {token}"})
        assert response.status_code == 200
        assert SyncRun.objects.latest("pk").user == user
    assert supabase.paths == [PATH]  # the key set is cached


@pytest.mark.parametrize("change", ["deleted", "inactive", "new password"])
def test_tokens_of_a_former_user(client: Client, user: User, claim: Claims, change: str) -> None:
    tokens, refresh = [own(user)], str(RefreshToken.for_user(user))
    if change == "new password":
        user.set_password("another password")
        user.save()
    else:
        tokens += [signed(claim(), algorithm) for algorithm in ALGORITHMS]
        user.delete() if change == "deleted" else User.objects.update(is_active=False)
    assert {authenticate(token) for token in tokens} == {INVALID_TOKEN}
    assert_error(post(client, REFRESH, {"refresh": refresh}), 401, INVALID_TOKEN, refresh)


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("exp", [NOW - 1, None, "never", float("inf"), [1]]),
        ("aud", ["anon", "", None, 7, []]),
        ("iss", ["https://another.supabase.co/auth/v1", "supabase", None, 7]),
        ("sub", [None, "", "not-a-uuid", 7, ["a"], str(uuid.uuid4()), "\0"]),
        ("role", ["anon", "service_role", "supabase_admin", 7, ["authenticated"]]),
        ("nbf", [NOW + 3600]),
    ],
)
def test_supabase_token_with_a_wrong_claim(claim: Claims, name: str, values: list[Any]) -> None:
    for value in values:
        for algorithm in ALGORITHMS:
            token = signed(claim(**{name: value}), algorithm)
            assert authenticate(token) == INVALID_TOKEN, value


def test_each_algorithm_needs_its_own_kind_of_key(
    claim: Claims, supabase: KeySetServer, settings: Any
) -> None:
    settings.SUPABASE_JWT_SECRET = SECRET * 2  # as long as HS512 requires
    shared = {"kty": "oct", "kid": "shared", "k": encode(b"s" * 32), "alg": "HS256"}
    supabase.keys = [shared, *supabase.keys]
    ec, rsa, stranger = signing_key("ec"), signing_key("rsa", "RS256"), signing_key("stranger")
    pem = rsa.private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    none, hs256 = (token_of({"alg": name, "kid": "rsa"}, claim()) for name in ("none", "HS256"))
    for token in (
        ec.sign(claim(), kid="rsa"),
        rsa.sign(claim(), kid="ec"),
        stranger.sign(claim(), kid="ec"),
        stranger.sign(claim(), kid="shared"),
        jwt.encode(claim(), rsa.private, "PS256", headers={"kid": "rsa"}),
        jwt.encode(claim(), SECRET * 2, "HS512"),
        jwt.encode(claim(), b"s" * 32, "HS256", headers={"kid": "shared"}),
        f"{hs256}.{encode(hmac.digest(pem, hs256.encode(), 'sha256'))}",
        *(f"{none}.", f"{none}.{encode(b'signature')}", none),
    ):
        assert authenticate(token) == INVALID_TOKEN, token


@pytest.mark.parametrize("unset", ["URL", "JWT_SECRET"])
def test_without_a_supabase_setting(
    user: User, claim: Claims, supabase: KeySetServer, settings: Any, unset: str
) -> None:
    setattr(settings, f"SUPABASE_{unset}", "")
    for algorithm in ALGORITHMS:
        expected = user if (unset == "URL") == (algorithm == "HS256") else INVALID_TOKEN
        assert authenticate(signed(claim(), algorithm)) == expected
    content = token_of({"alg": "HS256"}, claim())
    signature = encode(hmac.digest(b"", content.encode(), "sha256"))
    assert authenticate(f"{content}.{signature}") == INVALID_TOKEN


def test_garbage(supabase: KeySetServer, db: None) -> None:
    headers: Any = (None, [], 7, b"", b"[" * 5000, {"alg": "RS256", "kid": 7}, {"alg": "RS256"})
    for token in (
        *("x", "...", "a b c", "." * 8192, "e30=.e30=.eA==", "\xe9\xff.\xe9.\xe9"),
        *(token_of(header, {}, b"x") for header in headers),
        token_of({"alg": "RS256", "kid": "\ud800"}, {}, b"x"),
        token_of({}, b"[" * 5000, b"x"),
    ):
        assert authenticate(token) == INVALID_TOKEN, token


# The key set


def authenticate_each(claim: Claims) -> list[User | str]:
    return [authenticate(signed(claim(), algorithm)) for algorithm in ALGORITHMS]


@pytest.mark.parametrize("fault", [*KeySetServer.FAULTS, "hang"])
def test_cached_keys_work_while_the_server_is_down(
    user: User, claim: Claims, supabase: KeySetServer, monkeypatch: Any, fault: str
) -> None:
    monkeypatch.setattr(KeySet, "TIMEOUT", 0.2)
    assert authenticate_each(claim) == [user] * 3
    supabase.fault = fault
    for kid in ("new", "another"):
        assert authenticate(signing_key("new").sign(claim(), kid=kid)) == INVALID_TOKEN
    assert len(supabase.paths) == (2 if fault == "hang" else 3)  # only one request waits for it
    assert authenticate_each(claim) == [user] * 3
    key_set.cache_clear()  # as in a new process
    assert authenticate_each(claim) == [user, INVALID_TOKEN, INVALID_TOKEN]
    assert set(supabase.paths) == {PATH}  # a redirect is not followed


def test_unknown_kids_are_looked_up_once(user: User, claim: Claims, supabase: KeySetServer) -> None:
    assert authenticate_each(claim) == [user] * 3
    stranger = signing_key("stranger")
    for _ in range(5):
        assert authenticate(stranger.sign(claim())) == INVALID_TOKEN
    assert len(supabase.paths) == 2
    for number in range(20):
        assert authenticate(stranger.sign(claim(), kid=str(number))) == INVALID_TOKEN
    assert len(supabase.paths) == KeySet.LOOKUPS
    assert authenticate_each(claim) == [user] * 3


def test_a_new_key_is_found_at_once_and_a_removed_one_dropped_later(
    user: User, claim: Claims, supabase: KeySetServer, monkeypatch: Any
) -> None:
    old, new = signing_key("ec"), signing_key("new")
    unusable = {"kty": "RSA", "kid": "a", "n": 7, "e": 7}
    assert authenticate(old.sign(claim())) == user
    supabase.keys = [{}, unusable, old.jwk, new.jwk]
    assert [authenticate(key.sign(claim())) for key in (new, old)] == [user, user]
    assert len(supabase.paths) == 2
    supabase.keys = [new.jwk]
    later = time.monotonic() + KeySet.LIFETIME
    monkeypatch.setattr(time, "monotonic", lambda: later)
    assert [authenticate(key.sign(claim())) for key in (new, old)] == [user, INVALID_TOKEN]
