"""A client's connection, down to the socket, and a server to which no client may connect."""

import contextlib
import socket
import struct
import time
from dataclasses import dataclass

from sandbox.api import parse_parameters


@dataclass(frozen=True)
class Request:
    """A request. Header names are in lower case; `at` is on the monotonic clock."""

    method: str
    target: str
    path: str
    headers: dict[str, str]
    at: float

    @property
    def query(self) -> dict[str, str]:
        return dict(parse_parameters(self.target))


class Connection:
    def __init__(self, sock: socket.socket) -> None:
        self.socket = sock
        self.buffer = b""
        self.closed = False

    def read_request(self) -> Request | None:
        """Return the next request, or None if the client left. Raises OSError."""
        while b"\r\n\r\n" not in self.buffer:
            if not self._receive():
                return None
        head, _, self.buffer = self.buffer.partition(b"\r\n\r\n")
        line, *fields = head.decode("latin-1").split("\r\n")
        method, target, _ = line.split(" ")
        pairs = [field.split(":", 1) for field in fields]
        headers = {name.lower(): value.strip() for name, value in pairs}
        return Request(method, target, target.partition("?")[0], headers, time.monotonic())

    def _receive(self) -> bool:
        self.buffer += (data := self.socket.recv(65536))
        return bool(data)

    def pause(self, seconds: float | None) -> None:
        """Wait; None is forever. Raises ConnectionError as soon as the client leaves."""
        end = None if seconds is None else time.monotonic() + seconds
        try:
            while end is None or end > time.monotonic():
                self.socket.settimeout(end and max(0.001, end - time.monotonic()))
                if not self._receive():
                    raise ConnectionError
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
        """End the connection. Everything sent so far arrives."""
        self.closed = True
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_WR)
            # Closing with unread bytes would reset the connection and could lose the response.
            self.socket.setblocking(False)
            while self.socket.recv(65536):
                pass
        self.socket.close()

    def abort(self) -> None:
        """Wake the thread that waits on the connection; it then finds it closed."""
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)


class Decoy:
    """Listens on a port of its own, and counts connections."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.setblocking(False)
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    @property
    def connections(self) -> int:
        """The number of connections since the last call."""
        count = 0
        with contextlib.suppress(BlockingIOError):
            while True:
                self._listener.accept()[0].close()
                count += 1
        return count

    def stop(self) -> None:
        self._listener.close()
