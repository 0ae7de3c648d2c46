"""Unexpected errors to Sentry: what went wrong where, and nothing of what was in play.

By default Sentry sends local variables, bodies, headers and queries, and what was logged before. So an event
is made anew of the parts that are known to hold none of that.
"""

from typing import Any

import sentry_sdk
from django.core.exceptions import ImproperlyConfigured
from sentry_sdk.integrations.atexit import AtexitIntegration
from sentry_sdk.integrations.celery import CeleryIntegration
from sentry_sdk.integrations.django import DjangoIntegration
from sentry_sdk.integrations.logging import ignore_logger
from sentry_sdk.integrations.stdlib import StdlibIntegration
from sentry_sdk.scrubber import DEFAULT_DENYLIST, EventScrubber
from sentry_sdk.types import Event
from sentry_sdk.utils import BadDsn

from voiceproject.logging import formats

KEPT = (
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
SECRETS = [
    "apikey",
    "x-api-key",
    "ultravox_api_key",
    "new_key",
    "key",
    "definition",
    "signature",
    "dsn",
    "credentials_keys",
    "service_api_keys",
    "supabase_jwt_secret",
    "metrics_token",
    "sync_ping_url",
]
QUOTING = ("django.db", "psycopg", "sqlite3")  # modules whose errors quote rows


def start(dsn: str) -> None:
    """Send this process's unexpected errors there. Raises ImproperlyConfigured for a malformed DSN."""
    try:
        sentry_sdk.init(
            dsn=dsn,
            before_send=_without_secrets,
            max_breadcrumbs=0,
            send_default_pii=False,
            include_local_variables=False,
            max_request_body_size="never",
            event_scrubber=EventScrubber([*DEFAULT_DENYLIST, *SECRETS], recursive=True),
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
    ignore_logger("django.security.DisallowedHost")  # strangers', not ours


def _without_secrets(event: Event, hint: dict[str, Any]) -> Event | None:
    """Return what may be sent of an event; None of answers such as 502, which are expected."""
    if event.get("logger") == "django.request" and "exception" not in event:
        return None
    sent: Any = {name: event[name] for name in KEPT if name in event}  # type: ignore[literal-required]
    if entry := event.get("logentry"):
        sent["logentry"] = {"formatted": entry.get("formatted") or entry.get("message")}
    if request := event.get("request"):
        sent["request"] = {name: request[name] for name in ("method", "url") if name in request}
    for error in sent.get("exception", {}).get("values", []):
        if (error.get("module") or "").startswith(QUOTING):
            error["value"] = ""
    sent["tags"] = {"request_id": formats.request_id.get(), "run": formats.run.get()}
    return sent
