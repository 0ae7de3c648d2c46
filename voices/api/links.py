"""Links to previews that an `<audio>` element plays as they are, without a header or a cookie.

Their signature is the same for an hour, so that lists keep their ETag and browsers the audio; it serves
until the end of the next hour. It names the caller whom it was given to, for whom Ultravox is asked.
"""

import re
import time
from collections.abc import Callable
from urllib.parse import quote

from django.core.signing import BadSignature, Signer
from rest_framework.request import Request

HOUR = 3600  # seconds
SIGNED = re.compile(r"(([0-9a-f]{1,9})\.([0-9a-z-]{1,36})):([\w-]+)\Z", re.ASCII)

_signer = Signer(salt="voices.preview")


def preview_links(request: Request) -> Callable[[str], str]:
    """Return a function of a voice's id: its preview's absolute address, signed for the request's caller."""
    start = request.build_absolute_uri("/api/voices/")
    given = f"{_hour():x}.{request.user.pk}"

    def link(voice_id: str) -> str:
        signature = _signer.signature(f"{given}:{voice_id}")
        return f"{start}{quote(voice_id, safe='')}/preview?signature={given}:{signature}"

    return link


def given_to(signed: str, voice_id: str) -> str | None:
    """Return the primary key of the caller whom a link was given to; None if its signature does not serve.

    Another machine's clock may be in the next hour already.
    """
    parts = SIGNED.match(signed)
    if not parts:
        return None
    given, hour, caller, signature = parts.groups()
    try:
        _signer.unsign(f"{given}:{voice_id}:{signature}")
    except BadSignature:
        return None
    return caller if int(hour, 16) - _hour() in (-1, 0, 1) else None


def _hour() -> int:
    return int(time.time()) // HOUR
