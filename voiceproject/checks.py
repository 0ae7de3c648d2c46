"""System checks of the settings: what is wrong, and what to do about it."""

from typing import Any

from cryptography.fernet import Fernet
from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning, register

FERNET = (
    "Make one with `python -c 'from cryptography.fernet import Fernet; "
    "print(Fernet.generate_key().decode())'`, and put it first, before the keys that are in use."
)
NOT_FERNET = "Key {} of CREDENTIALS_KEYS is not a Fernet key (32 bytes in URL-safe base64)."
RANDOM = "Use the output of `python -c 'import secrets; print(secrets.token_urlsafe(32))'`."


@register
def check_settings(**_: Any) -> list[CheckMessage]:
    from kombu.transport import TRANSPORT_ALIASES  # commands that skip checks do without it

    broker = settings.CELERY_BROKER_URL.partition("://")[0]
    secret = settings.SUPABASE_JWT_SECRET
    faults = [
        (not settings.CREDENTIALS_KEYS, "agencies.E001", "CREDENTIALS_KEYS is not set.", FERNET),
        *(
            (not _is_fernet_key(key), "agencies.E002", NOT_FERNET.format(number), FERNET)
            for number, key in enumerate(settings.CREDENTIALS_KEYS, 1)
        ),
        (secret and secret == settings.SECRET_KEY, "agencies.E004",
         "SUPABASE_JWT_SECRET and DJANGO_SECRET_KEY are the same.",
         "Give DJANGO_SECRET_KEY a value of its own."),
        (broker not in TRANSPORT_ALIASES, "voices.E002",
         "CELERY_BROKER_URL names no broker that Celery knows.",
         "It begins with redis:// or amqp://; leave it out for the embedded broker."),
    ]  # fmt: skip
    return [Error(words, hint=hint, id=id) for at_fault, id, words, hint in faults if at_fault]


@register(deploy=True)
def check_service_keys(**_: Any) -> list[CheckMessage]:
    words = "A key of SERVICE_API_KEYS has fewer than 20 characters."
    is_short = any(len(key) < 20 for key in settings.SERVICE_API_KEYS)
    return [Warning(words, hint=RANDOM, id="agencies.W001")] if is_short else []


def _is_fernet_key(key: str) -> bool:
    try:
        return bool(Fernet(key))
    except ValueError:
        return False
