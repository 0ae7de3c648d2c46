"""The only code that talks to Ultravox."""

from voices.ultravox.client import KeyRejected, Page, UltravoxClient
from voices.ultravox.transport import UltravoxError

__all__ = ["KeyRejected", "Page", "UltravoxClient", "UltravoxError"]
