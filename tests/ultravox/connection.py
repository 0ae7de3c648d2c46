"""A client's connection, down to the socket."""

import contextlib
import functools
import socket
import struct
import time
from dataclasses import dataclass

from sandbox.api import Parameters, parameters_of


class DisconnectedError(OSError):
    """The client left, or the server stopped."""


@dataclass(frozen=True)
class Request:
    """A request as it came; header names are in lower case, `at` is of the monotonic clock."""

    method: str
    target: str
    path: str
    headers: dict[str, str]
    at: float
    body: bytes = b""

    @functools.cached_property
    def parameters(self) -> Parameters:
        """The query's parameters in their order."""
        return parameters_of(self.target)

    @functools.cached_property
    def query(self) -> dict[str, str]:
        """The query's parameters; of one that is repeated, the last."""
        return dict(self.parameters)

    @property
    def keep_alive(self) -> bool:
        return self.headers.get("connection", "").lower() != "close"


class Connection:
    """An accepted socket and what was read from it ahead."""

    def __init__(self, sock: socket.socket) -> None:
        self.socket = sock
        self.buffer = b""
        self.closed = False

    def read_request(self) -> Request | None:
        """Return the next request, or None when the client left. Raises OSError."""
        while (end := self.buffer.find(b"\r\n\r\n")) < 0:
            if not self._receive():
                return None
        head, self.buffer = self.buffer[:end], self.buffer[end + 4 :]
        line, *lines = head.decode("latin-1").split("\r\n")
        method, target, _ = line.split(" ")
        headers = {}
        for field in lines:
            name, _, value = field.partition(":")
            headers[name.lower()] = value.strip()
        size = int(headers.get("content-length", 0))
        while len(self.buffer) < size and self._receive():
            pass
        body, self.buffer = self.buffer[:size], self.buffer[size:]
        return Request(method, target, target.partition("?")[0], headers, time.monotonic(), body)

    def _receive(self) -> bool:
        data = self.socket.recv(65536)
        self.buffer += data
        return bool(data)

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def pause(self, seconds: float | None) -> None:
        """Wait; None is without end. Raise DisconnectedError as soon as the client leaves."""
        end = None if seconds is None else time.monotonic() + seconds
        try:
            while end is None or end > time.monotonic():
                self.socket.settimeout(end and max(0.001, end - time.monotonic()))
                if not self._receive():
                    raise DisconnectedError("The client left.")
        except TimeoutError:
            pass
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
