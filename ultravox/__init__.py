"""The client for the Ultravox API, independent of Django's models."""

from ultravox.client import KEY_STATUSES, REDIRECT_STATUSES, UltravoxClient
from ultravox.keys import check_key
from ultravox.preview import get_preview
from ultravox.transport import server_of

__all__ = [
    "KEY_STATUSES",
    "REDIRECT_STATUSES",
    "UltravoxClient",
    "check_key",
    "get_preview",
    "server_of",
]
