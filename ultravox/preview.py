"""Request a voice's preview from Ultravox.

Source: Ultravox's OpenAPI description of `GET /api/voices/{voice_id}/preview`.
"""

import time

from ultravox.transport import Response, Transport
from voiceproject.errors import UltravoxError
from voiceproject.threads import run_in_thread

HEADERS = {"Accept": "audio/*, */*", "User-Agent": "voices-sync"}


def get_preview(
    url: str, *, api_url: str, api_key: str, timeout: float, max_bytes: int
) -> Response:
    """Return Ultravox's response, of any status. Sends one request and follows no redirect.

    `timeout`, in seconds, limits the whole request. Raises UltravoxError if no response arrives in time, or
    if its body has more than `max_bytes`.
    """
    transport = Transport(api_url)
    target = transport.resolve(url, url)
    headers = HEADERS | {"X-API-Key": api_key}
    ends_at = time.monotonic() + timeout

    def request() -> Response:
        return transport.get(target, headers=headers, ends_at=ends_at, max_bytes=max_bytes)

    try:
        return run_in_thread(request, seconds=timeout, cancel=transport.cancel)
    except TimeoutError:
        raise UltravoxError(is_transient=True) from None
    finally:
        transport.close()
