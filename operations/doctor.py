"""Look at everything that a sync needs, and say what to do about what is at fault."""

import time
from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import NamedTuple
from urllib.parse import urlsplit

import django.db
from django.conf import settings
from django.core import checks
from django.core.cache import cache
from django.db import connection
from django_celery_beat.models import PeriodicTask
from redis.exceptions import RedisError

from agencies.credentials import agencies_with_key, get_agency_credentials, has_key
from agencies.models import Agency
from operations import health
from ultravox import check_key
from voiceproject.database import advice_on
from voiceproject.errors import CredentialsUnavailable, KeyRejected, ServiceError

PATIENCE = 15.0  # seconds for database and broker
REMEDIES = {
    "database": "Check DATABASE_URL, and whether the database runs.",
    "migrations": "Run `manage.py migrate`.",
    "broker": "Check CELERY_BROKER_URL, and whether the broker runs.",
    "worker": "Start `celery -A voiceproject worker`, and look at its log.",
    "schedule": "In the admin, under Schedule, enable the periodic task for voices.sync_voices, or add one.",
    "voices": "Sync with `manage.py sync_voices`; the history of syncs in the admin says what failed.",
}
OTHERS_FIRST = "Mend what is at fault above first."
NO_KEYS = "Add an agency with its Ultravox API key in the admin."
UNREADABLE = "Put the key that encrypted it into CREDENTIALS_KEYS, or enter the Ultravox key again."
NEW_KEY = "Enter one that works in the admin."
OVERDUE = timedelta(minutes=10)


class Finding(NamedTuple):
    """What was looked at and what was found; if that is a fault, what to do."""

    subject: str
    found: str = "ok"
    remedy: str = ""


def examine() -> Iterator[Finding]:
    """Yield what is found, as it is. Writes nothing; asks Ultravox for a voice with each agency's key."""
    yield from _told("settings", checks.run_checks(include_deployment_checks=not settings.DEBUG))
    _, words = health.readiness(PATIENCE)
    for subject, word in words.items():
        remedy = OTHERS_FIRST if word == "unknown" else REMEDIES[subject]
        if subject == "database" and word != "ok":
            remedy = _what_fails() or remedy
        yield Finding(subject, word, "" if word == "ok" else remedy)
    if words["migrations"] != "ok":
        yield Finding("encryption keys", "unknown", OTHERS_FIRST)
        return
    yield _beat()
    yield _cache()
    yield from _told(
        "tables", checks.run_checks(tags=[checks.Tags.database], databases=["default"])
    )
    agencies = [agency for agency in agencies_with_key() if has_key(agency)]
    if not agencies:
        yield Finding("agencies", "none has a key", NO_KEYS)
    unreadable = [agency for agency in agencies if not _is_readable(agency)]
    if unreadable:
        names = ", ".join(f"{agency} ({agency.pk})" for agency in unreadable)
        yield Finding("encryption keys", f"the key of {names} cannot be read", UNREADABLE)
    else:
        yield Finding("encryption keys")
    for agency in agencies:
        if agency not in unreadable:
            yield _key(agency)


def _what_fails() -> str | None:
    try:
        connection.ensure_connection()
    except django.db.Error as error:
        return advice_on(error)
    return None


def _beat() -> Finding:
    """Look for syncs that are due, and that nobody sends: beat shows itself nowhere else."""
    for task in PeriodicTask.objects.filter(task=health.SYNC, enabled=True):
        remaining = task.schedule.remaining_estimate(task.last_run_at or task.date_changed)
        if remaining < -OVERDUE:
            words = f"a sync has been due for {-remaining // timedelta(minutes=1)} minutes"
            return Finding(
                "beat", words, "Start `celery -A voiceproject beat`, and look at its log."
            )
    return Finding("beat")


def _cache() -> Finding:
    try:
        cache.get("doctor")
    except RedisError:
        return Finding(
            "cache", "unavailable", "Check CACHE_URL: without it, no request is limited."
        )
    return Finding("cache")


def _told(subject: str, found: Sequence[checks.CheckMessage]) -> Iterator[Finding]:
    """Yield what Django's checks say; warnings are told, and are no faults."""
    told = [each for each in found if each.level >= checks.WARNING and not each.is_silenced()]
    for each in told:
        if each.level >= checks.ERROR:
            yield Finding(subject, each.msg, each.hint or "Correct it.")
        else:
            yield Finding(subject, f"{each.msg} {each.hint or ''}".strip())
    if not told:
        yield Finding(subject)


def _is_readable(agency: Agency) -> bool:
    try:
        get_agency_credentials(agency)
    except CredentialsUnavailable:
        return False
    return True


def _key(agency: Agency) -> Finding:
    subject = f"key of {agency} ({agency.pk})"
    try:
        check_key(
            get_agency_credentials(agency),
            api_url=settings.ULTRAVOX_API_URL,
            timeout=settings.ULTRAVOX_TIMEOUT,
            deadline=time.monotonic() + settings.ULTRAVOX_TIMEOUT,
        )
    except KeyRejected as error:
        return Finding(subject, error.message, NEW_KEY)
    except ServiceError as error:
        where = urlsplit(settings.ULTRAVOX_API_URL).hostname
        return Finding(subject, error.message, f"Look at the network, and whether {where} works.")
    return Finding(subject)
