"""Verify users' tokens: our own (simplejwt) and those of Supabase Auth, side by side.

A token names its own algorithm, so each algorithm is tied to its own kind of key here: HS256 to
`SUPABASE_JWT_SECRET`, ES256 and RS256 to an EC and an RSA key of Supabase's key set. Supabase's `anon`
and `service_role` keys are JWTs of the same secret; the claims `aud`, `role` and `sub` keep them out.
Source: https://supabase.com/docs/guides/auth/jwts
"""

import logging
import threading
import time
from functools import cache
from typing import Any
from uuid import UUID

import jwt
import requests
from django.conf import settings
from django.core.exceptions import ValidationError
from rest_framework.exceptions import AuthenticationFailed
from rest_framework_simplejwt.authentication import JWTAuthentication
from rest_framework_simplejwt.exceptions import TokenError
from rest_framework_simplejwt.tokens import AccessToken

from agencies.models import User
from voiceproject.errors import ServiceError

logger = logging.getLogger(__name__)

KEY_TYPES = {"ES256": "EC", "RS256": "RSA"}
# What PyJWT and simplejwt let through of tokens made to break them, besides their own errors.
MALFORMED = (jwt.PyJWTError, TokenError, ValueError, TypeError, OverflowError, RecursionError)


class InvalidToken(ServiceError):
    """Report a bearer token that is not one of an active user of ours."""

    code = "invalid_token"
    status = 401
    message = "The token is invalid or has expired; sign in again."


def user_of_token(token: str) -> User:
    """Return the active user whom the token stands for. Raises InvalidToken."""
    try:
        own = AccessToken(token)  # type: ignore[arg-type]  # simplejwt's annotation is too narrow
    except MALFORMED:
        return _user_of_supabase_token(token)
    try:
        user = JWTAuthentication().get_user(own)
    except (AuthenticationFailed, ValidationError) as error:
        raise InvalidToken() from error
    assert isinstance(user, User)  # noqa: S101
    return user


def _user_of_supabase_token(token: str) -> User:
    try:
        claims = _supabase_claims(token)
        user = User.objects.filter(pk=UUID(claims["sub"]), is_active=True).first()
    except MALFORMED as error:
        raise InvalidToken() from error
    if user is None or claims.get("role", "authenticated") != "authenticated":
        raise InvalidToken()
    return user


def _supabase_claims(token: str) -> dict[str, Any]:
    """Return the verified claims of a Supabase token. Raises one of MALFORMED."""
    header = jwt.get_unverified_header(token)
    algorithm = header.get("alg")
    key: Any
    if algorithm == "HS256" and settings.SUPABASE_JWT_SECRET:
        key = settings.SUPABASE_JWT_SECRET
    elif algorithm in KEY_TYPES and settings.SUPABASE_URL:
        key = key_set(f"{settings.SUPABASE_URL}/auth/v1/.well-known/jwks.json").find(
            header.get("kid"), KEY_TYPES[algorithm]
        )
    else:
        raise InvalidToken()
    return jwt.decode(
        token,
        key,
        algorithms=[algorithm],
        audience="authenticated",
        issuer=f"{settings.SUPABASE_URL}/auth/v1" if settings.SUPABASE_URL else None,
        options={"require": ["exp", "sub", "aud"], "verify_iat": False},
    )


class KeySet:
    """Supabase's public keys, by `kid`, read when they are needed and kept.

    Keys once read go on working while the server is down. A `kid` that is not among them is looked
    up once; strangers, who can make up as many as they like, cause `LOOKUPS` requests in `PERIOD`
    seconds at the most. A key that the server no longer lists is dropped after `LIFETIME` seconds.
    """

    LIFETIME = 600.0
    PERIOD = 30.0
    LOOKUPS = 3
    TIMEOUT = 3.0

    def __init__(self, url: str) -> None:
        self.url = url
        self._lock = threading.Lock()
        self._keys: dict[str, jwt.PyJWK] = {}
        self._unknown: dict[str, float] = {}
        self._lookups: list[float] = []
        self._read_at = -self.LIFETIME

    def find(self, kid: Any, key_type: str) -> Any:
        """Return the public key of that `kid`. Raises InvalidToken where there is none of that type."""
        if not isinstance(kid, str):
            raise InvalidToken()
        now = time.monotonic()
        if kid not in self._keys:
            with self._lock:
                if kid not in self._keys and self._may_look_up(kid, now):
                    self._read()
        elif now - self._read_at > self.LIFETIME and self._lock.acquire(blocking=False):
            try:
                if self._may_look_up(kid, now):
                    self._read()
            finally:
                self._lock.release()
        key = self._keys.get(kid)
        if key is None or key.key_type != key_type:
            raise InvalidToken()
        return key.key

    def _may_look_up(self, kid: str, now: float) -> bool:
        self._lookups = [at for at in self._lookups if now - at < self.PERIOD]
        self._unknown = {k: at for k, at in self._unknown.items() if now - at < self.PERIOD}
        if kid in self._unknown or len(self._lookups) >= self.LOOKUPS:
            return False
        self._lookups.append(now)
        self._unknown[kid] = now
        return True

    def _read(self) -> None:
        try:
            response = requests.get(self.url, timeout=self.TIMEOUT, allow_redirects=False)
            response.raise_for_status()
            keys = jwt.PyJWKSet.from_dict(response.json()).keys
        except (requests.RequestException, *MALFORMED, AttributeError, KeyError) as error:
            logger.warning("The key set %s could not be read: %s", self.url, type(error).__name__)
            return
        self._keys = {key.key_id: key for key in keys if key.key_id}
        self._read_at = time.monotonic()


@cache
def key_set(url: str) -> KeySet:
    """Return the one KeySet of that URL in this process."""
    return KeySet(url)
