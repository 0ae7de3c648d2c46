"""Signed links to previews, which an `<audio>` element plays without a header or a cookie.

A signature stays the same for an hour, so that lists keep their ETag and browsers their cached audio. It is
valid until the end of the next hour. It names the caller whose agency's key is used for the preview.
"""

import re
import time
from collections.abc import Callable
from urllib.parse import quote

from django.core.signing import BadSignature, Signer
from rest_framework.request import Request

from agencies.authentication import Service
from agencies.models import User

HOUR = 3600  # seconds
SIGNATURE = re.compile(r"(([0-9a-f]{1,9})\.([0-9a-z-]{1,36})):([\w-]+)\Z", re.ASCII)

_signer = Signer(salt="voices.preview")


def preview_links(request: Request) -> Callable[[str, str | None], str | None]:
    """Return a function that signs the URL of a preview for the caller, given a voice's id and `preview_url`.

    It returns None for a voice without a preview, and for an id that cannot be part of a URL's path.
    """
    start = request.build_absolute_uri("/api/voices/")
    prefix = f"{_hour():x}.{request.user.pk}"

    def link(voice_id: str, preview_url: str | None) -> str | None:
        if preview_url is None or "/" in voice_id or voice_id in (".", ".."):
            return None
        signature = _signer.signature(f"{prefix}:{voice_id}")
        return f"{start}{quote(voice_id, safe='')}/preview?signature={prefix}:{signature}"

    return link


def caller_of_link(signature: str, voice_id: str) -> User | Service | None:
    """Return the caller of a valid link, who may be a deleted user; None if it is invalid or expired."""
    parts = SIGNATURE.match(signature)
    if not parts:
        return None
    prefix, hour, pk, code = parts.groups()
    try:
        _signer.unsign(f"{prefix}:{voice_id}:{code}")
    except BadSignature:
        return None
    if int(hour, 16) - _hour() not in (-1, 0, 1):  # 1 if another machine's clock is ahead
        return None
    return Service() if pk == Service.pk else User.objects.filter(pk=pk).first() or User(pk=pk)


def _hour() -> int:
    return int(time.time()) // HOUR
