"""A server elsewhere that remembers what it was sent: a watchdog, Sentry."""

import gzip
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self


class Listener:
    """Answers all requests, or none while it hangs; a context manager."""

    def __init__(self) -> None:
        self.status = 200
        self.requests: list[tuple[str, str, str, bytes]] = []  # method, target, head, body
        self.goes_on = threading.Event()
        self.goes_on.set()

    @property
    def targets(self) -> list[str]:
        return [target for _, target, _, _ in self.requests]

    def __enter__(self) -> Self:
        listener = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                if self.headers.get("Content-Encoding") == "gzip":
                    body = gzip.decompress(body)
                listener.requests.append((self.command, self.path, str(self.headers), body))
                listener.goes_on.wait(30)
                self.send_response(listener.status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            do_POST = do_GET  # noqa: N815

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self._server.server_port
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        self.goes_on.set()
        self._server.shutdown()
        self._server.server_close()
