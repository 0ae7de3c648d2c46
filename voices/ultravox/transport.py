"""Requests to one origin, each bounded in time and size.

- urllib3's connection pool, not `requests`: a pool is bound to one scheme, host and port, so that
  nothing takes the key elsewhere; it honours no netrc and no proxy variable; its sockets are at hand.
- A socket's timeout is only for one read: a server that sends a byte a second is never late. So another
  thread shuts the socket down when the request's time is over: `cut_if_late`.
"""

import logging
import math
import os
import socket
import ssl
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urljoin, urlsplit

import certifi
import urllib3
from urllib3.util import Timeout, Url, parse_url

from voiceproject.errors import ServiceError

logger = logging.getLogger(__name__)

CHUNK = 256 * 1024  # bytes
DEFAULT_PORTS = {"http": 80, "https": 443}


class UltravoxError(ServiceError):
    """Report that Ultravox could not be reached, or what it answered that is of no use."""

    code = "ultravox_error"


class Unreachable(UltravoxError):
    """Report a request that got no whole answer; another try may."""


@dataclass(frozen=True, slots=True)
class Response:
    """An answer: its status, its headers, and the body of a 200, once decompressed.

    The body of any other is not read. `may_be_cut_off`: only the connection's end ended the body.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes
    may_be_cut_off: bool


class Transport:
    """A connection to one origin. One thread at a time calls `get`; any calls the others.

    Raises UltravoxError where the base URL is malformed.
    """

    def __init__(self, base_url: str) -> None:
        self.base = _parse(base_url)
        self._line = _Line()
        self._pool = _pool(self.base, self._line)
        self._ends_at = math.inf
        self._closed = False

    def get(
        self, url: str, *, headers: Mapping[str, str], ends_at: float, max_bytes: int
    ) -> Response:
        """Return the answer, which may be a redirect: none is followed.

        `ends_at` is on the monotonic clock. Raises Unreachable, and UltravoxError for another origin's
        URL and for a body of more than `max_bytes`, or one that cannot be decompressed.
        """
        target = self._own(url).request_uri
        seconds = ends_at - time.monotonic()
        if seconds <= 0 or self._closed:
            raise Unreachable()
        self._ends_at = ends_at
        try:
            response = self._pool.urlopen(
                "GET",
                target,
                headers=headers,
                retries=False,
                redirect=False,
                preload_content=False,
                timeout=Timeout(connect=seconds, read=seconds),
            )
            try:
                body = _read(response, max_bytes) if response.status == 200 else b""
                may_be_cut_off = response.length_remaining is None and not response.chunked
            finally:
                if response.connection is not None:  # it was not read to its end
                    response.close()
        except urllib3.exceptions.DecodeError as error:
            raise UltravoxError("Ultravox's answer could not be decompressed.") from error
        except urllib3.exceptions.SSLError as error:
            raise Unreachable("The TLS connection to Ultravox failed.") from error
        except (urllib3.exceptions.HTTPError, OSError, ValueError) as error:
            logger.info("A request to Ultravox failed: %s", type(error).__name__)
            raise Unreachable() from error
        finally:
            self._ends_at = math.inf
        if time.monotonic() > ends_at:  # what looks whole may have been cut off
            raise Unreachable()
        return Response(response.status, response.headers, body, may_be_cut_off)

    def resolve(self, url: str, reference: str) -> str:
        """Return the address that `reference`, found at `url`, leads to, in its one normal form.

        Raises UltravoxError where it is malformed, or of another origin.
        """
        try:
            if not reference or (urlsplit(reference).scheme and not urlsplit(reference).netloc):
                raise ValueError(reference)
            target = urljoin(url, reference)
        except ValueError as error:
            raise UltravoxError("Ultravox refers to a malformed address.") from error
        own = self._own(target)
        return self.base._replace(path=own.path or "/", query=own.query, fragment=None).url

    def cut_if_late(self) -> None:
        """Break the request under way off where its time is over."""
        if time.monotonic() > self._ends_at:
            self._line.cut()

    def cut(self) -> None:
        """Break the request under way off, and refuse all further ones."""
        self._closed = True
        self._line.cut()

    def close(self) -> None:
        self._pool.close()
        self._line.close()

    def _own(self, url: str) -> Url:
        """Return the parsed URL where it is of this origin and no other."""
        parsed = _parse(url)
        if parsed.auth is not None or _origin(parsed) != _origin(self.base):
            raise UltravoxError("Ultravox refers to another server, which is not asked.")
        return parsed


def _parse(url: str) -> Url:
    try:
        return parse_url(url)
    except urllib3.exceptions.LocationParseError as error:
        raise UltravoxError(
            "Ultravox's address, or one that it refers to, is malformed."
        ) from error


def _origin(url: Url) -> tuple[str | None, str | None, int | None]:
    return url.scheme, url.host, url.port or DEFAULT_PORTS.get(url.scheme or "")


def _read(response: urllib3.BaseHTTPResponse, max_bytes: int) -> bytes:
    chunks, size = [], 0
    while chunk := response.read(CHUNK):
        chunks.append(chunk)
        size += len(chunk)
        if size > max_bytes:
            raise UltravoxError(f"Ultravox's answer has more than {max_bytes} bytes.")
    return b"".join(chunks)


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
    """Return a pool of one connection, whose socket `line` holds too."""

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
