"""Previews of voices: a public copy, or audio that Ultravox generates and this machine caches."""

from voices.previews.audio import media_type
from voices.previews.cache import remove_unused
from voices.previews.service import fetch_preview

__all__ = ["fetch_preview", "media_type", "remove_unused"]
