"""System checks of the settings: what is wrong, and what to do about it."""

from typing import Any

import django.db
import jwt
from cryptography.fernet import Fernet
from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, Warning, register
from django.db import connection

from voiceproject.database_errors import in_words

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
def check_deployment(**_: Any) -> list[CheckMessage]:
    keys, secret = settings.SERVICE_API_KEYS, settings.SUPABASE_JWT_SECRET
    is_public = any(map(_is_public_key, keys))
    faults = [
        (any(len(key) < 20 for key in keys), "agencies.W001",
         "A key of SERVICE_API_KEYS has fewer than 20 characters.", RANDOM),
        (is_public, "agencies.W002",
         "A key of SERVICE_API_KEYS is one of Supabase's that browsers are given.", RANDOM),
        (secret and len(secret) < 32, "agencies.W003",
         "SUPABASE_JWT_SECRET has fewer than 32 characters, so it can be guessed from a token.",
         "Copy the whole of it, or give the project a longer one."),
        ("*" in settings.ALLOWED_HOSTS, "voices.W001",
         "DJANGO_ALLOWED_HOSTS lets in any name.", "Name those that this service is reached by."),
        (settings.ADMINS and settings.EMAIL_BACKEND.endswith("dummy.EmailBackend"), "voices.W004",
         "ADMINS get no e-mails, since EMAIL_URL is not set.", "Set it."),
        (0 < len(settings.METRICS_TOKEN) < 20, "voices.W005",
         "METRICS_TOKEN has fewer than 20 characters.", RANDOM),
        (settings.HTTPS and not settings.TRUSTED_PROXIES, "voices.W002",
         "Behind a proxy, pages would redirect to themselves for ever, since no proxy is trusted.",
         "Set DJANGO_TRUSTED_PROXIES to the number of proxies in front."),
    ]  # fmt: skip
    return [Warning(words, hint=hint, id=id) for at_fault, id, words, hint in faults if at_fault]


@register(Tags.database)
def check_database(databases: Any = None, **_: Any) -> list[CheckMessage]:
    """Ask PostgreSQL: the writer of large listings copies them into a temporary table."""
    if not databases or connection.vendor != "postgresql":
        return []
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT has_database_privilege(current_database(), 'TEMP')")
            may_create = cursor.fetchone()[0]
    except django.db.Error as error:
        return [Error(in_words(error), id="voices.E003")]
    words = (
        "The role of DATABASE_URL may not create temporary tables: listings of many voices fail."
    )
    hint = "As the database's owner: GRANT TEMPORARY ON DATABASE <name> TO <role>"
    return [] if may_create else [Warning(words, hint=hint, id="voices.W003")]


def _is_public_key(key: str) -> bool:
    """Return whether it is a token of Supabase's `anon` role, or a key by its new name for that."""
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
