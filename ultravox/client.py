"""Read the listing of Ultravox's voices, page by page, whatever the other side does.

Source: Ultravox's OpenAPI description of `GET /api/voices`.
"""

import contextlib
import json
import logging
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Generator
from dataclasses import dataclass
from itertools import islice
from typing import Any
from urllib.parse import urlencode

import orjson
from urllib3.exceptions import InvalidHeader
from urllib3.util import Retry

from ultravox.transport import Response, Transport
from voiceproject.errors import KeyRejected, UltravoxError
from voiceproject.threads import read_ahead

logger = logging.getLogger(__name__)

PAGE_SIZE = 100  # voices
MAX_PAGES = 10_000  # of one listing
MAX_PAGE_BYTES, MAX_BYTES = 32 << 20, 512 << 20  # of one page, and of one listing, decompressed
MAX_TOTAL = 1 << 31  # what is not below it, is no number of voices
HEADERS = {
    "Accept": "application/json",
    "Accept-Encoding": "gzip, deflate",
    "User-Agent": "voices-sync",
}
RETRIES = 3  # of one page
RETRIED_STATUSES = frozenset({429, 500, 502, 503, 504})
KEY_STATUSES = frozenset({401, 402, 403, 429})  # revoked, unpaid, forbidden, used up
REDIRECT_STATUSES = frozenset({301, 302, 303, 307, 308})
MAX_REDIRECTS = 5  # of one page
BACKOFF = 0.5  # seconds before the first retry, doubled for each further one
MAX_DIGITS = 1000  # of an integer that is read as a number
# orjson reads an integer of more than 64 bits as a float. Turning all digits into zeros and searching
# for that many of them costs a tenth of a regular expression.
ZEROS = bytes.maketrans(b"123456789", b"000000000")
LONG_NUMBER = b"0" * len(str(2**63))


@dataclass(frozen=True, slots=True)
class Page:
    """Its records as JSON values, the next page's URL, how many voices there are, its bytes."""

    records: list[Any]
    next: str | None
    total: int | None
    size: int


@dataclass(kw_only=True, repr=False)
class UltravoxClient:
    """List the voices that an API key sees.

    `timeout`, in seconds, is for one request; `deadline`, on the monotonic clock, for the whole listing.
    Meanwhile, `retries` counts those of pages, and `answers` Ultravox's by status: "2xx", "3xx", "4xx",
    "429", "5xx", and "none" where none came whole.
    """

    api_url: str
    api_key: str
    timeout: float
    deadline: float
    page_size: int = PAGE_SIZE

    def __post_init__(self) -> None:
        self._transport = Transport(self.api_url)
        self._headers = HEADERS | {"X-API-Key": self.api_key}
        self._stopped = threading.Event()
        self.retries = 0
        self.answers: Counter[str] = Counter()

    def pages(
        self, *, tick: Callable[[], object] = lambda: None, most: int | None = None
    ) -> Generator[Page, None, None]:
        """Yield the listing's pages, with records as Ultravox sent them; `most` of them, if given.

        Calls `tick` several times a second while waiting. Raises KeyRejected if Ultravox refuses the
        key, and UltravoxError if the listing does not arrive whole.
        """

        def watch() -> None:
            self._transport.cut_if_late()
            if time.monotonic() > self.deadline + 1:  # a name lookup, for one, cannot be cut
                raise _too_late()
            tick()

        def stop() -> None:
            self._stopped.set()
            self._transport.cut()

        try:
            yield from read_ahead(islice(self._pages(), most), tick=watch, cancel=stop)
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
                raise UltravoxError("Ultravox's list of voices leads back to itself.")
            if len(seen) >= MAX_PAGES:
                raise _too_long(f"{MAX_PAGES} pages")
            seen.add(url)
            page = self._page(url)
            size += page.size
            if size > MAX_BYTES:
                raise _too_long(f"{MAX_BYTES} bytes")
            yield page
            url = page.next

    def _page(self, url: str) -> Page:
        """Return a page, after up to RETRIES retries."""
        attempt = 0
        while True:
            try:
                return self._request(url)
            except UltravoxError as error:
                delay = error.delay
                if delay is None:
                    delay = BACKOFF * 2**attempt * random.uniform(0.75, 1.25)  # noqa: S311
                is_late = time.monotonic() + delay >= self.deadline
                if not error.is_transient or attempt == RETRIES or is_late:
                    raise
                logger.info("Retrying a page in %.1f seconds: %s", delay, error)
                if self._stopped.wait(delay):
                    raise
                self.retries += 1
            attempt += 1

    def _request(self, url: str) -> Page:
        """Return a page, following redirects that stay with Ultravox."""
        for _ in range(MAX_REDIRECTS + 1):
            ends_at = min(time.monotonic() + self.timeout, self.deadline)
            try:
                response = self._transport.get(
                    url, headers=self._headers, ends_at=ends_at, max_bytes=MAX_PAGE_BYTES
                )
            except UltravoxError as error:
                self.answers["none"] += 1
                if error.is_transient and time.monotonic() >= self.deadline:
                    raise _too_late() from error
                raise
            status = response.status
            self.answers["429" if status == 429 else f"{status // 100}xx"] += 1
            if status not in REDIRECT_STATUSES:
                return self._read(url, response)
            url = self._transport.resolve(url, response.headers.get("Location", ""))
        raise UltravoxError("Ultravox redirects without end.")

    def _read(self, url: str, response: Response) -> Page:
        if response.status != 200:
            raise _status_error(response)
        try:
            content = _parse(response.body)
        except (ValueError, RecursionError) as error:
            raise UltravoxError(
                "Ultravox's answer is not JSON.", is_transient=response.may_be_cut_off
            ) from error
        if not (
            isinstance(content, dict)
            and isinstance(content.get("results"), list)
            and isinstance(content.get("next"), str | None)
        ):
            raise UltravoxError("Ultravox's answer is not a page of voices.")
        next_url, total = content.get("next"), content.get("total")
        return Page(
            content["results"],
            self._transport.resolve(url, next_url) if next_url else None,
            total if isinstance(total, int) and total in range(MAX_TOTAL) else None,
            len(response.body),
        )


def _too_long(limit: str) -> UltravoxError:
    return UltravoxError(f"Ultravox's list of voices has more than {limit}.")


def _too_late() -> UltravoxError:
    return UltravoxError("Ultravox did not answer in time; nothing was changed. Try again later.")


def _status_error(response: Response) -> UltravoxError:
    status = response.status
    is_transient = status in RETRIED_STATUSES
    delay = _retry_after(response.headers.get("Retry-After", "")) if is_transient else None
    kind, message = UltravoxError, f"Ultravox answered with status {status}; nothing was changed."
    if status in KEY_STATUSES:
        kind = KeyRejected
        message = (
            f"Ultravox refused this API key with status {status}; "
            "ask an administrator to enter one that works."
        )
    return kind(message, is_transient=is_transient, delay=delay)


def _retry_after(value: str) -> float | None:
    """Return how many seconds `Retry-After` asks for, as a number or a date; None if it is neither."""
    try:
        return float(Retry().parse_retry_after(value))
    except (InvalidHeader, ValueError, OverflowError):
        return None


def _parse(body: bytes) -> Any:
    """Parse UTF-8 JSON, with everything that `json` accepts: NaN, lone surrogates, long numbers.

    Raises ValueError and RecursionError.
    """
    body = body.removeprefix(b"\xef\xbb\xbf")
    if LONG_NUMBER not in body.translate(ZEROS):
        # json accepts more than orjson: it decides
        with contextlib.suppress(orjson.JSONDecodeError):
            return orjson.loads(body)
    return json.loads(
        body.decode(), parse_int=lambda digits: int(digits) if len(digits) <= MAX_DIGITS else digits
    )
