"""Requests to one server, with limits on time and size.

- This uses urllib3's connections, not `requests`: a connection is bound to one scheme, host and port, so the
  key reaches no other server, and the environment's proxies and netrc are ignored.
- A socket's timeout covers a single read, so a server that sends one byte a second never exceeds it. Another
  thread therefore shuts the socket down when the request's time is over: `cancel_if_late`. urllib3's own
  `HTTPResponse.shutdown()` works only after the headers have arrived.
"""

import contextlib
import http.client
import logging
import math
import socket
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urljoin, urlsplit

import certifi
import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import HTTPError
from urllib3.util import Url, parse_url

from voiceproject.errors import UltravoxError

logger = logging.getLogger(__name__)

CHUNK = 256 * 1024  # bytes
MAX_URL = 16_384  # characters; Django does not redirect to longer URLs
DEFAULT_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Response:
    """A response. `body` is decompressed, and empty unless the status is 200.

    `may_be_cut_off`: the body had no length, so a broken connection looks like its end.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes
    may_be_cut_off: bool


class Transport:
    """A connection to one server. One thread at a time may call `get`; any thread may call the rest.

    Raises UltravoxError if the base URL is invalid.
    """

    def __init__(self, base_url: str) -> None:
        self.base = _parse(base_url)
        self._connection = _connection(self.base)
        self._socket: socket.socket | None = None
        self._ends_at = math.inf
        self._cancelled = False

    def get(
        self, url: str, *, headers: Mapping[str, str], ends_at: float, max_bytes: int
    ) -> Response:
        """Return the response. Follows no redirect.

        `ends_at` is on the monotonic clock. Raises UltravoxError: a transient one if no complete response
        arrives in time, a permanent one if the URL is on another server, or if the body has more than
        `max_bytes` or cannot be decompressed.
        """
        target = self._check_server(url).request_uri
        self._ends_at = ends_at
        try:
            response = self._request(target, headers, ends_at, max_bytes)
        except urllib3.exceptions.DecodeError as error:
            raise UltravoxError("Ultravox's response could not be decompressed.") from error
        except (HTTPError, http.client.HTTPException, OSError, ValueError) as error:
            logger.info("A request to Ultravox failed: %s", type(error).__name__)
            is_tls = isinstance(error, ssl.SSLError | urllib3.exceptions.SSLError)
            message = "The TLS connection to Ultravox failed." if is_tls else None
            raise UltravoxError(message, is_transient=True) from error
        finally:
            self._ends_at = math.inf
        if time.monotonic() > ends_at:  # a body that looks complete may be cut off
            raise UltravoxError(is_transient=True)
        return response

    def _request(
        self, target: str, headers: Mapping[str, str], ends_at: float, max_bytes: int
    ) -> Response:
        with contextlib.ExitStack() as stack:
            stack.callback(self.close)
            self._connect(ends_at)
            self._connection.request("GET", target, headers=headers, preload_content=False)
            response = self._connection.getresponse()
            stack.callback(response.close)
            body = b""
            if response.status == 200:
                body = _read(response, max_bytes)
                stack.pop_all()  # the connection can be used again
            may_be_cut_off = response.length_remaining is None and not response.chunked
            return Response(response.status, response.headers, body, may_be_cut_off)

    def _connect(self, ends_at: float) -> None:
        """Open the connection, unless it is already open."""
        seconds = ends_at - time.monotonic()
        if seconds <= 0:
            raise TimeoutError
        self._connection.timeout = seconds
        if not self._connection.is_connected:  # new, or closed by the server
            self._connection.close()
            self._connection.connect()
            self._socket = self._connection.sock
        if self._cancelled:
            raise ConnectionAbortedError

    def resolve(self, url: str, reference: str) -> str:
        """Return the normalized URL of `reference`, a link in the response from `url`.

        Raises UltravoxError if it is invalid or on another server.
        """
        try:
            if not reference:
                raise ValueError
            target = urljoin(url, reference)
        except ValueError as error:
            raise UltravoxError("Ultravox linked to an invalid address.") from error
        parsed = self._check_server(target)
        return self.base._replace(path=parsed.path or "/", query=parsed.query, fragment=None).url

    def _check_server(self, url: str) -> Url:
        """Return the parsed URL. Raises UltravoxError if it is on another server."""
        parsed = _parse(url)
        if parsed.auth is not None or _origin(parsed) != _origin(self.base):
            raise UltravoxError("Ultravox linked to another server, which is not allowed.")
        return parsed

    def cancel_if_late(self) -> None:
        """Cancel the current request if its time is over."""
        if time.monotonic() > self._ends_at:
            self._shut_down()

    def cancel(self) -> None:
        """Cancel the current request, and refuse later ones."""
        self._cancelled = True
        self._shut_down()

    def close(self) -> None:
        self._connection.close()

    def _shut_down(self) -> None:
        if self._socket is not None:
            with contextlib.suppress(OSError):  # already closed
                # SSLSocket.shutdown() would first turn encryption off, for the other thread as well
                socket.socket.shutdown(self._socket, socket.SHUT_RDWR)


def server_of(url: str) -> tuple[str, int | None]:
    """Return the host and the port of an http or https URL. Raises UltravoxError for any other URL."""
    scheme, host, port = _origin(_parse(url))
    try:
        urlsplit(url)  # stricter than urllib3 in some cases, and other libraries use it
    except ValueError as error:
        raise UltravoxError("The address is invalid.") from error
    if scheme not in DEFAULT_PORTS or len(url) > MAX_URL:
        raise UltravoxError("The address is too long, or not http or https.")
    return host or "", port


def _parse(url: str) -> Url:
    try:
        parsed = parse_url(url)
    except urllib3.exceptions.LocationParseError as error:
        raise UltravoxError("Ultravox's address, or one it links to, is invalid.") from error
    if not parsed.host:
        raise UltravoxError("Ultravox's address has no host.")
    return parsed


def _origin(url: Url) -> tuple[str | None, str | None, int | None]:
    return url.scheme, url.host, url.port or DEFAULT_PORTS.get(url.scheme or "")


def _connection(base: Url) -> HTTPConnection:
    host = (base.host or "").strip("[]")  # of an IPv6 address
    if base.scheme != "https":
        return HTTPConnection(host, base.port)
    context = ssl.create_default_context()
    context.load_verify_locations(certifi.where())
    return HTTPSConnection(host, base.port, ssl_context=context)


def _read(response: urllib3.HTTPResponse, max_bytes: int) -> bytes:
    chunks, size = [], 0
    while chunk := response.read(CHUNK):
        chunks.append(chunk)
        size += len(chunk)
        if size > max_bytes:
            raise UltravoxError(f"Ultravox's response has more than {max_bytes} bytes.")
    return b"".join(chunks)
