"""System checks of the settings for keys and tokens."""

from typing import Any
from urllib.parse import urlsplit

from cryptography.fernet import Fernet
from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning, register

HOW_TO = (
    "Make one with `python -c 'from cryptography.fernet import Fernet; "
    "print(Fernet.generate_key().decode())'`, and put it first, before the keys that are in use."
)


@register
def check_credentials_keys(**kwargs: Any) -> list[CheckMessage]:
    if not settings.CREDENTIALS_KEYS:
        return [Error("CREDENTIALS_KEYS is not set.", hint=HOW_TO, id="agencies.E001")]
    return [
        Error(
            f"Key {number} of CREDENTIALS_KEYS is not a Fernet key (32 bytes in URL-safe base64).",
            hint=HOW_TO,
            id="agencies.E002",
        )
        for number, key in enumerate(settings.CREDENTIALS_KEYS, 1)
        if not _is_fernet_key(key)
    ]


def _is_fernet_key(key: str) -> bool:
    try:
        Fernet(key)
    except ValueError:
        return False
    return True


@register
def check_supabase(**kwargs: Any) -> list[CheckMessage]:
    messages: list[CheckMessage] = []
    if settings.SUPABASE_URL and not _is_http_url(settings.SUPABASE_URL):
        messages.append(
            Error(
                "SUPABASE_URL is not an http or https URL.",
                hint="It looks like https://<project>.supabase.co",
                id="agencies.E003",
            )
        )
    if settings.SUPABASE_JWT_SECRET and settings.SUPABASE_JWT_SECRET == settings.SECRET_KEY:
        messages.append(
            Error(
                "SUPABASE_JWT_SECRET and DJANGO_SECRET_KEY are the same.",
                hint="Give DJANGO_SECRET_KEY a value of its own.",
                id="agencies.E004",
            )
        )
    return messages


def _is_http_url(url: str) -> bool:
    try:
        return urlsplit(url).scheme in ("http", "https")
    except ValueError:
        return False


@register(deploy=True)
def check_service_keys(**kwargs: Any) -> list[CheckMessage]:
    if all(len(key) >= 20 for key in settings.SERVICE_API_KEYS):
        return []
    return [
        Warning(
            "A key of SERVICE_API_KEYS has fewer than 20 characters.",
            hint="Use the output of `python -c 'import secrets; print(secrets.token_urlsafe(32))'`.",
            id="agencies.W001",
        )
    ]
