"""Settings of the sync, verified as system checks."""

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
    for name in (
        "ULTRAVOX_TIMEOUT",
        "ULTRAVOX_DEADLINE",
        "ULTRAVOX_MAX_PAGES",
        "ULTRAVOX_MAX_PAGE_BYTES",
        "ULTRAVOX_MAX_BYTES",
    ):
        if not getattr(settings, name) > 0:
            messages.append(Error(f"{name} is not above 0.", id="voices.E002"))
    return messages
