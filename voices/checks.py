"""System checks of the sync's settings."""

from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.core.checks import CheckMessage, Error, register


@register
def check_ultravox(**kwargs: Any) -> list[CheckMessage]:
    messages: list[CheckMessage] = []
    try:
        url = urlsplit(settings.ULTRAVOX_API_URL)
        usable = url.scheme in ("http", "https") and bool(url.hostname)
    except ValueError:
        usable = False
    if not usable:
        messages.append(
            Error(
                "ULTRAVOX_API_URL is not an http or https URL.",
                hint="Leave it out for https://api.ultravox.ai",
                id="voices.E001",
            )
        )
    return messages


@register
def check_broker(**kwargs: Any) -> list[CheckMessage]:
    from kombu.transport import TRANSPORT_ALIASES  # commands that skip checks do without it

    if settings.CELERY_BROKER_URL.partition("://")[0] in TRANSPORT_ALIASES:
        return []
    return [
        Error(
            "CELERY_BROKER_URL names no broker that Celery knows.",
            hint="It begins with redis:// or amqp://; leave it out for the embedded broker.",
            id="voices.E002",
        )
    ]
