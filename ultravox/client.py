"""List Ultravox's voices, page by page.

Source: Ultravox's OpenAPI description of `GET /api/voices`.
"""

import json
import logging
import random
import threading
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass
from itertools import islice
from typing import Any
from urllib.parse import urlencode

from urllib3.exceptions import InvalidHeader
from urllib3.util import Retry

from ultravox.transport import Response, Transport
from voiceproject.errors import KeyRejected, UltravoxError
from voiceproject.threads import read_ahead

logger = logging.getLogger(__name__)

PAGE_SIZE = 100  # voices
MAX_PAGES = 10_000  # of one listing
MAX_PAGE_BYTES = 32 << 20  # decompressed
MAX_BYTES = 512 << 20  # of one listing, decompressed
MAX_TOTAL = 1 << 31  # a larger `total` is ignored
HEADERS = {
    "Accept": "application/json",
    "Accept-Encoding": "gzip, deflate",
    "User-Agent": "voices-sync",
}
RETRIES = 3  # of one page
RETRY_STATUSES = frozenset({429, 500, 502, 503, 504})
KEY_STATUSES = frozenset({401, 402, 403, 429})  # revoked, unpaid, forbidden, over its limit
REDIRECT_STATUSES = frozenset({301, 302, 303, 307, 308})
MAX_REDIRECTS = 5  # of one page
BACKOFF = 0.5  # seconds before the first retry, doubled for each further one
MAX_DIGITS = 1000  # longer integers stay text; Python converts at most 4,300 digits

PROBLEM = "Ultravox had a problem ({}). Your voices are unchanged. Try again later."
TOO_LATE = "Ultravox took too long. Your voices are unchanged. Try again later."
TOO_LONG = "Ultravox's list of voices has more than {}."
KEY_REJECTED = "Ultravox rejected your agency's API key. Ask an administrator to update it. ({})"


@dataclass(frozen=True, slots=True)
class Page:
    """One page: its records, the URL of the next page, the total number of voices, its size in bytes."""

    records: list[Any]
    next: str | None
    total: int | None
    size: int


@dataclass(kw_only=True, repr=False)
class UltravoxClient:
    """List the voices that an API key can see.

    `timeout`, in seconds, is for one request. `deadline`, on the monotonic clock, is for the whole listing.
    `retries` counts the repeated requests.
    """

    api_url: str
    api_key: str
    timeout: float
    deadline: float
    page_size: int = PAGE_SIZE

    def __post_init__(self) -> None:
        self._transport = Transport(self.api_url)
        self._headers = HEADERS | {"X-API-Key": self.api_key}
        self._cancelled = threading.Event()
        self.retries = 0

    def pages(
        self, *, tick: Callable[[], object] = lambda: None, most: int | None = None
    ) -> Generator[Page, None, None]:
        """Yield the pages of the listing, at most `most`. A thread fetches the next page ahead of time.

        While waiting, calls `tick` in the caller's thread, several times a second. Raises KeyRejected if
        Ultravox rejects the key, and UltravoxError if the listing is incomplete.
        """

        def check_time() -> None:
            self._transport.cancel_if_late()
            if time.monotonic() > self.deadline + 1:  # a DNS lookup cannot be cancelled
                raise UltravoxError(TOO_LATE)
            tick()

        def cancel() -> None:
            self._cancelled.set()
            self._transport.cancel()

        try:
            yield from read_ahead(islice(self._pages(), most), tick=check_time, cancel=cancel)
        finally:
            self._transport.close()

    def _pages(self) -> Generator[Page, None, None]:
        query = urlencode({"pageSize": self.page_size, "limit": self.page_size})
        first = f"{self.api_url.rstrip('/')}/api/voices?{query}"
        url: str | None = self._transport.resolve(first, first)
        seen: set[str] = set()
        size = 0
        while url:
            if url in seen:
                raise UltravoxError("Ultravox's list of voices repeats a page.")
            if len(seen) >= MAX_PAGES:
                raise UltravoxError(TOO_LONG.format(f"{MAX_PAGES} pages"))
            seen.add(url)
            page = self._retry(url)
            size += page.size
            if size > MAX_BYTES:
                raise UltravoxError(TOO_LONG.format(f"{MAX_BYTES} bytes"))
            yield page
            url = page.next

    def _retry(self, url: str) -> Page:
        """Return a page. Retries transient errors up to RETRIES times."""
        attempt = 0
        while True:
            try:
                return self._get(url)
            except UltravoxError as error:
                delay = error.delay
                if delay is None:
                    delay = BACKOFF * 2**attempt * random.uniform(0.75, 1.25)  # noqa: S311
                is_late = time.monotonic() + delay >= self.deadline
                if not error.is_transient or attempt == RETRIES or is_late:
                    raise
                logger.info("Retrying a page in %.1f seconds: %s", delay, error)
                if self._cancelled.wait(delay):
                    raise
            attempt += 1
            self.retries += 1

    def _get(self, url: str) -> Page:
        """Return a page. Follows redirects on Ultravox's own server."""
        for _ in range(MAX_REDIRECTS + 1):
            ends_at = min(time.monotonic() + self.timeout, self.deadline)
            try:
                response = self._transport.get(
                    url, headers=self._headers, ends_at=ends_at, max_bytes=MAX_PAGE_BYTES
                )
            except UltravoxError as error:
                if error.is_transient and time.monotonic() >= self.deadline:
                    raise UltravoxError(TOO_LATE) from error
                raise
            if response.status not in REDIRECT_STATUSES:
                return self._parse(url, response)
            url = self._transport.resolve(url, response.headers.get("Location", ""))
        raise UltravoxError("Ultravox redirected too many times.")

    def _parse(self, url: str, response: Response) -> Page:
        if response.status != 200:
            raise _status_error(response)
        try:
            content = json.loads(response.body.decode("utf-8-sig"), parse_int=_parse_int)
        except (ValueError, RecursionError) as error:
            message = PROBLEM.format("the response is not JSON")
            raise UltravoxError(message, is_transient=response.may_be_cut_off) from error
        if not (
            isinstance(content, dict)
            and isinstance(content.get("results"), list)
            and isinstance(content.get("next"), str | None)
        ):
            raise UltravoxError(PROBLEM.format("the response is not a page of voices"))
        next_url, total = content.get("next"), content.get("total")
        return Page(
            content["results"],
            self._transport.resolve(url, next_url) if next_url else None,
            total if isinstance(total, int) and total in range(MAX_TOTAL) else None,
            len(response.body),
        )


def _parse_int(digits: str) -> int | str:
    return int(digits) if len(digits) <= MAX_DIGITS else digits


def _status_error(response: Response) -> UltravoxError:
    status = response.status
    is_transient = status in RETRY_STATUSES
    delay = _retry_after(response.headers.get("Retry-After", "")) if is_transient else None
    kind, message = UltravoxError, PROBLEM
    if status in KEY_STATUSES:
        kind, message = KeyRejected, KEY_REJECTED
    return kind(message.format(status), is_transient=is_transient, delay=delay)


def _retry_after(value: str) -> float | None:
    """Return the seconds to wait; `value` is a number or an HTTP date. None if it is neither."""
    try:
        return float(Retry().parse_retry_after(value))
    except (InvalidHeader, ValueError, OverflowError):
        return None
