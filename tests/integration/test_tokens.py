"""Who a bearer token stands for: our own tokens, and Supabase's, side by side."""

import hashlib
import hmac
import json
import threading
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
from agencies.models import Agency, User
from agencies.tokens import user_of_token
from tests.support.answers import ADDRESSES, INVALID_TOKEN, REFRESH, TOKEN, assert_error
from tests.support.environment import ENVIRONMENT, PASSWORD
from tests.support.jwks import PATH, KeySetServer, claims, encode, sign, signing_key
from tests.ultravox import Ultravox
from voiceproject.errors import ServiceError
from voices.models import SyncRun

SECRET = "supabase-s-own-jwt-secret-of-the-tests-0123456789"
OWN_SECRET = ENVIRONMENT["DJANGO_SECRET_KEY"]
EMAIL = "user@example.com"
JSON = "application/json"
WAYS = ["HS256", "ES256", "RS256"]

Claim = Callable[..., dict[str, Any]]


def who(token: str) -> User | str:
    """Return the user whom a token stands for, or the code of its refusal."""
    try:
        return user_of_token(token)
    except ServiceError as error:
        return error.code


def token_of(*parts: Any) -> str:
    """Join parts as a token does: bytes as they are, the rest as JSON."""
    return ".".join(encode(p if isinstance(p, bytes) else json.dumps(p).encode()) for p in parts)


def post(client: Client, address: str, body: Any, content_type: str = JSON) -> Any:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return client.generic("POST", address, data, content_type=content_type)


# Our own: how a user gets them


def test_sign_in_and_refresh(client: Client, user: User) -> None:
    for end in ("/", ""):
        body = {"email": user.email, "password": PASSWORD}
        response = post(client, TOKEN.rstrip("/") + end, body)
        assert (response.status_code, response.headers["Content-Type"]) == (200, JSON)
        tokens = response.json()
        assert set(tokens) == {"access", "refresh"}
        assert who(tokens["access"]) == user
        response = post(client, REFRESH.rstrip("/") + end, {"refresh": tokens["refresh"]})
        assert (response.status_code, set(response.json())) == (200, {"access"})
        assert response["Cache-Control"] == "no-store"
        assert who(response.json()["access"]) == user
    assert set(client.post(TOKEN, body).json()) == {"access", "refresh"}  # a form's body


def test_one_normal_form_decides_whose_an_address_is(client: Client, db: None) -> None:
    """PostgreSQL's UPPER would take a dotless i for an i."""
    User.objects.create_user("u\u017fer2@example.com", PASSWORD)  # a long s, which is an s
    with pytest.raises(IntegrityError), transaction.atomic():
        User.objects.create_user("USER2@example.com", PASSWORD)
    User.objects.create_user("adm\u0131n@example.com", "another password")
    User.objects.create_user("admin@example.com", PASSWORD)
    for email in ("admin@example.com", " ADMIN@EXAMPLE.COM", "user2@example.com"):
        assert post(client, TOKEN, {"email": email, "password": PASSWORD}).status_code == 200


def test_the_address_in_any_case_and_the_password_as_it_is(client: Client, user: User) -> None:
    for email in ("USER@example.com", "User@EXAMPLE.com", " user@example.com "):
        assert post(client, TOKEN, {"email": email, "password": PASSWORD}).status_code == 200, email
    user.set_password("  spaced  ")
    user.save()
    assert post(client, TOKEN, {"email": EMAIL, "password": "  spaced  "}).status_code == 200
    assert post(client, TOKEN, {"email": EMAIL, "password": "spaced"}).status_code == 401


BAD_SIGN_INS = {
    (401, "invalid_credentials"): [
        *({"email": EMAIL, "password": wrong} for wrong in ("wrong", PASSWORD.upper(), 0)),
        *({"email": EMAIL, "password": wrong} for wrong in (f"{PASSWORD} ", f" {PASSWORD}")),
        *({"email": wrong, "password": PASSWORD} for wrong in ("nobody@example.com", "no address")),
        *({"email": wrong, "password": PASSWORD} for wrong in ("' OR 1=1 --", "x" * 10_000)),
        {"email": "inactive@example.com", "password": PASSWORD},
        {"email": EMAIL, "password": "x" * 100_000},
    ],
    (400, "invalid_request"): [
        *({}, [], None, 7, "text", b"", b"[" * 100_000, b'{"a":' * 100_000),
        *(b'{"email": "user@exam', b'{"email": NaN}', b'\xff\xfe{"email": 1}'),
        *({"email": EMAIL}, {"password": PASSWORD}, {"username": EMAIL, "password": PASSWORD}),
        *({"email": None, "password": None}, {"email": "", "password": ""}),
        *(
            {"email": [EMAIL], "password": {"a": PASSWORD}},
            [{"email": EMAIL, "password": PASSWORD}],
        ),
        *({"email": f"{EMAIL}{odd}", "password": PASSWORD} for odd in ("\0", "\ud800")),
        *({"email": EMAIL, "password": f"{PASSWORD}{odd}"} for odd in ("\0", "\udfff")),
    ],
}
BAD_REFRESHES = {
    (400, "invalid_request"): [
        *({}, [], b"{", {"refresh": ""}, {"refresh": None}, {"refresh": ["a"]}),
        *({"refresh": "a\0b"}, {"refresh": "a\ud800"}),
    ],
    (401, INVALID_TOKEN): [
        {"refresh": token} for token in ("a", 7, "a.b.c", "grüße.grüße.grüße", "x" * 100_000)
    ],
}


@pytest.mark.parametrize(
    ("address", "refused"), [(TOKEN, BAD_SIGN_INS), (REFRESH, BAD_REFRESHES)], ids=[TOKEN, REFRESH]
)
def test_what_gets_no_token(client: Client, user: User, address: str, refused: Any) -> None:
    User.objects.create_user("inactive@example.com", PASSWORD, is_active=False)
    for error, bodies in refused.items():
        for body in bodies:
            assert_error(post(client, address, body), *error, PASSWORD)


CONTENT_TYPES = {
    415: ["text/plain", "application/xml", "application/octet-stream", "nonsense", ";;=/"],
    400: [
        "multipart/form-data",
        "multipart/form-data; boundary=",
        "application/json; charset=klingon",
        "application/x-www-form-urlencoded",
        "application/json; charset=utf-16",
    ],
}


@pytest.mark.parametrize("address", [TOKEN, REFRESH])
def test_tokens_only_by_a_post_that_can_be_read(client: Client, db: None, address: str) -> None:
    codes = {415: "unsupported_media_type", 400: "invalid_request"}
    for status, code in codes.items():
        for content_type in CONTENT_TYPES[status]:
            assert_error(post(client, address, b"\xff\0{", content_type), status, code)
    response = post(client, address, {"email": "x" * 3_000_000})
    assert response.status_code in (400, 413)
    assert_error(response, response.status_code, response.json()["code"])
    for method in ("GET", "HEAD", "PUT", "DELETE", "PATCH", "TRACE", "BREW"):
        for spelling in (address, address.rstrip("/")):
            response = client.generic(method, spelling)
            if method != "HEAD":
                assert_error(response, 405, "method_not_allowed")
            assert response.status_code == 405
            assert "POST" in response.headers["Allow"].split(", ")


def test_other_tokens_refresh_nothing(client: Client, user: User) -> None:
    expired = RefreshToken.for_user(user)
    expired.set_exp(lifetime=-timedelta(seconds=1))
    for token in (str(AccessToken.for_user(user)), str(expired)):
        assert_error(post(client, REFRESH, {"refresh": token}), 401, INVALID_TOKEN, token)


# Our own: which of them let in


def own_claims(user: User) -> dict[str, Any]:
    return jwt.decode(str(AccessToken.for_user(user)), options={"verify_signature": False})


def own(user: User, **changes: Any) -> str:
    """Return an access token of ours with other claims; a change to None leaves the claim out."""
    payload = own_claims(user) | changes
    return sign({k: v for k, v in payload.items() if v is not None}, OWN_SECRET, "HS256")


def test_own_claims(user: User) -> None:
    assert who(own(user)) == user
    wrong_claims: tuple[dict[str, Any], ...] = (
        *({"exp": wrong} for wrong in (int(time.time()) - 1, None, "soon", float("inf"))),
        *({"token_type": wrong} for wrong in ("refresh", None)),
        *({"iss": wrong} for wrong in ("another", None)),
        *({"aud": wrong} for wrong in ("another", None)),
        *({"user_id": wrong} for wrong in (None, str(uuid.uuid4()), "not-a-uuid", 7, ["a"])),
        *({"user_id": wrong} for wrong in ({"a": 1}, "\0", "\ud800")),
        {"iat": "\0", "nbf": int(time.time()) + 3600},
    )
    for changes in wrong_claims:
        assert who(own(user, **changes)) == INVALID_TOKEN, changes
    assert who(str(RefreshToken.for_user(user))) == INVALID_TOKEN


def test_own_token_signed_otherwise(user: User) -> None:
    payload = own_claims(user)
    head, body, signature = own(user).split(".")
    none = token_of({"alg": "none", "typ": "JWT"})
    for token in (
        jwt.encode(payload, SECRET, "HS256"),
        jwt.encode(payload, OWN_SECRET, "HS512"),
        signing_key("ec").sign(payload),
        f"{none}.{body}.",
        f"{none}.{body}.{signature}",
        f"{head}.{body}.",
        f"{head}.{body}.{signature[:-4]}AAAA",
        f"{head}.{body}",
        f"{head}.{token_of(payload | {'jti': 'other'})}.{signature}",
    ):
        assert who(token) == INVALID_TOKEN, token


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
def claim(supabase: KeySetServer, user: User) -> Claim:
    """Make the claims of the user; a change to None leaves the claim out."""
    return lambda **changes: claims(str(user.pk), **({"iss": f"{supabase.url}/auth/v1"} | changes))


def signed(payload: dict[str, Any], way: str) -> str:
    match way:
        case "HS256":
            return sign(payload, SECRET, "HS256")
        case "ES256":
            return signing_key("ec").sign(payload)
        case _:
            return signing_key("rsa", "RS256").sign(payload)


def test_all_kinds_side_by_side(
    user: User, agency: Agency, claim: Claim, supabase: KeySetServer
) -> None:
    other = User.objects.create_user("other@example.com", None, agency=agency)
    for _ in range(2):
        for way in WAYS:
            assert who(signed(claim(), way)) == user
            assert who(own(other)) == other
            assert who(signed(claim(sub=str(other.pk)), way)) == other
    assert supabase.paths == [PATH]


def test_the_user_of_a_token_syncs(
    client: Client, ultravox: Ultravox, user: User, claim: Claim
) -> None:
    ultravox.voices = ultravox.voices[:2]
    outsider = User.objects.create_user("outsider@example.com", None)

    def sync(token: str) -> Any:
        return client.post(ADDRESSES[0], headers={"authorization": f"Bearer {token}"})

    for token in (own(user), *(signed(claim(), way) for way in WAYS)):
        assert sync(token).status_code == 200
        assert SyncRun.objects.latest("pk").user == user
    for token in (own(user, exp=1), *(signed(claim(exp=1), way) for way in WAYS)):
        assert_error(sync(token), 401, INVALID_TOKEN, token)
    token = signed(claim(sub=str(outsider.pk)), "ES256")
    assert_error(sync(token), 403, "not_agency_user", token)


@pytest.mark.parametrize("change", ["deleted", "inactive", "new password"])
def test_tokens_of_a_user_who_left(client: Client, user: User, claim: Claim, change: str) -> None:
    tokens = [own(user)]
    refresh = str(RefreshToken.for_user(user))
    if change == "new password":  # Supabase's users have none here
        user.set_password("another password")
        user.save()
    else:
        tokens += [signed(claim(), way) for way in WAYS]
        user.delete() if change == "deleted" else User.objects.update(is_active=False)
    assert {who(token) for token in tokens} == {INVALID_TOKEN}
    response = post(client, REFRESH, {"refresh": refresh})
    assert_error(response, 401, INVALID_TOKEN, refresh)


def test_supabase_claims_that_do_no_harm(user: User, claim: Claim) -> None:
    now = int(time.time())
    for changes in (
        *({"role": None}, {"iat": None}, {"iat": now + 30}, {"nbf": now - 10}),
        *({"sub": str(user.pk).upper()}, {"aud": ["authenticated"]}, {"unheard_of": {"a": ["b"]}}),
    ):
        assert who(signed(claim(**changes), "HS256")) == user, changes


@pytest.mark.parametrize("way", WAYS)
def test_supabase_claims_refused(claim: Claim, supabase: KeySetServer, way: str) -> None:
    now = int(time.time())
    with_a_slash = f"{supabase.url}/auth/v1/"
    wrong: dict[str, list[Any]] = {
        "exp": [now - 1, None, "never", float("inf"), [1]],
        "aud": ["anon", "", None, 7, []],
        "iss": ["https://another.supabase.co/auth/v1", "supabase", None, 7, with_a_slash],
        "sub": [None, "", "not-a-uuid", 7, ["a"], str(uuid.uuid4()), "\0"],
        "role": ["anon", "service_role", "supabase_admin", 7, ["authenticated"]],
        "nbf": [now + 3600],
    }
    anon_key = {"role": "anon", "iss": "supabase", "aud": None, "sub": None, "ref": "abcdefgh"}
    for changes in (
        *({name: value} for name, values in wrong.items() for value in values),
        anon_key,
        anon_key | {"role": "service_role", "ref": None},
    ):
        assert who(signed(claim(**changes), way)) == INVALID_TOKEN, changes


@pytest.mark.parametrize(("kid", "algorithm"), [("ec", "ES256"), ("rsa", "RS256")])
def test_public_key_as_a_secret(
    claim: Claim, supabase: KeySetServer, kid: str, algorithm: str
) -> None:
    key = signing_key(kid, algorithm)
    pem = key.private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    content = token_of({"alg": "HS256", "typ": "JWT", "kid": kid}, claim())
    for secret in (pem, pem.strip(), json.dumps(key.jwk).encode(), b""):
        signature = hmac.new(secret, content.encode(), hashlib.sha256).digest()
        assert who(f"{content}.{encode(signature)}") == INVALID_TOKEN
    assert supabase.paths == []


def test_algorithms_of_no_key(
    user: User, claim: Claim, supabase: KeySetServer, settings: Any
) -> None:
    algorithms: list[Any] = [
        "none",
        "None",
        "NONE",
        "",
        "HS384",
        "HS512",
        "hs256",
        "EdDSA",
        "ES384",
        "PS256",
        "RS512",
        7,
        None,
        ["HS256"],
        {},
    ]
    for algorithm in algorithms:
        for kid in ("ec", "rsa", None):
            content = token_of({"alg": algorithm, "typ": "JWT", "kid": kid}, claim())
            tokens = [f"{content}.", f"{content}.{encode(b'signature')}", content]
            if algorithm in ("HS384", "HS512"):
                headers = {"kid": kid or "ec"}
                tokens.append(jwt.encode(claim(), SECRET.ljust(64, "x"), algorithm))
                tokens.append(jwt.encode(claim(), SECRET * 2, algorithm, headers=headers))
            for token in tokens:
                assert who(token) == INVALID_TOKEN, token
    assert supabase.paths == []
    settings.SUPABASE_JWT_SECRET = SECRET * 2  # as long as HS512 wants it
    assert who(jwt.encode(claim(), SECRET * 2, "HS512")) == INVALID_TOKEN
    assert who(jwt.encode(claim(), SECRET * 2, "HS256")) == user


def test_key_of_another_algorithm(claim: Claim, supabase: KeySetServer) -> None:
    shared = {"kty": "oct", "kid": "shared", "k": encode(b"s" * 32), "alg": "HS256"}
    supabase.keys = [shared, *supabase.keys]
    ec, rsa = signing_key("ec"), signing_key("rsa", "RS256")
    for token in (
        ec.sign(claim(), kid="rsa"),
        rsa.sign(claim(), kid="ec"),
        signing_key("stranger").sign(claim(), kid="ec"),
        signing_key("stranger rsa", "RS256").sign(claim(), kid="rsa"),
        jwt.encode(claim(), rsa.private, "RS512", headers={"kid": "rsa"}),
        jwt.encode(claim(), rsa.private, "PS256", headers={"kid": "rsa"}),
        jwt.encode(claim(), ec.private, "ES256"),
        jwt.encode(claim(), b"s" * 32, "HS256", headers={"kid": "shared"}),
        signing_key("stranger").sign(claim(), kid="shared"),
    ):
        assert who(token) == INVALID_TOKEN, token


def test_keys_in_the_token_are_not_used(claim: Claim, supabase: KeySetServer) -> None:
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
            assert who(stranger.sign(claim(), **header)) == INVALID_TOKEN, header
        assert elsewhere.paths == []


@pytest.mark.parametrize(
    ("unset", "accepted", "hits"),
    [
        (["URL", "JWT_SECRET"], [], 0),
        (["URL"], ["HS256"], 0),
        (["JWT_SECRET"], ["ES256", "RS256"], 1),
    ],
)
def test_supabase_not_configured(
    user: User,
    claim: Claim,
    supabase: KeySetServer,
    settings: Any,
    unset: list[str],
    accepted: list[str],
    hits: int,
) -> None:
    for name in unset:
        setattr(settings, f"SUPABASE_{name}", "")
    assert [way for way in WAYS if who(signed(claim(), way)) == user] == accepted
    assert {who(signed(claim(), way)) for way in WAYS if way not in accepted} == {INVALID_TOKEN}
    assert len(supabase.paths) == hits
    assert who(own(user)) == user
    if "JWT_SECRET" in unset:  # a secret that is not set signs nothing
        content = token_of({"alg": "HS256"}, claim())
        signature = hmac.new(b"", content.encode(), hashlib.sha256).digest()
        assert who(f"{content}.{encode(signature)}") == INVALID_TOKEN


# Garbage


HEADERS = [
    b'{"alg":"ES256","kid":"' + b"x" * 5900 + b'"}',
    b" " * 6000 + b"{}",
    b"[" * 5000,
    b'{"alg":' * 800,
    b'{"alg":"HS256","x":' + b"[" * 2500 + b"]" * 2500 + b"}",
    b"\xff\xfe\x80",
    b'{"alg":"\xff"}',
    b"",
    b"null",
    b"[]",
    b'"HS256"',
    b"7",
    b'{"alg":NaN}',
    b'{"alg":' + b"9" * 5000 + b"}",
    b"{}",
    b'{"alg":"ES256"}',
    b'{"alg":"ES256","kid":null}',
    b'{"alg":"ES256","kid":7}',
    b'{"alg":"ES256","kid":["ec"]}',
    b'{"alg":"RS256","kid":{"ec":1}}',
    b'{"alg":"RS256","kid":"\\ud800"}',
    b'{"alg":"RS256","kid":"\\u0000"}',
    b'{"alg":"HS256","zip":"DEF"}',
    b'{"alg":"HS256","b64":false,"crit":["b64"]}',
]
GARBAGE = [
    *(token_of(head, {}, b"x") for head in HEADERS),
    token_of({}, b"[" * 5000, b"x"),
    token_of({}, bytes(range(128, 256)), b"x"),
    token_of({"alg": "dir", "enc": "A256GCM"}, {}, b"x", b"x", b"x"),
    *("x", "...", "..", "a b c", "a\tb", "a,b,c", "x" * 8192, "." * 8192, "e30=.e30=.eA=="),
    *("$$$.###.!!!", "e.e.e", "\xe9\xff.\xe9.\xe9"),
]


def test_garbage(client: Client, user: User, supabase: KeySetServer, settings: Any) -> None:
    for configured in (True, False):
        if not configured:
            settings.SUPABASE_URL = settings.SUPABASE_JWT_SECRET = ""
        for token in GARBAGE:
            headers = {"authorization": f"Bearer {token}"}
            assert_error(client.post(ADDRESSES[0], headers=headers), 401, INVALID_TOKEN)


# The key set's server


FAILURES = [*KeySetServer.BEHAVIOURS, "closed"]


def fail(supabase: KeySetServer, way: str) -> None:
    if way == "closed":
        supabase.stop()
    else:
        supabase.behaviour = way


@pytest.mark.parametrize("way", FAILURES)
def test_known_keys_outlive_their_server(
    user: User, claim: Claim, supabase: KeySetServer, way: str
) -> None:
    assert who(signed(claim(), "ES256")) == user
    fail(supabase, way)
    for _ in range(5):
        assert who(signed(claim(), "ES256")) == user
        assert who(signed(claim(), "RS256")) == user
    assert len(supabase.paths) == 1
    assert who(signing_key("new").sign(claim())) == INVALID_TOKEN
    assert who(signed(claim(), "RS256")) == user


@pytest.mark.parametrize("way", FAILURES)
def test_first_look_up_fails(user: User, claim: Claim, supabase: KeySetServer, way: str) -> None:
    fail(supabase, way)
    assert [who(signed(claim(), way)) for way in WAYS] == [user, INVALID_TOKEN, INVALID_TOKEN]
    assert who(own(user)) == user
    assert set(supabase.paths) <= {PATH}  # a redirect is not followed


def test_server_that_recovers(
    user: User, claim: Claim, supabase: KeySetServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    supabase.behaviour = "fail"
    assert who(signed(claim(), "ES256")) == INVALID_TOKEN
    supabase.behaviour = "answer"
    later = time.monotonic() + 60
    monkeypatch.setattr(time, "monotonic", lambda: later)
    assert who(signed(claim(), "ES256")) == user


@pytest.mark.parametrize("way", ["answer", "fail"])
def test_strangers_do_not_reach_the_server_through_us(
    user: User, claim: Claim, supabase: KeySetServer, way: str
) -> None:
    assert who(signed(claim(), "ES256")) == user
    supabase.behaviour = way
    stranger = signing_key("stranger")
    for _ in range(10):  # the same unknown key is looked up once
        assert who(stranger.sign(claim())) == INVALID_TOKEN
    assert len(supabase.paths) == 2
    for _ in range(50):
        assert who(stranger.sign(claim(), kid=str(uuid.uuid4()))) == INVALID_TOKEN
    assert len(supabase.paths) <= 5
    assert who(signed(claim(), "ES256")) == user


def test_rotated_key_is_found_at_once(user: User, claim: Claim, supabase: KeySetServer) -> None:
    new = signing_key("new")
    assert who(signed(claim(), "ES256")) == user
    supabase.keys = [signing_key("ec").jwk, new.jwk]
    assert who(new.sign(claim())) == user
    assert who(signed(claim(), "ES256")) == user
    assert len(supabase.paths) == 2


def test_key_that_was_withdrawn(
    user: User, claim: Claim, supabase: KeySetServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert who(signed(claim(), "ES256")) == user
    supabase.keys = [signing_key("new").jwk]
    later = time.monotonic() + 3600
    monkeypatch.setattr(time, "monotonic", lambda: later)
    assert who(signed(claim(), "ES256")) == INVALID_TOKEN
    assert who(signing_key("new").sign(claim())) == user


def test_junk_beside_the_keys(user: User, claim: Claim, supabase: KeySetServer) -> None:
    keys = supabase.keys
    for junk in (
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
    ):
        key_set.cache_clear()
        supabase.keys = [junk, *keys]
        assert who(signed(claim(), "ES256")) == user, junk


def test_server_that_hangs(
    user: User, claim: Claim, supabase: KeySetServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(KeySet, "TIMEOUT", 0.5)
    assert who(signed(claim(), "ES256")) == user
    supabase.behaviour = "hang"
    supabase.visited.clear()
    answers: list[User | str] = []
    stranger = signing_key("stranger").sign(claim())
    thread = threading.Thread(target=lambda: answers.append(who(stranger)))
    thread.start()
    assert supabase.visited.wait(5)
    for _ in range(3):
        assert who(signed(claim(), "ES256")) == user
        assert who(own(user)) == user
    assert not answers
    thread.join(15)
    assert answers == [INVALID_TOKEN]
    assert who(signed(claim(), "ES256")) == user
    # All requests would wait for it, one after another
    assert who(signing_key("stranger").sign(claim(), kid="another")) == INVALID_TOKEN
    assert len(supabase.paths) == 2
