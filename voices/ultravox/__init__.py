"""The only code that talks to Ultravox."""

from voices.ultravox.client import (
    KEY_STATUSES,
    REDIRECT_STATUSES,
    KeyRejected,
    Page,
    UltravoxClient,
)
from voices.ultravox.preview import get_preview
from voices.ultravox.transport import Response, UltravoxError, server_of

__all__ = [
    "KEY_STATUSES", "REDIRECT_STATUSES", "KeyRejected", "Page", "Response", "UltravoxClient", "UltravoxError",
    "get_preview", "server_of",
]  # fmt: skip
