"""Read the listing of Ultravox's voices, page after page, whatever the other side does.

Source: Ultravox's OpenAPI description of `GET /api/voices`. Decisions that need defending:

- urllib3's connection pool, not `requests`: a pool is bound to one scheme, host and port, so that
  neither a redirect nor a `next` can take the key elsewhere; it honours no netrc and no proxy
  variable; and its sockets are at hand.
- A socket's timeout is only for one read: a server that sends a byte a second is never late. So a page is
  fetched in a thread, and the caller's thread, which waits for it, shuts the socket down when one request's
  time or the whole deadline is over. The thread ends with the listing, whatever happens.
- The thread is a page or two ahead of the caller: waiting for Ultravox and making rows overlap.
"""

import email.utils
import json
import logging
import math
import os
import random
import socket
import ssl
import threading
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Any
from urllib.parse import urlencode, urljoin, urlsplit

import certifi
import orjson
import urllib3
from urllib3.util import Timeout, Url, parse_url

from voiceproject.errors import ServiceError

logger = logging.getLogger(__name__)

PAGE_SIZE = 100  # voices
RETRIES = 3  # of one page
RETRIED_STATUSES = frozenset({429, 500, 502, 503, 504})
KEY_STATUSES = frozenset({401, 402, 403, 429})  # revoked, unpaid, forbidden, used up
REDIRECT_STATUSES = frozenset({301, 302, 303, 307, 308})
MAX_REDIRECTS = 5  # of one page
BACKOFF = 0.5  # seconds before the first retry, doubled for each further one
TICK = 0.2  # seconds between two looks at a page that is under way
CHUNK = 256 * 1024  # bytes
MAX_DIGITS = 1000  # of an integer that is read as a number
# orjson reads a whole number of more than 64 bits as a float. A search for that many zeros, once all
# digits are zeros, costs a tenth of a regular expression.
ZEROS = bytes.maketrans(b"123456789", b"000000000")
LONG_NUMBER = b"0" * len(str(2**63))
AHEAD = 2  # pages that wait for the caller


class UltravoxError(ServiceError):
    """Report that Ultravox could not be reached, or what it answered that is not a page of voices."""

    code = "ultravox_error"
    status = 502
    message = "Ultravox could not be reached; nothing was changed. Try again later."


class KeyRejected(UltravoxError):
    """Report that Ultravox does not serve this key; another may do."""


class _NotJSON(UltravoxError):
    """Report a body that cannot be parsed."""


class _Retry(Exception):
    """Ask for another try of the page, after `delay` seconds where the server named them."""

    def __init__(self, error: UltravoxError, delay: float | None = None) -> None:
        self.error = error
        self.delay = delay


@dataclass(frozen=True, slots=True)
class Page:
    """One page: its records as JSON values, the next page's URL, and how many voices there are."""

    records: list[Any]
    next: str | None
    total: int | None


class UltravoxClient:
    """List the voices that an API key sees.

    `timeout` is of one request and `deadline` of the whole listing, in seconds from now;
    `max_page_bytes` bounds a page's body once decompressed, `max_bytes` and `max_pages` the listing.
    """

    def __init__(
        self,
        *,
        api_url: str,
        api_key: str,
        timeout: float,
        deadline: float,
        max_page_bytes: int,
        max_bytes: int,
        max_pages: int,
    ) -> None:
        try:
            self._base = parse_url(api_url)
        except urllib3.exceptions.LocationParseError as error:
            raise UltravoxError("The configured address of Ultravox is malformed.") from error
        self._timeout = timeout
        self._deadline = time.monotonic() + deadline
        self._max_page_bytes = max_page_bytes
        self._max_bytes = max_bytes
        self._bytes = 0
        self._max_pages = max_pages
        self._headers = {
            "X-API-Key": api_key,
            "Accept": "application/json",
            "Accept-Encoding": "gzip, deflate",
            "User-Agent": "voices-sync",
        }
        self._line = _Line()
        self._pool = _pool(self._base, self._line)
        self._stopped = threading.Event()
        self._ahead: SimpleQueue[Page | BaseException | None] = SimpleQueue()
        self._room = threading.Semaphore(AHEAD)
        self._request_ends_at = math.inf

    def pages(self, *, tick: Callable[[], object] = lambda: None) -> Generator[Page, None, None]:
        """Yield the pages of the listing until its end, with records as Ultravox sent them.

        Calls `tick` several times a second while it waits. Raises KeyRejected where Ultravox refuses
        the key, UltravoxError where the listing does not arrive whole.
        """
        query = urlencode({"pageSize": PAGE_SIZE, "limit": PAGE_SIZE})
        url = f"{self._base.url.rstrip('/')}/api/voices?{query}"
        reader = threading.Thread(
            target=self._read_ahead, args=(url,), name="ultravox", daemon=True
        )
        reader.start()
        try:
            while page := self._next(tick):
                yield page
        finally:
            self._stopped.set()
            self._room.release()
            self._line.cut()
            reader.join(timeout=1)  # a name look-up, for one, ends by itself
            self._pool.close()
            self._line.close()

    # In the caller's thread

    def _next(self, tick: Callable[[], object]) -> Page | None:
        while True:
            tick()
            try:
                read = self._ahead.get(timeout=TICK)
            except Empty:
                now = time.monotonic()
                if now > self._request_ends_at or now > self._deadline:
                    self._line.cut()
                if now > self._deadline + 1:  # a name look-up, for one, cannot be cut
                    raise _too_late() from None
            else:
                self._room.release()
                if isinstance(read, BaseException):
                    raise read
                return read

    # In the reader's thread

    def _read_ahead(self, first: str) -> None:
        """Queue the pages, then None; or what went wrong."""
        url: str | None = first
        seen: set[str] = set()
        try:
            while url:
                if url in seen:
                    raise UltravoxError("Ultravox's list of voices leads back to itself.")
                if len(seen) >= self._max_pages:
                    raise UltravoxError(
                        f"Ultravox's list of voices has more than {self._max_pages} pages."
                    )
                seen.add(url)
                self._room.acquire()
                page = self._fetch(url)
                self._ahead.put(page)
                url = page.next
            self._ahead.put(None)
        except BaseException as error:
            self._ahead.put(error)

    def _fetch(self, url: str) -> Page:
        """Return one page, after up to RETRIES retries."""
        for attempt in range(RETRIES + 1):
            try:
                return self._request(url)
            except _Retry as retry:
                delay = retry.delay
                if delay is None:
                    delay = BACKOFF * 2**attempt * random.uniform(0.75, 1.25)  # noqa: S311
                if self._stopped.is_set() or self._remaining() <= delay:
                    raise retry.error from None
                if attempt == RETRIES:
                    raise retry.error from None
                logger.info("Retrying a page in %.1f seconds: %s", delay, retry.error)
                self._stopped.wait(delay)
        raise AssertionError("unreachable")

    def _remaining(self) -> float:
        return self._deadline - time.monotonic()

    def _request(self, url: str) -> Page:
        """Return one page, following redirects that stay with Ultravox."""
        for _ in range(MAX_REDIRECTS + 1):
            seconds = min(self._timeout, self._remaining())
            if seconds <= 0 or self._stopped.is_set():
                raise _too_late()
            self._request_ends_at = time.monotonic() + seconds
            try:
                response = self._pool.urlopen(
                    "GET",
                    self._own(url).request_uri,
                    headers=self._headers,
                    retries=False,
                    redirect=False,
                    preload_content=False,
                    timeout=Timeout(connect=seconds, read=seconds),
                )
                try:
                    if response.status in REDIRECT_STATUSES:
                        url = self._follow(url, response.headers.get("Location", ""))
                        continue
                    if response.status != 200:
                        raise _status_error(response)
                    body = self._read(response)
                    ends_by_closing = response.length_remaining is None and not response.chunked
                finally:
                    if response.connection is not None:  # it was not read to its end
                        response.close()
            except urllib3.exceptions.DecodeError as error:
                raise UltravoxError("Ultravox's answer could not be decompressed.") from error
            except (urllib3.exceptions.HTTPError, OSError, ValueError) as error:
                raise _Retry(self._connection_error(error)) from error
            finally:
                self._request_ends_at = math.inf
            try:
                return self._page(url, body)
            except _NotJSON as error:
                # A body that ends where the connection does may have been cut off.
                raise _Retry(error) if ends_by_closing else error from None
        raise UltravoxError("Ultravox redirects without end.")

    def _read(self, response: urllib3.BaseHTTPResponse) -> bytes:
        chunks, size = [], 0
        while chunk := response.read(CHUNK):
            chunks.append(chunk)
            size += len(chunk)
            if size > self._max_page_bytes:
                raise UltravoxError(
                    f"A page of Ultravox's list has more than {self._max_page_bytes} bytes."
                )
        self._bytes += size
        if self._bytes > self._max_bytes:
            raise UltravoxError(f"Ultravox's list of voices has more than {self._max_bytes} bytes.")
        return b"".join(chunks)

    def _connection_error(self, error: Exception) -> UltravoxError:
        logger.info("A request to Ultravox failed: %s", type(error).__name__)
        if self._remaining() <= 0:
            return _too_late()
        if isinstance(error, urllib3.exceptions.SSLError):
            return UltravoxError("The TLS connection to Ultravox failed.")
        return UltravoxError()

    def _follow(self, url: str, reference: str) -> str:
        """Return the address that a page refers to, where it is one of Ultravox."""
        try:
            target = urljoin(url, reference)
            if not reference or (urlsplit(reference).scheme and not urlsplit(reference).netloc):
                raise ValueError(reference)
        except ValueError as error:
            raise UltravoxError(
                "Ultravox's list of voices leads to a malformed address."
            ) from error
        self._own(target)
        return target

    def _own(self, url: str) -> Url:
        """Return the parsed URL where it leads to Ultravox and nowhere else."""
        try:
            parsed = parse_url(url)
        except urllib3.exceptions.LocationParseError as error:
            raise UltravoxError(
                "Ultravox's list of voices leads to a malformed address."
            ) from error
        if parsed.auth is not None or _origin(parsed) != _origin(self._base):
            raise UltravoxError("Ultravox's list of voices leads to another server.")
        return parsed

    def _page(self, url: str, body: bytes) -> Page:
        content = _parse(body)
        if not isinstance(content, dict) or not isinstance(content.get("results"), list):
            raise UltravoxError("Ultravox's answer is not a page of voices.")
        next_url = content.get("next")
        if next_url == "":
            next_url = None
        if next_url is not None:
            if not isinstance(next_url, str):
                raise UltravoxError("Ultravox's answer is not a page of voices.")
            next_url = self._follow(url, next_url)
        total = content.get("total")
        return Page(content["results"], next_url, total if isinstance(total, int) else None)


def _too_late() -> UltravoxError:
    return UltravoxError("Ultravox did not answer in time; nothing was changed. Try again later.")


def _origin(url: Url) -> tuple[str | None, str | None, int | None]:
    return url.scheme, url.host, url.port or {"http": 80, "https": 443}.get(url.scheme or "")


def _status_error(response: urllib3.BaseHTTPResponse) -> Exception:
    status = response.status
    error = UltravoxError(f"Ultravox answered with status {status}; nothing was changed.")
    if status in KEY_STATUSES:
        error = KeyRejected(f"Ultravox refused this API key with status {status}.")
    if status in RETRIED_STATUSES:
        return _Retry(error, _retry_after(response.headers.get("Retry-After", "")))
    return error


def _retry_after(value: str) -> float | None:
    """Return the seconds that `Retry-After` names, as a number or a date; None where it is neither.

    Source: RFC 9110, section 10.2.3.
    """
    value = value.strip()
    if value.isascii() and value.isdigit():
        return float(value) if len(value) < 12 else math.inf
    try:
        return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - time.time())
    except (ValueError, TypeError, OverflowError):
        return None


def _parse(body: bytes) -> Any:
    """Parse JSON in UTF-8, with all that json lets through: NaN, lone surrogates, long numbers."""
    body = body.removeprefix(b"\xef\xbb\xbf")
    if LONG_NUMBER not in body.translate(ZEROS):
        try:
            return orjson.loads(body)
        except orjson.JSONDecodeError:
            pass  # json reads more than orjson, and decides
    try:
        return json.loads(body.decode(), parse_int=_integer)
    except (ValueError, RecursionError) as error:
        raise _NotJSON("Ultravox's answer is not JSON.") from error


def _integer(digits: str) -> int | str:
    return int(digits) if len(digits) <= MAX_DIGITS else digits


class _Line:
    """A second handle on the open socket, by which another thread can shut it down."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None

    def hold(self, sock: socket.socket) -> None:
        with self._lock:
            self._close()
            self._socket = socket.socket(fileno=os.dup(sock.fileno()))

    def cut(self) -> None:
        with self._lock:
            if self._socket is not None:
                try:
                    self._socket.shutdown(socket.SHUT_RDWR)
                except OSError as error:
                    logger.debug("The connection was closed already: %s", error)

    def close(self) -> None:
        with self._lock:
            self._close()

    def _close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None


def _pool(base: Url, line: _Line) -> urllib3.HTTPConnectionPool:
    """Return a pool of one connection to Ultravox, whose socket `line` holds too."""

    class Connection(urllib3.connection.HTTPConnection):
        def _new_conn(self) -> socket.socket:
            sock = super()._new_conn()
            line.hold(sock)
            return sock

    class TLSConnection(Connection, urllib3.connection.HTTPSConnection):
        pass

    if base.scheme == "https":
        context = ssl.create_default_context()
        context.load_verify_locations(certifi.where())
        tls_pool = urllib3.HTTPSConnectionPool(
            base.host or "", base.port, maxsize=1, ssl_context=context
        )
        tls_pool.ConnectionCls = TLSConnection
        return tls_pool
    pool = urllib3.HTTPConnectionPool(base.host or "", base.port, maxsize=1)
    pool.ConnectionCls = Connection
    return pool
