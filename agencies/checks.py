"""System checks of keys, secrets and tokens."""

from collections.abc import Iterator

import jwt
from cryptography.fernet import Fernet
from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning, register

FERNET_HINT = (
    "Create one with `python -c 'from cryptography.fernet import Fernet; "
    "print(Fernet.generate_key().decode())'`, and put it first, before the keys in use."
)
RANDOM_HINT = "Use the output of `python -c 'import secrets; print(secrets.token_urlsafe(32))'`."


@register
def check_secrets(**_: object) -> Iterator[CheckMessage]:
    if not settings.CREDENTIALS_KEYS:
        yield Error("CREDENTIALS_KEYS is not set.", hint=FERNET_HINT, id="agencies.E001")
    for number, key in enumerate(settings.CREDENTIALS_KEYS, 1):
        if not _is_fernet_key(key):
            message = f"Key {number} of CREDENTIALS_KEYS is not a Fernet key (32 bytes in URL-safe base64)."
            yield Error(message, hint=FERNET_HINT, id="agencies.E002")
    if settings.SUPABASE_JWT_SECRET and settings.SUPABASE_JWT_SECRET == settings.SECRET_KEY:
        message = "SUPABASE_JWT_SECRET and DJANGO_SECRET_KEY are the same."
        hint = "Set DJANGO_SECRET_KEY to a different value."
        yield Error(message, hint=hint, id="agencies.E004")


@register(deploy=True)
def check_strength(**_: object) -> Iterator[CheckMessage]:
    if any(len(key) < 20 for key in settings.SERVICE_API_KEYS):
        message = "A key in SERVICE_API_KEYS has fewer than 20 characters."
        yield Warning(message, hint=RANDOM_HINT, id="agencies.W001")
    if any(map(_is_public_key, settings.SERVICE_API_KEYS)):
        message = "A key in SERVICE_API_KEYS is a public Supabase key, which anyone can read in a browser."
        yield Warning(message, hint=RANDOM_HINT, id="agencies.W002")
    if 0 < len(settings.SUPABASE_JWT_SECRET) < 32:
        message = (
            "SUPABASE_JWT_SECRET has fewer than 32 characters: it can be guessed from a token."
        )
        hint = "Copy the whole secret, or set a longer one in Supabase."
        yield Warning(message, hint=hint, id="agencies.W003")


def _is_public_key(key: str) -> bool:
    """Return whether the key is Supabase's anon key (a JWT), or its successor, the publishable key."""
    try:
        role = jwt.decode(key, options={"verify_signature": False}).get("role")
    except jwt.PyJWTError:
        return key.startswith("sb_publishable_")
    return role in ("anon", "authenticated")


def _is_fernet_key(key: str) -> bool:
    try:
        return bool(Fernet(key))
    except ValueError:
        return False
