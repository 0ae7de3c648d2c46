"""Authenticate users by their tokens: this service's (simplejwt) and Supabase Auth's.

A token names its own algorithm, so each algorithm is accepted only with its own kind of key: HS256 with
SUPABASE_JWT_SECRET, ES256 with an EC key and RS256 with an RSA key of Supabase's key set. Supabase signs
its `anon` and `service_role` keys with the same secret; the claims `aud`, `role` and `sub` reject them.
Source: https://supabase.com/docs/guides/auth/jwts
"""

from typing import Any, cast
from uuid import UUID

import jwt
from django.conf import settings
from django.core.exceptions import ValidationError
from rest_framework.exceptions import AuthenticationFailed
from rest_framework_simplejwt.authentication import JWTAuthentication
from rest_framework_simplejwt.exceptions import TokenError
from rest_framework_simplejwt.tokens import AccessToken

from agencies.jwks import key_set
from agencies.models import User
from voiceproject.errors import InvalidToken

KEY_TYPES = {"ES256": "EC", "RS256": "RSA"}
# Malicious tokens make PyJWT and simplejwt raise more than their own errors.
MALFORMED = (jwt.PyJWTError, TokenError, ValueError, TypeError, OverflowError, RecursionError)


def authenticate_token(token: str) -> User:
    """Return the active user that the token identifies. Raises InvalidToken."""
    try:
        access_token = AccessToken(token)  # type: ignore[arg-type]  # simplejwt's annotation is too narrow
    except MALFORMED:
        return _authenticate_supabase_token(token)
    try:
        return cast(User, JWTAuthentication().get_user(access_token))
    except (AuthenticationFailed, ValidationError) as error:
        raise InvalidToken() from error


def _authenticate_supabase_token(token: str) -> User:
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
    key: Any = None
    if algorithm == "HS256" and settings.SUPABASE_JWT_SECRET:
        key = settings.SUPABASE_JWT_SECRET
    elif algorithm in KEY_TYPES and settings.SUPABASE_URL:
        keys = key_set(f"{settings.SUPABASE_URL}/auth/v1/.well-known/jwks.json")
        key = keys.find(header.get("kid"), KEY_TYPES[algorithm])
    if key is None:
        raise InvalidToken()
    return jwt.decode(
        token,
        key,
        algorithms=[header["alg"]],
        audience="authenticated",
        issuer=f"{settings.SUPABASE_URL}/auth/v1" if settings.SUPABASE_URL else None,
        options={"require": ["exp", "sub", "aud"], "verify_iat": False},
    )
