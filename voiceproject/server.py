"""gunicorn's threaded worker, with an event loop that receives requests, so that slow clients hold no thread.

gthread reads a request in the thread that answers it, for as long as the client likes: as many
half-sent requests as there are threads stop the server, and a client that does not close its end
stops the whole loop for two seconds. Its errors are HTML, and its log quotes malformed headers, which
may be credentials. Here

- a thread is taken for requests that have arrived, but for bodies above AHEAD bytes, whose rest it
  waits for no longer than PATIENCE seconds;
- what is late, too large or malformed is answered in the one form of all errors;
- a stopping worker takes the connections that wait in the queue, and then closes the door, so that
  clients who come later are refused at once.
"""

import contextlib
import json
import re
import selectors
import socket
import time
from concurrent.futures import Future
from functools import partial
from typing import Any

from gunicorn.errors import ConfigError
from gunicorn.http import errors
from gunicorn.http.unreader import SocketUnreader
from gunicorn.util import write_nonblock
from gunicorn.workers.gthread import STOP_KEEPALIVE_LINGER, TConn, ThreadWorker

PATIENCE = 10.0  # seconds for a request to arrive, and for its body to be read
WRITING = 30.0  # seconds for an answer to be taken
LINGER = 2.0  # seconds in which a client may end what it sends after it was answered
HEAD = 64 * 1024  # bytes of a request line and headers
AHEAD = 64 * 1024  # bytes of a body that are received before a thread is taken
DRAIN = 16 * 1024 * 1024  # bytes that a client may still send after it was answered

REQUEST_LINE = re.compile(rb"(?:\r\n)?[^\r\n]* HTTP/\d\.\d\r\n")
FIELD = re.compile(rb"^(content-length|transfer-encoding|expect):[ \t]*([^\r\n]*)\r$", re.I | re.M)

ANSWERS = {
    400: ("Bad Request", "invalid_request", "The request could not be read."),
    408: ("Request Timeout", "request_timeout", "The request did not arrive in time."),
    414: ("URI Too Long", "address_too_long", "The request's address is too long."),
    417: ("Expectation Failed", "invalid_request", "The expectation cannot be met."),
    431: ("Request Header Fields Too Large", "header_too_large", "The headers are too large."),
    500: (
        "Internal Server Error",
        "internal_error",
        "Something went wrong on our side; nothing was changed. Try again later.",
    ),
}
STATUSES = {
    errors.ExpectationFailed: 417,
    errors.LimitRequestLine: 414,
    errors.LimitRequestHeaders: 431,
}


class Late(errors.ParseException):
    """Report a request that did not arrive in time."""


STATUSES[Late] = 408


def answer(status: int) -> bytes:
    """Return the whole HTTP response of an error that no view answers."""
    reason, code, message = ANSWERS[status]
    body = json.dumps({"success": False, "code": code, "message": message}).encode()
    head = (
        f"HTTP/1.1 {status} {reason}\r\nConnection: close\r\nContent-Type: application/json\r\n"
        f"X-Content-Type-Options: nosniff\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def has_arrived(data: bytearray) -> bool:
    """Tell whether a thread can go on with these bytes of a request without waiting for its client.

    So it can with malformed ones, which the parser refuses. Raises LimitRequestLine and
    LimitRequestHeaders, since the parser would go on reading.
    """
    end = data.find(b"\r\n\r\n")
    if end > HEAD or (end < 0 and len(data) > HEAD):
        line = data.find(b"\r\n", 2)
        raise errors.LimitRequestHeaders("") if 0 < line < HEAD else errors.LimitRequestLine("")
    if end < 0:
        has_line = data.find(b"\r\n", 2) > 0
        bare = data.count(b"\n") != data.count(b"\r\n")
        return bare or (has_line and not REQUEST_LINE.match(data))
    fields = [(name.lower(), value.strip()) for name, value in FIELD.findall(data[: end + 2])]
    if not fields:
        return True
    name, length = fields[0]
    if name != b"content-length" or len(fields) > 1:
        return True  # its client waits to be asked for it; Django reads no chunks; it is malformed
    wanted = int(length) if length.isdigit() and len(length) < 10 else 0
    return len(data) - end - 4 >= min(wanted, AHEAD)


class Unreader(SocketUnreader):
    """Read the rest of a request until a deadline."""

    deadline = 0.0

    def chunk(self, size_hint: int | None = None) -> bytes:
        timeout = self.sock.gettimeout()
        self.sock.settimeout(max(self.deadline - time.monotonic(), 0.001))
        try:
            return super().chunk(size_hint)
        finally:
            self.sock.settimeout(timeout)


class Worker(ThreadWorker):
    """Receive requests in the event loop, and answer them in threads."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._next_look = 0.0
        self._lingering: dict[TConn, int] = {}  # bytes that may still come

    @classmethod
    def check_config(cls, cfg: Any, log: Any) -> None:
        super().check_config(cfg, log)
        if cfg.is_ssl:
            raise ConfigError("TLS belongs to the proxy in front; leave certfile and keyfile out.")

    # In the event loop's thread

    def enqueue_req(self, conn: TConn) -> None:
        """Wait for the connection's next request, without a thread."""
        if not conn.initialized:
            conn.init()
            conn.parser.unreader = Unreader(conn.sock)
        conn.sock.setblocking(False)
        conn.received = bytearray(conn.parser.unreader.take_buffered())
        conn.timeout = time.monotonic() + PATIENCE
        self.pending_conns.append(conn)
        readable = partial(self.on_pending_socket_readable, conn)
        self.poller.register(conn.sock, selectors.EVENT_READ, readable)
        if conn.received:
            self._go_on(conn)

    def on_pending_socket_readable(self, conn: TConn, client: socket.socket) -> None:
        try:
            data = client.recv(AHEAD)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        conn.received += data
        if data:
            self._go_on(conn)
        elif conn.received:
            self._hand_over(conn)
        else:
            self._forget(conn)
            self.nr_conns -= 1
            conn.close()

    def _go_on(self, conn: TConn) -> None:
        try:
            if has_arrived(conn.received):
                self._hand_over(conn)
        except errors.ParseException as error:
            self._refuse(conn, error)

    def _forget(self, conn: TConn) -> None:
        self.pending_conns.remove(conn)
        self.poller.unregister(conn.sock)

    def _hand_over(self, conn: TConn) -> None:
        self._forget(conn)
        conn.parser.unreader.unread(bytes(conn.received))
        conn.parser.unreader.deadline = time.monotonic() + PATIENCE
        conn.received = bytearray()
        super().enqueue_req(conn)

    def _refuse(self, conn: TConn, error: errors.ParseException) -> None:
        self._forget(conn)
        self.handle_error(None, conn.sock, conn.client, error)
        self._linger(conn)

    def finish_request(self, conn: TConn, fs: "Future[Any]") -> None:
        if not fs.cancelled() and not fs.exception() and fs.result():
            super().finish_request(conn, fs)
        else:
            self._linger(conn)

    def _linger(self, conn: TConn) -> None:
        """Take what the client still sends: a reset would cut the answer off (RFC 9112, 9.6)."""
        try:
            conn.sock.setblocking(False)
            conn.sock.shutdown(socket.SHUT_WR)
            self.poller.register(conn.sock, selectors.EVENT_READ, partial(self._drain, conn))
        except (OSError, ValueError):  # it is closed
            self.nr_conns -= 1
            conn.close()
        else:
            conn.timeout = time.monotonic() + LINGER
            self._lingering[conn] = DRAIN

    def _drain(self, conn: TConn, client: socket.socket) -> None:
        try:
            count = len(client.recv(AHEAD))
        except BlockingIOError:
            return
        except OSError:
            count = 0
        self._lingering[conn] -= count
        if not count or self._lingering[conn] < 0:
            self._end(conn)

    def _end(self, conn: TConn) -> None:
        del self._lingering[conn]
        self.poller.unregister(conn.sock)
        self.nr_conns -= 1
        conn.close()

    def murder_pending(self) -> None:
        """End the connections whose time is over; looks at most four times a second."""
        now = time.monotonic()
        if now < self._next_look:
            return
        self._next_look = now + 0.25
        for conn in [conn for conn in self._lingering if conn.timeout <= now]:
            self._end(conn)
        for conn in [conn for conn in self.pending_conns if conn.timeout <= now]:
            if conn.received:
                self._refuse(conn, Late())
            else:
                self._forget(conn)
                self.nr_conns -= 1
                conn.close()

    def set_accept_enabled(self, enabled: bool) -> None:
        super().set_accept_enabled(enabled)
        if not enabled and not self.alive:
            self._close_the_door()

    def _close_the_door(self) -> None:
        """Take the connections that wait in the queue, and let nobody else in."""
        while self.sockets:
            listener = self.sockets.pop()
            with contextlib.closing(listener), selectors.DefaultSelector() as door:
                listener.setblocking(False)
                door.register(listener, selectors.EVENT_READ)
                while door.select(0):
                    self.accept(listener)

    def _cap_keepalive(self, deadline: float) -> None:
        super()._cap_keepalive(deadline)
        for conn in self.pending_conns:
            if not conn.received:  # a client that connected ahead of its request
                conn.timeout = min(conn.timeout, time.monotonic() + STOP_KEEPALIVE_LINGER)

    # In any thread

    def handle_request(self, req: Any, conn: TConn) -> bool:
        if not conn.is_http2:
            conn.sock.settimeout(WRITING)
            conn.parser.unreader.deadline = time.monotonic() + PATIENCE
            if any(name == "TRANSFER-ENCODING" for name, _ in req.headers):
                req.force_close()  # nobody reads the chunks
        return super().handle_request(req, conn)

    def _keepalive_after(self, conn: TConn, keepalive: bool) -> bool:
        """Read what no view did: the answer has said that the connection stays open."""
        deadline = time.monotonic() + PATIENCE
        return keepalive and bool(conn.parser.finish_body(deadline=deadline, max_bytes=DRAIN))

    def handle_error(self, req: Any, client: socket.socket, addr: Any, exc: BaseException) -> None:
        if isinstance(exc, errors.ParseException) and not isinstance(
            exc, errors.InvalidResponseHeader | errors.InvalidResponseHeaderName
        ):
            self.log.warning("Refused a request of %s: %s", (addr or "?")[0], type(exc).__name__)
            status = STATUSES.get(type(exc), 400)
        else:
            self.log.error("A request failed outside of all views", exc_info=exc)
            status = 500
        with contextlib.suppress(OSError):
            write_nonblock(client, answer(status))
