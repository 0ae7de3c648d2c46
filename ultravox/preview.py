"""Ask Ultravox for a voice's preview, once.

Source: Ultravox's OpenAPI description of `GET /api/voices/{voice_id}/preview`.
"""

import time
from collections.abc import Iterator
from contextlib import closing

from ultravox.transport import Response, Transport
from voiceproject.errors import UltravoxError
from voiceproject.threads import read_ahead

HEADERS = {"Accept": "audio/*, */*", "User-Agent": "voices-sync"}


def get_preview(
    url: str, *, api_url: str, api_key: str, timeout: float, max_bytes: int
) -> Response:
    """Return Ultravox's answer at `url`, of whatever status, within `timeout` seconds in all.

    Follows no redirect. Raises UltravoxError if none came, or one of more than `max_bytes`.
    """
    transport = Transport(api_url)
    ends_at = time.monotonic() + timeout
    headers = HEADERS | {"X-API-Key": api_key}

    def answer() -> Iterator[Response]:
        target = transport.resolve(url, url)
        yield transport.get(target, headers=headers, ends_at=ends_at, max_bytes=max_bytes)

    def watch() -> None:
        transport.cut_if_late()
        if time.monotonic() > ends_at + 1:  # a name lookup, for one, cannot be cut
            raise UltravoxError(is_transient=True)

    try:
        with closing(read_ahead(answer(), tick=watch, cancel=transport.cut)) as answers:
            return next(answers)
    finally:
        transport.close()
