"""The client of the Ultravox API. Knows no Django model."""

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
