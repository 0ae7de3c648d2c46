"""Check everything that a sync needs, and name the remedy for each fault."""

import time
from collections.abc import Iterator, Sequence
from typing import NamedTuple
from urllib.parse import urlsplit

from django.conf import settings
from django.core import checks
from django.core.cache import cache
from redis.exceptions import RedisError

from agencies.credentials import agencies_with_key, get_agency_credentials
from operations import health
from ultravox import check_key
from voiceproject.errors import CredentialsUnavailable, KeyRejected, NoApiKey, UltravoxError
from voices.checks import check_database

TIMEOUT = 15.0  # seconds for the database and the broker
REMEDIES = {
    ("database", "unavailable"): "Check DATABASE_URL, and that the database is running.",
    ("migrations", "unapplied"): "Run `manage.py migrate`.",
    ("broker", "unavailable"): "Check CELERY_BROKER_URL, and that the broker is running.",
    ("worker", "none"): "Start `celery -A voiceproject worker`, and look at its log.",
    ("schedule", "none"): "In the admin, add a periodic task for voices.sync_voices.",
    ("schedule", "disabled"): "In the admin, enable the periodic task for voices.sync_voices.",
    ("schedule", "stale"): "Start `celery -A voiceproject beat`, and look at its log.",
    ("voices", "stale"): "Run `manage.py sync_voices`. The admin shows why earlier syncs failed.",
}
OTHERS_FIRST = "Fix the faults above first."
NO_CACHE = "Check CACHE_URL, and that Redis is running. Rate limits do not work without it."
NO_KEYS = "In the admin, add an agency with its Ultravox API key."
UNREADABLE = "Add the Fernet key that encrypted it to CREDENTIALS_KEYS, or enter the API key again."
REJECTED = "In the admin, enter an API key that works."


class Finding(NamedTuple):
    """The status of one subject, and the remedy if it is a fault."""

    subject: str
    status: str = "ok"
    remedy: str = ""


def diagnose() -> Iterator[Finding]:
    """Yield a finding for each check. Writes nothing, and requests one voice with each agency's key."""
    messages = checks.run_checks(include_deployment_checks=not settings.DEBUG)
    yield from _system_checks("settings", messages)
    _, statuses = health.readiness(TIMEOUT)
    for subject, status in statuses.items():
        remedy = "" if status in health.NO_FAULT else REMEDIES.get((subject, status), OTHERS_FIRST)
        if subject == "database" and remedy:
            [remedy] = [fault.msg for fault in check_database(databases=["default"])] or [remedy]
        yield Finding(subject, status, remedy)
    if statuses["migrations"] != "ok":
        yield Finding("encryption keys", "unknown", OTHERS_FIRST)
        return
    yield _check_cache()
    messages = checks.run_checks(tags=[checks.Tags.database], databases=["default"])
    yield from _system_checks("tables", messages)
    yield from _check_keys()


def _system_checks(subject: str, messages: Sequence[checks.CheckMessage]) -> Iterator[Finding]:
    """Yield Django's check messages; warnings are not faults."""
    visible = [message for message in messages if not message.is_silenced()]
    for message in visible:
        if message.level >= checks.ERROR:
            yield Finding(subject, message.msg, message.hint or "Correct it.")
        else:
            yield Finding(subject, f"{message.msg} {message.hint or ''}".strip())
    if not visible:
        yield Finding(subject)


def _check_cache() -> Finding:
    try:
        cache.get("doctor")
    except RedisError:
        return Finding("cache", "unavailable", NO_CACHE)
    return Finding("cache")


def _check_keys() -> Iterator[Finding]:
    keys: dict[str, str] = {}
    unreadable: list[str] = []
    for agency in agencies_with_key():
        name = f"{agency} ({agency.pk})"
        try:
            keys[name] = get_agency_credentials(agency)
        except NoApiKey:  # it is blank
            continue
        except CredentialsUnavailable:
            unreadable.append(name)
    if not (keys or unreadable):
        yield Finding("agencies", "no agency has a key", NO_KEYS)
    if unreadable:
        status = f"cannot decrypt the API key of {', '.join(unreadable)}"
        yield Finding("encryption keys", status, UNREADABLE)
    else:
        yield Finding("encryption keys")
    for name, key in keys.items():
        yield _check_key(f"key of {name}", key)


def _check_key(subject: str, key: str) -> Finding:
    try:
        check_key(
            key,
            api_url=settings.ULTRAVOX_API_URL,
            timeout=settings.ULTRAVOX_TIMEOUT,
            deadline=time.monotonic() + settings.ULTRAVOX_TIMEOUT,
        )
    except KeyRejected as error:
        return Finding(subject, error.message, REJECTED)
    except UltravoxError as error:
        host = urlsplit(settings.ULTRAVOX_API_URL).hostname
        return Finding(subject, error.message, f"Check the network, and that {host} is up.")
    return Finding(subject)
