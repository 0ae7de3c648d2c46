"""Who a bearer token stands for: our own tokens, and Supabase's, side by side."""

import hashlib
import hmac
import json
import random
import string
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import jwt
import pytest
import requests
from django.test import Client
from rest_framework_simplejwt.tokens import AccessToken, RefreshToken

from agencies.models import Agency, User
from agencies.tokens import key_set
from tests.conftest import PASSWORD
from tests.support.answers import ADDRESSES, INVALID_TOKEN, REFRESH, TOKEN, assert_error
from tests.support.environment import ENVIRONMENT
from tests.support.jwks import PATH, KeySetServer, claims, encode, sign, signing_key
from tests.ultravox import Ultravox
from voices.models import SyncRun

SECRET = "supabase-s-own-jwt-secret-of-the-tests-0123456789"
OWN_SECRET = ENVIRONMENT["DJANGO_SECRET_KEY"]
EMAIL = "user@example.com"
JSON = "application/json"

Ask = Callable[[str], Any]


@pytest.fixture
def ask(client: Client, ultravox: Ultravox) -> Ask:
    """Sync with a bearer token; the second address answers the same."""
    ultravox.voices = ultravox.voices[:2]

    def ask(token: str) -> Any:
        return client.post(ADDRESSES[0], headers={"authorization": f"Bearer {token}"})

    return ask


def assert_user(response: Any, user: User) -> None:
    assert response.status_code == 200, response.content
    assert SyncRun.objects.latest("pk").user == user


def post(client: Client, address: str, body: Any, content_type: str = JSON) -> Any:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return client.generic("POST", address, data, content_type=content_type)


# Our own: how a user gets them


@pytest.mark.parametrize("token_address", [TOKEN, TOKEN.rstrip("/")])
@pytest.mark.parametrize("refresh_address", [REFRESH, REFRESH.rstrip("/")])
def test_sign_in_and_refresh(
    client: Client, user: User, ask: Ask, token_address: str, refresh_address: str
) -> None:
    response = post(client, token_address, {"email": user.email, "password": PASSWORD})
    assert response.status_code == 200
    assert response.headers["Content-Type"] == JSON
    tokens = response.json()
    assert set(tokens) == {"access", "refresh"}
    assert_user(ask(tokens["access"]), user)
    response = post(client, refresh_address, {"refresh": tokens["refresh"]})
    assert response.status_code == 200
    assert set(response.json()) == {"access"}
    assert_user(ask(response.json()["access"]), user)


def test_sign_in_in_any_case_and_with_spaces(client: Client, user: User) -> None:
    for email in ("USER@example.com", "User@EXAMPLE.com", " user@example.com "):
        response = post(client, TOKEN, {"email": email, "password": PASSWORD})
        assert response.status_code == 200, email


def test_spaces_belong_to_a_password(client: Client, db: None) -> None:
    User.objects.create_user(EMAIL, "  spaced  ")
    assert post(client, TOKEN, {"email": EMAIL, "password": "  spaced  "}).status_code == 200
    assert post(client, TOKEN, {"email": EMAIL, "password": "spaced"}).status_code == 401


def test_a_form_signs_in_too(client: Client, user: User) -> None:
    response = client.post(TOKEN, {"email": user.email, "password": PASSWORD})
    assert set(response.json()) == {"access", "refresh"}


WRONG = [
    (401, "invalid_credentials", {"email": EMAIL, "password": "wrong"}),
    (401, "invalid_credentials", {"email": EMAIL, "password": f"{PASSWORD} "}),
    (401, "invalid_credentials", {"email": EMAIL, "password": f" {PASSWORD}"}),
    (401, "invalid_credentials", {"email": EMAIL, "password": PASSWORD.upper()}),
    (401, "invalid_credentials", {"email": "nobody@example.com", "password": PASSWORD}),
    (401, "invalid_credentials", {"email": "no address", "password": PASSWORD}),
    (401, "invalid_credentials", {"email": "' OR 1=1 --", "password": PASSWORD}),
    (401, "invalid_credentials", {"email": "inactive@example.com", "password": PASSWORD}),
    (401, "invalid_credentials", {"email": "x" * 10_000, "password": PASSWORD}),
    (401, "invalid_credentials", {"email": EMAIL, "password": "x" * 100_000}),
    (401, "invalid_credentials", {"email": EMAIL, "password": 0}),
    (400, "invalid_request", {}),
    (400, "invalid_request", {"email": EMAIL}),
    (400, "invalid_request", {"password": PASSWORD}),
    (400, "invalid_request", {"username": EMAIL, "password": PASSWORD}),
    (400, "invalid_request", {"email": "", "password": ""}),
    (400, "invalid_request", {"email": None, "password": None}),
    (400, "invalid_request", {"email": [EMAIL], "password": {"a": PASSWORD}}),
    (400, "invalid_request", {"email": f"{EMAIL}\0", "password": PASSWORD}),
    (400, "invalid_request", {"email": EMAIL, "password": f"{PASSWORD}\0"}),
    (400, "invalid_request", {"email": f"{EMAIL}\ud800", "password": PASSWORD}),
    (400, "invalid_request", {"email": EMAIL, "password": f"{PASSWORD}\udfff"}),
    (400, "invalid_request", []),
    (400, "invalid_request", [{"email": EMAIL, "password": PASSWORD}]),
    (400, "invalid_request", None),
    (400, "invalid_request", 7),
    (400, "invalid_request", "text"),
    (400, "invalid_request", b""),
    (400, "invalid_request", b'{"email": "user@exam'),
    (400, "invalid_request", b'{"email": NaN}'),
    (400, "invalid_request", b'\xff\xfe{"email": 1}'),
    (400, "invalid_request", b"[" * 100_000),
    (400, "invalid_request", b'{"a":' * 100_000),
]


@pytest.mark.parametrize(("status", "code", "body"), WRONG)
def test_sign_in_refused(client: Client, user: User, status: int, code: str, body: Any) -> None:
    User.objects.create_user("inactive@example.com", PASSWORD, is_active=False)
    for address in (TOKEN, TOKEN.rstrip("/")):
        assert_error(post(client, address, body), status, code, PASSWORD)


REFRESHES = [
    (400, "invalid_request", {}),
    (400, "invalid_request", {"refresh": ""}),
    (400, "invalid_request", {"refresh": None}),
    (400, "invalid_request", {"refresh": ["a"]}),
    (400, "invalid_request", {"refresh": "a\0b"}),
    (400, "invalid_request", {"refresh": "a\ud800"}),
    (400, "invalid_request", []),
    (400, "invalid_request", b"{"),
    (401, INVALID_TOKEN, {"refresh": "a"}),
    (401, INVALID_TOKEN, {"refresh": 7}),
    (401, INVALID_TOKEN, {"refresh": "a.b.c"}),
    (401, INVALID_TOKEN, {"refresh": "grüße.grüße.grüße"}),
    (401, INVALID_TOKEN, {"refresh": "x" * 100_000}),
]


@pytest.mark.parametrize(("status", "code", "body"), REFRESHES)
def test_refresh_refused(client: Client, db: None, status: int, code: str, body: Any) -> None:
    for address in (REFRESH, REFRESH.rstrip("/")):
        assert_error(post(client, address, body), status, code)


@pytest.mark.parametrize(
    ("content_type", "status"),
    [
        ("text/plain", 415),
        ("application/xml", 415),
        ("application/octet-stream", 415),
        ("nonsense", 415),
        (";;=/", 415),
        ("multipart/form-data", 400),
        ("multipart/form-data; boundary=", 400),
        ("application/x-www-form-urlencoded", 400),
        ("application/json; charset=klingon", 400),
        ("application/json; charset=utf-16", 400),
    ],
)
@pytest.mark.parametrize("address", [TOKEN, REFRESH])
def test_tokens_of_another_content_type(
    client: Client, db: None, address: str, content_type: str, status: int
) -> None:
    code = "unsupported_media_type" if status == 415 else "invalid_request"
    assert_error(post(client, address, b"\xff\0{", content_type), status, code)


@pytest.mark.parametrize("address", [TOKEN, REFRESH])
def test_token_bodies_have_a_limit(client: Client, db: None, address: str) -> None:
    response = post(client, address, {"email": "x" * 3_000_000})
    assert response.status_code in (400, 413)
    assert_error(response, response.status_code, response.json()["code"])


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "PATCH", "TRACE", "BREW"])
@pytest.mark.parametrize("address", [TOKEN, REFRESH, TOKEN.rstrip("/"), REFRESH.rstrip("/")])
def test_tokens_only_by_post(client: Client, db: None, address: str, method: str) -> None:
    response = client.generic(method, address)
    if method != "HEAD":
        assert_error(response, 405, "method_not_allowed")
    assert response.status_code == 405
    assert "POST" in response.headers["Allow"].split(", ")


def test_refresh_with_what_is_no_refresh_token(client: Client, user: User) -> None:
    access = str(AccessToken.for_user(user))
    assert_error(post(client, REFRESH, {"refresh": access}), 401, INVALID_TOKEN, access)


@pytest.mark.parametrize("change", ["deleted", "inactive"])
def test_refresh_of_a_user_who_left(client: Client, user: User, change: str) -> None:
    refresh = str(RefreshToken.for_user(user))
    if change == "deleted":
        user.delete()
    else:
        User.objects.update(is_active=False)
    response = post(client, REFRESH, {"refresh": refresh})
    assert response.status_code == 401
    assert_error(response, 401, response.json()["code"], refresh)


def test_expired_refresh_token(client: Client, user: User) -> None:
    token = RefreshToken.for_user(user)
    token.set_exp(lifetime=-timedelta(seconds=1))
    assert_error(post(client, REFRESH, {"refresh": str(token)}), 401, INVALID_TOKEN)


# Our own: which of them let in


def own_claims(user: User) -> dict[str, Any]:
    return jwt.decode(str(AccessToken.for_user(user)), options={"verify_signature": False})


def own(user: User, **changes: Any) -> str:
    """Return an access token of ours with other claims; a change to None leaves the claim out."""
    payload = own_claims(user) | changes
    return sign({k: v for k, v in payload.items() if v is not None}, OWN_SECRET, "HS256")


def test_own_token_as_the_tests_make_it(user: User, ask: Ask) -> None:
    assert_user(ask(own(user)), user)


@pytest.mark.parametrize(
    "changes",
    [
        {"exp": int(time.time()) - 1},
        {"exp": None},
        {"exp": "soon"},
        {"exp": float("inf")},
        {"token_type": "refresh"},
        {"token_type": None},
        {"iss": "another"},
        {"iss": None},
        {"aud": "another"},
        {"aud": None},
        {"user_id": None},
        {"user_id": str(uuid.uuid4())},
        {"user_id": "not-a-uuid"},
        {"user_id": 7},
        {"user_id": ["a"]},
        {"user_id": {"a": 1}},
        {"user_id": "\0"},
        {"user_id": "\ud800"},
        {"iat": "\0", "nbf": int(time.time()) + 3600},
    ],
)
def test_own_token_refused(user: User, ask: Ask, changes: dict[str, Any]) -> None:
    token = own(user, **changes)
    assert_error(ask(token), 401, INVALID_TOKEN, token)


def test_refresh_token_is_no_access_token(user: User, ask: Ask) -> None:
    assert_error(ask(str(RefreshToken.for_user(user))), 401, INVALID_TOKEN)


@pytest.mark.parametrize("change", ["deleted", "inactive"])
def test_own_token_of_a_user_who_left(user: User, ask: Ask, change: str) -> None:
    token = own(user)
    if change == "deleted":
        user.delete()
    else:
        User.objects.update(is_active=False)
    assert_error(ask(token), 401, INVALID_TOKEN, token)


def test_own_token_signed_otherwise(user: User, ask: Ask) -> None:
    payload = own_claims(user)
    head, body, signature = own(user).split(".")
    none = encode(b'{"alg":"none","typ":"JWT"}')
    for token in (
        jwt.encode(payload, SECRET, "HS256"),
        jwt.encode(payload, OWN_SECRET, "HS512"),
        signing_key("ec").sign(payload),
        f"{none}.{body}.",
        f"{none}.{body}.{signature}",
        f"{head}.{body}.",
        f"{head}.{body}.{signature[:-4]}AAAA",
        f"{head}.{body}",
        f"{head}.{encode(json.dumps(payload | {'jti': 'other'}).encode())}.{signature}",
    ):
        assert_error(ask(token), 401, INVALID_TOKEN, token)


# Supabase's


@pytest.fixture
def supabase(settings: Any) -> Iterator[KeySetServer]:
    """Supabase Auth with a secret and a key of each algorithm, and a process that knows none yet."""
    key_set.cache_clear()
    with KeySetServer(signing_key("ec"), signing_key("rsa", "RS256")) as server:
        settings.SUPABASE_URL = server.url
        settings.SUPABASE_JWT_SECRET = SECRET
        yield server
    key_set.cache_clear()


@pytest.fixture
def claim(supabase: KeySetServer, user: User) -> Callable[..., dict[str, Any]]:
    """Make the claims of the user; a change to None leaves the claim out."""
    return lambda **changes: claims(str(user.pk), **({"iss": f"{supabase.url}/auth/v1"} | changes))


Claim = Callable[..., dict[str, Any]]


def signed(payload: dict[str, Any], way: str) -> str:
    match way:
        case "HS256":
            return sign(payload, SECRET, "HS256")
        case "ES256":
            return signing_key("ec").sign(payload)
        case _:
            return signing_key("rsa", "RS256").sign(payload)


WAYS = ["HS256", "ES256", "RS256"]


@pytest.mark.parametrize("way", WAYS)
def test_supabase_token(user: User, ask: Ask, claim: Claim, way: str) -> None:
    assert_user(ask(signed(claim(), way)), user)


def test_all_kinds_side_by_side(
    user: User, agency: Agency, ask: Ask, claim: Claim, supabase: KeySetServer
) -> None:
    other = User.objects.create_user("other@example.com", None, agency=agency)
    for _ in range(2):
        for way in WAYS:
            assert_user(ask(signed(claim(), way)), user)
            assert_user(ask(own(other)), other)
            assert_user(ask(signed(claim(sub=str(other.pk)), way)), other)
    assert supabase.paths == [PATH]


@pytest.mark.parametrize(
    "changes",
    [
        {"role": None},
        {"iat": None},
        {"iat": int(time.time()) + 30},
        {"sub": "UPPER"},
        {"aud": ["authenticated"]},
        {"nbf": int(time.time()) - 10},
        {"unheard_of": {"a": ["b"]}},
    ],
)
def test_supabase_claims_that_do_no_harm(
    user: User, ask: Ask, claim: Claim, changes: dict[str, Any]
) -> None:
    if changes.get("sub"):
        changes = {"sub": str(user.pk).upper()}
    assert_user(ask(signed(claim(**changes), "HS256")), user)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    "changes",
    [
        {"exp": int(time.time()) - 1},
        {"exp": None},
        {"exp": "never"},
        {"exp": float("inf")},
        {"exp": [1]},
        {"aud": "anon"},
        {"aud": ""},
        {"aud": None},
        {"aud": 7},
        {"aud": []},
        {"iss": "https://another.supabase.co/auth/v1"},
        {"iss": "supabase"},
        {"iss": None},
        {"iss": 7},
        {"sub": None},
        {"sub": ""},
        {"sub": "not-a-uuid"},
        {"sub": 7},
        {"sub": ["a"]},
        {"sub": str(uuid.uuid4())},
        {"sub": "\0"},
        {"role": "anon"},
        {"role": "service_role"},
        {"role": "supabase_admin"},
        {"role": 7},
        {"role": ["authenticated"]},
        {"nbf": int(time.time()) + 3600},
        {"role": "anon", "iss": "supabase", "aud": None, "sub": None, "ref": "abcdefgh"},
        {"role": "service_role", "iss": "supabase", "aud": None, "sub": None},
    ],
)
def test_supabase_claims_refused(ask: Ask, claim: Claim, way: str, changes: dict[str, Any]) -> None:
    token = signed(claim(**changes), way)
    assert_error(ask(token), 401, INVALID_TOKEN, token)


def test_issuer_with_a_slash_too_many_is_another(
    ask: Ask, claim: Claim, supabase: KeySetServer
) -> None:
    token = signed(claim(iss=f"{supabase.url}/auth/v1/"), "HS256")
    assert_error(ask(token), 401, INVALID_TOKEN, token)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("change", ["deleted", "inactive"])
def test_supabase_token_of_a_user_who_left(
    user: User, ask: Ask, claim: Claim, way: str, change: str
) -> None:
    token = signed(claim(), way)
    if change == "deleted":
        user.delete()
    else:
        User.objects.update(is_active=False)
    assert_error(ask(token), 401, INVALID_TOKEN, token)


def test_user_of_supabase_without_an_agency(ask: Ask, claim: Claim) -> None:
    outsider = User.objects.create_user("outsider@example.com", None)
    token = signed(claim(sub=str(outsider.pk)), "ES256")
    assert_error(ask(token), 403, "not_agency_user", token)


@pytest.mark.parametrize("kid", ["ec", "rsa"])
def test_public_key_as_a_secret(ask: Ask, claim: Claim, supabase: KeySetServer, kid: str) -> None:
    key = signing_key(kid, {"ec": "ES256", "rsa": "RS256"}[kid])
    head = {"alg": "HS256", "typ": "JWT", "kid": kid}
    content = f"{encode(json.dumps(head).encode())}.{encode(json.dumps(claim()).encode())}"
    for secret in (key.pem, key.pem.strip(), json.dumps(key.jwk).encode(), b""):
        signature = hmac.new(secret, content.encode(), hashlib.sha256).digest()
        token = f"{content}.{encode(signature)}"
        assert_error(ask(token), 401, INVALID_TOKEN, token)
    assert supabase.hits == 0


ALGORITHMS = [
    "none", "None", "NONE", "", "HS384", "HS512", "hs256", "EdDSA", "ES384", "PS256", "RS512", 7,
    None, ["HS256"], {},
]  # fmt: skip


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("kid", ["ec", "rsa", None])
def test_algorithms_of_no_key(
    ask: Ask, claim: Claim, supabase: KeySetServer, algorithm: Any, kid: str | None
) -> None:
    head = encode(json.dumps({"alg": algorithm, "typ": "JWT", "kid": kid}).encode())
    body = encode(json.dumps(claim()).encode())
    tokens = [f"{head}.{body}.", f"{head}.{body}.{encode(b'signature')}", f"{head}.{body}"]
    if algorithm in ("HS384", "HS512"):
        tokens.append(jwt.encode(claim(), SECRET.ljust(64, "x"), algorithm))
        tokens.append(jwt.encode(claim(), SECRET * 2, algorithm, headers={"kid": kid or "ec"}))
    for token in tokens:
        assert_error(ask(token), 401, INVALID_TOKEN)
    assert supabase.hits == 0


def test_hs512_with_the_right_secret(
    ask: Ask, claim: Claim, settings: Any, supabase: KeySetServer
) -> None:
    settings.SUPABASE_JWT_SECRET = SECRET * 2
    assert_error(ask(jwt.encode(claim(), SECRET * 2, "HS512")), 401, INVALID_TOKEN)
    assert ask(jwt.encode(claim(), SECRET * 2, "HS256")).status_code == 200


def test_key_of_another_algorithm(ask: Ask, claim: Claim) -> None:
    ec, rsa = signing_key("ec"), signing_key("rsa", "RS256")
    for token in (
        ec.sign(claim(), kid="rsa"),
        rsa.sign(claim(), kid="ec"),
        signing_key("stranger").sign(claim(), kid="ec"),
        signing_key("stranger rsa", "RS256").sign(claim(), kid="rsa"),
        jwt.encode(claim(), rsa.private, "RS512", headers={"kid": "rsa"}),
        jwt.encode(claim(), rsa.private, "PS256", headers={"kid": "rsa"}),
        jwt.encode(claim(), ec.private, "ES256"),
    ):
        assert_error(ask(token), 401, INVALID_TOKEN, token)


def test_keys_in_the_token_are_not_used(ask: Ask, claim: Claim, supabase: KeySetServer) -> None:
    stranger = signing_key("stranger")
    with KeySetServer(stranger) as elsewhere:
        for header in (
            {"jwk": stranger.jwk},
            {"jku": f"{elsewhere.url}{PATH}"},
            {"x5u": elsewhere.url},
            {"jku": f"{elsewhere.url}{PATH}", "kid": "ec"},
            {"kid": "../../../dev/null"},
            {"kid": f"{elsewhere.url}{PATH}"},
            {"kid": "ec", "crit": ["exp"], "exp": 1},
        ):
            assert_error(ask(stranger.sign(claim(), **header)), 401, INVALID_TOKEN)
        assert elsewhere.hits == 0


@pytest.mark.parametrize("missing", ["all", "url", "secret"])
def test_supabase_not_configured(
    user: User, ask: Ask, claim: Claim, supabase: KeySetServer, settings: Any, missing: str
) -> None:
    if missing in ("all", "url"):
        settings.SUPABASE_URL = ""
    if missing in ("all", "secret"):
        settings.SUPABASE_JWT_SECRET = ""
    accepted = {"all": [], "url": ["HS256"], "secret": ["ES256", "RS256"]}[missing]
    for way in WAYS:
        if way in accepted:
            assert_user(ask(signed(claim(), way)), user)
        else:
            assert_error(ask(signed(claim(), way)), 401, INVALID_TOKEN)
    assert supabase.hits == (1 if missing == "secret" else 0)
    assert_user(ask(own(user)), user)


def test_secret_that_is_not_set_signs_nothing(ask: Ask, claim: Claim, settings: Any) -> None:
    settings.SUPABASE_JWT_SECRET = ""
    head = encode(b'{"alg":"HS256","typ":"JWT"}')
    content = f"{head}.{encode(json.dumps(claim()).encode())}"
    signature = hmac.new(b"", content.encode(), hashlib.sha256).digest()
    assert_error(ask(f"{content}.{encode(signature)}"), 401, INVALID_TOKEN)


# Garbage


def _segment(head: bytes) -> str:
    return f"{encode(head)}.{encode(b'{}')}.{encode(b'x')}"


GARBAGE = {
    "one letter": "x",
    "dots": "...",
    "two dots": "..",
    "spaces": "a b c",
    "tab": "a\tb",
    "commas": "a,b,c",
    "8 kB of letters": "x" * 8192,
    "8 kB of dots": "." * 8192,
    "8 kB of header": _segment(b'{"alg":"ES256","kid":"' + b"x" * 5900 + b'"}'),
    "8 kB of spaces in JSON": _segment(b" " * 6000 + b"{}"),
    "nested JSON": _segment(b"[" * 5000),
    "nested objects": _segment(b'{"alg":' * 800),
    "nested JSON in a header": _segment(b'{"alg":"HS256","x":' + b"[" * 2500 + b"]" * 2500 + b"}"),
    "nested claims": f"{encode(b'{}')}.{encode(b'[' * 5000)}.{encode(b'x')}",
    "not UTF-8": _segment(b"\xff\xfe\x80"),
    "not UTF-8 in JSON": _segment(b'{"alg":"\xff"}'),
    "not UTF-8 claims": f"{encode(b'{}')}.{encode(bytes(range(128, 256)))}.x",
    "empty header": _segment(b""),
    "null": _segment(b"null"),
    "list": _segment(b"[]"),
    "text": _segment(b'"HS256"'),
    "number": _segment(b"7"),
    "NaN": _segment(b'{"alg":NaN}'),
    "long number": _segment(b'{"alg":' + b"9" * 5000 + b"}"),
    "empty object": _segment(b"{}"),
    "no kid": _segment(b'{"alg":"ES256"}'),
    "kid is null": _segment(b'{"alg":"ES256","kid":null}'),
    "kid is a number": _segment(b'{"alg":"ES256","kid":7}'),
    "kid is a list": _segment(b'{"alg":"ES256","kid":["ec"]}'),
    "kid is an object": _segment(b'{"alg":"RS256","kid":{"ec":1}}'),
    "kid is a surrogate": _segment(b'{"alg":"RS256","kid":"\\ud800"}'),
    "kid is NUL": _segment(b'{"alg":"RS256","kid":"\\u0000"}'),
    "compressed": _segment(b'{"alg":"HS256","zip":"DEF"}'),
    "detached": _segment(b'{"alg":"HS256","b64":false,"crit":["b64"]}'),
    "encrypted": _segment(b'{"alg":"dir","enc":"A256GCM"}') + ".x.x",
    "padded": "e30=.e30=.eA==",
    "not base64": "$$$.###.!!!",
    "half base64": "e.e.e",
    "letters of Latin-1": "\xe9\xff.\xe9.\xe9",
}


@pytest.mark.parametrize("token", GARBAGE.values(), ids=GARBAGE)
@pytest.mark.parametrize("configured", [True, False])
def test_garbage(
    request: pytest.FixtureRequest, user: User, ask: Ask, configured: bool, token: str
) -> None:
    if configured:
        request.getfixturevalue("supabase")
    assert_error(ask(token), 401, INVALID_TOKEN)


def test_random_garbage(user: User, ask: Ask, supabase: KeySetServer) -> None:
    seed = random.randrange(10**9)
    dice = random.Random(seed)
    good = signed(claims(str(user.pk)), "ES256")
    for _ in range(60):
        letters = list(good)
        for _ in range(dice.randint(1, 5)):
            letters[dice.randrange(len(letters))] = dice.choice(string.printable[:94])
        mangled = "".join(letters)
        if mangled != good:
            response = ask(mangled)
            assert (seed, mangled, response.status_code) == (seed, mangled, 401)
    assert supabase.hits <= 3


# The key set's server


@pytest.mark.parametrize("way", ["fail", "garbage", "not keys", "redirect", "closed"])
def test_known_keys_outlive_their_server(
    user: User, ask: Ask, claim: Claim, supabase: KeySetServer, way: Any
) -> None:
    assert_user(ask(signed(claim(), "ES256")), user)
    if way == "closed":
        supabase.stop()
    else:
        supabase.behaviour = way
    for _ in range(5):
        assert_user(ask(signed(claim(), "ES256")), user)
        assert_user(ask(signed(claim(), "RS256")), user)
    assert supabase.hits == 1
    assert_error(ask(signing_key("new").sign(claim())), 401, INVALID_TOKEN)
    assert_user(ask(signed(claim(), "RS256")), user)


@pytest.mark.parametrize("way", ["fail", "garbage", "not keys", "redirect", "closed"])
def test_first_look_up_fails(
    user: User, ask: Ask, claim: Claim, supabase: KeySetServer, way: Any
) -> None:
    if way == "closed":
        supabase.stop()
    else:
        supabase.behaviour = way
    for kind in ("ES256", "RS256"):
        assert_error(ask(signed(claim(), kind)), 401, INVALID_TOKEN)
    assert_user(ask(signed(claim(), "HS256")), user)
    assert_user(ask(own(user)), user)
    assert set(supabase.paths) <= {PATH}


def test_server_that_recovers(
    user: User, ask: Ask, claim: Claim, supabase: KeySetServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    supabase.behaviour = "fail"
    assert_error(ask(signed(claim(), "ES256")), 401, INVALID_TOKEN)
    supabase.behaviour = "answer"
    later = time.monotonic() + 60
    monkeypatch.setattr(time, "monotonic", lambda: later)
    assert_user(ask(signed(claim(), "ES256")), user)


@pytest.mark.parametrize("way", ["answer", "fail"])
def test_strangers_do_not_reach_the_server_through_us(
    user: User, ask: Ask, claim: Claim, supabase: KeySetServer, way: Any
) -> None:
    assert_user(ask(signed(claim(), "ES256")), user)
    supabase.behaviour = way
    token = signing_key("stranger")
    for _ in range(50):
        assert ask(token.sign(claim(), kid=str(uuid.uuid4()))).status_code == 401
    assert supabase.hits <= 5
    assert_user(ask(signed(claim(), "ES256")), user)


def test_the_same_unknown_key_is_looked_up_once(
    ask: Ask, claim: Claim, supabase: KeySetServer
) -> None:
    for _ in range(10):
        assert ask(signing_key("stranger").sign(claim())).status_code == 401
    assert supabase.hits == 1


def test_rotated_key_is_found_at_once(
    user: User, ask: Ask, claim: Claim, supabase: KeySetServer
) -> None:
    new = signing_key("new")
    assert_user(ask(signed(claim(), "ES256")), user)
    supabase.rotate(signing_key("ec"), new)
    assert_user(ask(new.sign(claim())), user)
    assert_user(ask(signed(claim(), "ES256")), user)
    assert supabase.hits == 2


def test_key_that_was_withdrawn(
    user: User, ask: Ask, claim: Claim, supabase: KeySetServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert_user(ask(signed(claim(), "ES256")), user)
    supabase.rotate(signing_key("new"))
    later = time.monotonic() + 3600
    monkeypatch.setattr(time, "monotonic", lambda: later)
    assert_error(ask(signed(claim(), "ES256")), 401, INVALID_TOKEN)
    assert_user(ask(signing_key("new").sign(claim())), user)


@pytest.mark.parametrize(
    "junk",
    [
        {},
        {"kty": "EC"},
        {"kty": "unheard of", "kid": "a"},
        {"kty": "oct", "kid": "a", "k": "c2VjcmV0", "alg": "HS256"},
        {"kty": "EC", "kid": "a", "crv": "P-256", "x": "AA", "y": "AA"},
        {"kty": "EC", "kid": "a", "crv": "P-0", "x": "", "y": ""},
        {"kty": "RSA", "kid": "a", "n": "", "e": ""},
        {"kty": "OKP", "kid": "a", "crv": "Ed25519", "x": "AA"},
        {"kty": 7, "kid": ["a"]},
        {"kty": "RSA", "kid": "a", "n": 7, "e": 7},
    ],
)
def test_key_set_with_junk_beside_the_keys(
    user: User, ask: Ask, claim: Claim, supabase: KeySetServer, junk: Any
) -> None:
    supabase.keys = [junk, *supabase.keys]
    assert_user(ask(signed(claim(), "ES256")), user)


def test_shared_secret_in_the_key_set(ask: Ask, claim: Claim, supabase: KeySetServer) -> None:
    key = {"kty": "oct", "kid": "shared", "k": encode(b"s" * 32), "alg": "HS256"}
    supabase.keys = [key, *supabase.keys]
    token = jwt.encode(claim(), b"s" * 32, "HS256", headers={"kid": "shared"})
    assert_error(ask(token), 401, INVALID_TOKEN)
    stranger = signing_key("stranger").sign(claim(), kid="shared")
    assert_error(ask(stranger), 401, INVALID_TOKEN)


@pytest.mark.django_db(transaction=True)
def test_server_that_hangs(
    live_server: Any, ultravox: Ultravox, user: User, claim: Claim, supabase: KeySetServer
) -> None:
    ultravox.voices = []

    def ask(token: str) -> requests.Response:
        url = f"{live_server.url}{ADDRESSES[0]}"
        headers = {"Authorization": f"Bearer {token}", "Connection": "close"}
        return requests.post(url, headers=headers, timeout=20)

    good = signed(claim(), "ES256")
    assert ask(good).status_code == 200
    supabase.behaviour = "hang"
    answers: list[requests.Response] = []
    stranger = signing_key("stranger").sign(claim())
    thread = threading.Thread(target=lambda: answers.append(ask(stranger)))
    thread.start()
    supabase.wait_for_hits(2)
    for _ in range(3):
        assert ask(good).status_code == 200
        assert ask(own(user)).status_code == 200
    assert not answers
    thread.join(15)
    assert_error(answers[0], 401, INVALID_TOKEN, stranger)
    assert ask(good).status_code == 200
