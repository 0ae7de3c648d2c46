"""System checks of the hosts, alerts and the database."""

from collections.abc import Iterator

import django.db
from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, Warning, register
from django.db import connection

from agencies.checks import RANDOM_HINT
from voiceproject.database import explain


@register(deploy=True)
def check_deployment(**_: object) -> Iterator[CheckMessage]:
    if "*" in settings.ALLOWED_HOSTS:
        message = "DJANGO_ALLOWED_HOSTS accepts any host name."
        hint = "List the host names of this service."
        yield Warning(message, hint=hint, id="voices.W001")
    if settings.HTTPS and not settings.TRUSTED_PROXIES:
        message = "DJANGO_HTTPS is on, but no proxy is trusted: pages may redirect to themselves."
        hint = "Set DJANGO_TRUSTED_PROXIES to the number of proxies in front of this service."
        yield Warning(message, hint=hint, id="voices.W002")
    if settings.ADMINS and settings.EMAIL_BACKEND.endswith("dummy.EmailBackend"):
        message = "ADMINS receive no emails, because EMAIL_URL is not set."
        yield Warning(message, hint="Set EMAIL_URL.", id="voices.W004")
    if 0 < len(settings.METRICS_TOKEN) < 20:
        message = "METRICS_TOKEN has fewer than 20 characters."
        yield Warning(message, hint=RANDOM_HINT, id="voices.W005")


@register(Tags.database)
def check_database(databases: object = None, **_: object) -> Iterator[CheckMessage]:
    try:
        if databases:
            connection.ensure_connection()
    except django.db.Error as error:
        yield Error(explain(error), id="voices.E003")
