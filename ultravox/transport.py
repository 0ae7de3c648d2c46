"""Requests to one origin, each bounded in time and size.

- This uses urllib3's connection pool, not `requests`: a pool is bound to one scheme, host and port, so
  the key goes nowhere else; it ignores netrc and proxy variables; and its sockets are within reach.
- A socket's timeout covers a single read: a server that sends a byte a second never exceeds it. So another
  thread shuts the socket down when the request's time is up: `cut_if_late`.
"""

import contextlib
import logging
import math
import os
import socket
import ssl
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urljoin, urlsplit

import certifi
import urllib3
from urllib3.util import Timeout, Url, parse_url

from voiceproject.errors import UltravoxError

logger = logging.getLogger(__name__)

CHUNK = 256 * 1024  # bytes
MAX_URL = 16_384  # characters; Django redirects to no longer ones
DEFAULT_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Response:
    """An answer: its status, its headers, and the decompressed body of a 200.

    No other body is read. `may_be_cut_off`: only the end of the connection marked the end of the body.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes
    may_be_cut_off: bool


class Transport:
    """A connection to one origin. One thread at a time may call `get`; any thread, the rest.

    Raises UltravoxError if the base URL is malformed.
    """

    def __init__(self, base_url: str) -> None:
        self.base = _parse(base_url)
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None  # a second handle on the open one
        self._pool = _pool(self)
        self._ends_at = math.inf
        self._closed = False

    def get(
        self, url: str, *, headers: Mapping[str, str], ends_at: float, max_bytes: int
    ) -> Response:
        """Return the answer; redirects are not followed.

        `ends_at` is on the monotonic clock. Raises UltravoxError, a transient one if no complete answer
        came, else for a URL of another origin and for a body that is longer than `max_bytes` or cannot be
        decompressed.
        """
        target = self._own(url).request_uri
        seconds = ends_at - time.monotonic()
        if seconds <= 0 or self._closed:
            raise UltravoxError(is_transient=True)
        self._ends_at = ends_at
        try:
            response = self._pool.urlopen(
                "GET",
                target,
                headers=headers,
                timeout=Timeout(connect=seconds, read=seconds),
                retries=False,
                redirect=False,
                preload_content=False,
            )
            try:
                body = _read(response, max_bytes) if response.status == 200 else b""
                may_be_cut_off = response.length_remaining is None and not response.chunked
            finally:
                if response.connection is not None:  # it was not read to its end
                    response.close()
        except urllib3.exceptions.DecodeError as error:
            raise UltravoxError("Ultravox's answer could not be decompressed.") from error
        except (urllib3.exceptions.HTTPError, OSError, ValueError) as error:
            logger.info("A request to Ultravox failed: %s", type(error).__name__)
            is_tls = isinstance(error, urllib3.exceptions.SSLError)
            message = "The TLS connection to Ultravox failed." if is_tls else None
            raise UltravoxError(message, is_transient=True) from error
        finally:
            self._ends_at = math.inf
        if time.monotonic() > ends_at:  # what looks whole may have been cut off
            raise UltravoxError(is_transient=True)
        return Response(response.status, response.headers, body, may_be_cut_off)

    def resolve(self, url: str, reference: str) -> str:
        """Return the normalized address that `reference`, found at `url`, leads to.

        Raises UltravoxError if it is malformed or of another origin.
        """
        try:
            if not reference or (urlsplit(reference).scheme and not urlsplit(reference).netloc):
                raise ValueError(reference)
            target = urljoin(url, reference)
        except ValueError as error:
            raise UltravoxError("Ultravox refers to a malformed address.") from error
        own = self._own(target)
        return self.base._replace(path=own.path or "/", query=own.query, fragment=None).url

    def _own(self, url: str) -> Url:
        """Return the parsed URL if it is of this origin."""
        parsed = _parse(url)
        if parsed.auth is not None or _origin(parsed) != _origin(self.base):
            raise UltravoxError("Ultravox refers to another server, which is not asked.")
        return parsed

    def cut_if_late(self) -> None:
        """Break off the request under way if its time is up."""
        if time.monotonic() > self._ends_at:
            self._shut_down()

    def cut(self) -> None:
        """Break off the request under way, and refuse any more."""
        self._closed = True
        self._shut_down()

    def close(self) -> None:
        self._pool.close()
        self.hold(None)

    def hold(self, sock: socket.socket | None) -> None:
        """Keep a handle on the socket, with which another thread can shut it down."""
        with self._lock:
            if self._socket is not None:
                self._socket.close()
            self._socket = sock and socket.socket(fileno=os.dup(sock.fileno()))

    def _shut_down(self) -> None:
        with self._lock, contextlib.suppress(OSError):  # the other side was faster
            if self._socket is not None:
                self._socket.shutdown(socket.SHUT_RDWR)


def _parse(url: str) -> Url:
    try:
        parsed = parse_url(url)
    except urllib3.exceptions.LocationParseError as error:
        raise UltravoxError("Ultravox's address, or one it refers to, is malformed.") from error
    if not parsed.host:
        raise UltravoxError("Ultravox's address has no host.")
    return parsed


def server_of(url: str) -> tuple[str, int | None]:
    """Return the host and the port of an http or https URL. Raises UltravoxError if it is none."""
    scheme, host, port = _origin(_parse(url))
    try:
        urlsplit(url)  # it refuses what urllib3 takes, and other libraries believe it
    except ValueError as error:
        raise UltravoxError("An address is malformed.") from error
    if scheme not in DEFAULT_PORTS or len(url) > MAX_URL:
        raise UltravoxError("An address is too long, or not http or https.")
    return host or "", port


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


def _pool(transport: Transport) -> urllib3.HTTPConnectionPool:
    """Return a pool of one connection, whose socket the transport holds, too."""
    options: dict[str, Any] = {"maxsize": 1}
    if transport.base.scheme == "https":
        options["ssl_context"] = ssl.create_default_context()
        options["ssl_context"].load_verify_locations(certifi.where())
    pool = urllib3.connection_from_url(transport.base.url, **options)

    class Connection(pool.ConnectionCls):  # type: ignore[name-defined]
        def _new_conn(self) -> socket.socket:
            sock: socket.socket = super()._new_conn()
            transport.hold(sock)
            return sock

    pool.ConnectionCls = Connection
    return pool
