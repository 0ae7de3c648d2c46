"""A client's connection, down to the socket."""

import contextlib
import functools
import socket
import struct
import time
from dataclasses import dataclass
from urllib.parse import parse_qsl

MAX_HEAD = 64 * 1024
MAX_BODY = 256 * 1024 * 1024


class DisconnectedError(OSError):
    """The client left, or the sandbox stopped."""


class BadRequestError(Exception):
    """What came is no HTTP request that the sandbox understands."""


@dataclass(frozen=True)
class Request:
    """A request as it came; header names are in lower case, `at` is of the monotonic clock."""

    method: str
    target: str
    path: str
    headers: dict[str, str]
    at: float
    body: bytes = b""
    version: str = "HTTP/1.1"

    @functools.cached_property
    def query(self) -> dict[str, str]:
        """The query's parameters; of one that is repeated, the last."""
        return dict(self.parameters)

    @functools.cached_property
    def parameters(self) -> list[tuple[str, str]]:
        """The query's parameters in their order."""
        query = self.target.partition("#")[0].partition("?")[2]
        return parse_qsl(query, keep_blank_values=True, errors="replace")

    @property
    def keep_alive(self) -> bool:
        connection = self.headers.get("connection", "").lower()
        if self.version == "HTTP/1.1":
            return "close" not in connection
        return "keep-alive" in connection


class Connection:
    """An accepted socket and what was read from it ahead."""

    def __init__(self, sock: socket.socket) -> None:
        self.socket = sock
        self.buffer = b""
        self.closed = False

    def read_request(self) -> Request | None:
        """Return the next request, or None when the client left between two.

        Raises BadRequestError, and OSError for a connection that broke.
        """
        while (end := self.buffer.find(b"\r\n\r\n")) < 0:
            if len(self.buffer) > MAX_HEAD:
                raise BadRequestError("The request's head is too long.")
            data = self.socket.recv(65536)
            if not data:
                return None
            self.buffer += data
        head, self.buffer = self.buffer[:end], self.buffer[end + 4 :]
        line, *lines = head.decode("latin-1").split("\r\n")
        try:
            method, target, version = line.split(" ")
        except ValueError:
            raise BadRequestError("The request line is malformed.") from None
        if version not in ("HTTP/1.1", "HTTP/1.0"):
            raise BadRequestError("The protocol is not HTTP/1.")
        headers = {}
        for field in lines:
            name, colon, value = field.partition(":")
            if not colon or not name or name != name.strip():
                raise BadRequestError("A header is malformed.")
            headers[name.lower()] = value.strip()
        body = self._read_body(headers) if len(headers.keys() & _BODY_HEADERS) else b""
        path = target.partition("#")[0].partition("?")[0]
        return Request(method, target, path, headers, time.monotonic(), body, version)

    def _read_body(self, headers: dict[str, str]) -> bytes:
        if "transfer-encoding" in headers:
            raise BadRequestError("A request's body needs a Content-Length.")
        length = headers["content-length"]
        if not (length.isascii() and length.isdigit() and len(length) < 12):
            raise BadRequestError("The Content-Length is malformed.")
        size = int(length)
        if size > MAX_BODY:
            raise BadRequestError("The request's body is too long.")
        if headers.get("expect", "").lower() == "100-continue":
            self.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        parts = [self.buffer]
        missing = size - len(self.buffer)
        while missing > 0:
            data = self.socket.recv(min(missing, 1 << 20))
            if not data:
                raise DisconnectedError("The client left within a request's body.")
            parts.append(data)
            missing -= len(data)
        received = b"".join(parts)
        self.buffer = received[size:]
        return received[:size]

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def pause(self, seconds: float | None) -> None:
        """Wait; None is without end. Raise DisconnectedError as soon as the client leaves."""
        end = None if seconds is None else time.monotonic() + seconds
        try:
            while True:
                left = None if end is None else end - time.monotonic()
                if left is not None and left <= 0:
                    return
                self.socket.settimeout(left)
                try:
                    data = self.socket.recv(65536)
                except TimeoutError:
                    return
                if not data:
                    raise DisconnectedError("The client left.")
                self.buffer += data
        finally:
            self.socket.settimeout(None)

    def reset(self) -> None:
        """End the connection with a TCP reset."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.closed = True
        self.socket.close()

    def close(self) -> None:
        """End the connection in order; what was sent arrives."""
        self.closed = True
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_WR)
            # Closing with unread bytes would turn into a reset and could take the answer along.
            self.socket.setblocking(False)
            while self.socket.recv(65536):
                pass
        self.socket.close()

    def abort(self) -> None:
        """Wake whichever thread waits on the connection; it then finds it closed."""
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)


_BODY_HEADERS = frozenset({"content-length", "transfer-encoding"})
