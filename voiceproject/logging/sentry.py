"""Unexpected errors to Sentry, without secrets.

By default, Sentry sends local variables, bodies, headers, queries and earlier log lines. Here, only fields
without any of these are sent.
"""

from typing import Any

import sentry_sdk
from django.core.exceptions import ImproperlyConfigured
from sentry_sdk.integrations.atexit import AtexitIntegration
from sentry_sdk.integrations.celery import CeleryIntegration
from sentry_sdk.integrations.django import DjangoIntegration
from sentry_sdk.integrations.logging import ignore_logger
from sentry_sdk.integrations.stdlib import StdlibIntegration
from sentry_sdk.types import Event
from sentry_sdk.utils import BadDsn

from voiceproject.logging import formats

FIELDS = (
    "environment",
    "event_id",
    "exception",
    "level",
    "logger",
    "platform",
    "release",
    "sdk",
    "server_name",
    "timestamp",
    "transaction",
)
DATABASE_MODULES = ("django.db", "psycopg", "sqlite3")  # their errors quote rows


def start(dsn: str) -> None:
    """Send this process's unexpected errors to Sentry. Raises ImproperlyConfigured for a malformed DSN."""
    try:
        sentry_sdk.init(
            dsn=dsn,
            before_send=remove_secrets,
            include_local_variables=False,
            max_request_body_size="never",
            auto_enabling_integrations=False,
            auto_session_tracking=False,
            integrations=[
                DjangoIntegration(),
                CeleryIntegration(),
                AtexitIntegration(callback=lambda pending, timeout: None),  # prints nothing
            ],
            disabled_integrations=[StdlibIntegration()],  # adds headers to requests to Ultravox
        )
    except BadDsn:
        raise ImproperlyConfigured("SENTRY_DSN is malformed: copy it from Sentry.") from None
    ignore_logger("django.security.DisallowedHost")  # caused by strangers


def remove_secrets(event: Event, hint: dict[str, Any]) -> Event | None:
    """Return the event's harmless fields, or None for an expected error response such as 502."""
    if event.get("logger") == "django.request" and "exception" not in event:
        return None
    safe: Any = {name: event[name] for name in FIELDS if name in event}  # type: ignore[literal-required]
    if entry := event.get("logentry"):
        safe["logentry"] = {"formatted": entry.get("formatted") or entry.get("message")}
    if request := event.get("request"):
        safe["request"] = {name: request[name] for name in ("method", "url") if name in request}
    for error in safe.get("exception", {}).get("values", []):
        if (error.get("module") or "").startswith(DATABASE_MODULES):
            error["value"] = ""
    safe["tags"] = {"request_id": formats.request_id.get(), "run": formats.run.get()}
    return safe
