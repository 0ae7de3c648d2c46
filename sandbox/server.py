"""Serve `Api` over HTTP, with latency and at most one fault."""

import contextlib
import itertools
import socket
import sys
import threading
from collections.abc import Collection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

from sandbox.api import LISTING_PATH, Api
from sandbox.catalogue import make_voices
from sandbox.faults import FAULTS

API_KEY = "sandbox-key"


class Sandbox:
    """A context manager that serves `count` made-up voices. `latency` is in seconds."""

    def __init__(
        self,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        keys: Collection[str] = (API_KEY,),
        count: int = 300,
        latency: float = 0,
        fault: str | None = None,
    ) -> None:
        self.host = host
        self.port = port
        self.latency = latency
        self.fault = FAULTS[fault] if fault else None
        self.stopping = threading.Event()
        self.responses = itertools.count()
        self._count = count
        self._keys = keys

    def __enter__(self) -> Self:
        """Start to serve, in threads. Raises OSError."""
        self._server = _Server((self.host, self.port), self)
        self.port = self._server.server_address[1]
        self.api = Api(make_voices(self._count, base_url=self.url), self._keys)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        """End all connections and threads, including hung ones."""
        self.stopping.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    @property
    def url(self) -> str:
        """The base URL, without a final slash."""
        host = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}.get(self.host, self.host)
        return f"http://{f'[{host}]' if ':' in host else host}:{self.port}"


class _Server(ThreadingHTTPServer):
    daemon_threads = False  # server_close() waits for them
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], sandbox: Sandbox) -> None:
        self.sandbox = sandbox
        self._open: set[socket.socket] = set()
        if ":" in address[0]:
            self.address_family = socket.AF_INET6
        super().__init__(address, _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self._open.discard(request)
        super().shutdown_request(request)

    def server_close(self) -> None:
        for connection in list(self._open):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        super().server_close()

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exception(), OSError):  # the client left
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server

    def do_GET(self) -> None:
        sandbox = self.server.sandbox
        path = self.path.partition("?")[0]
        is_page, is_preview = path == LISTING_PATH, path.endswith("/preview")
        response = sandbox.api.respond(
            self.command,
            self.path,
            key=self.headers.get("X-API-Key"),
            base_url=f"http://{host}" if (host := self.headers.get("Host")) else sandbox.url,
        )
        delay = sandbox.latency if is_page or is_preview else 0
        affected = {"pages": is_page, "previews": is_preview, "all": True}
        if sandbox.fault and affected[sandbox.fault.to]:
            response = sandbox.fault.change(response, next(sandbox.responses))
            delay += sandbox.fault.delay
        is_stopping = sandbox.stopping.wait(delay)
        has_body = self.headers.get("Content-Length", "0") != "0"  # which stays unread
        self.close_connection = self.close_connection or is_stopping or has_body
        self.send_response(response.status)
        for name, value in response.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(response.body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(response.body)

    do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_GET  # noqa: N815

    def log_message(self, format: str, *args: Any) -> None:
        pass
