"""A dashboard on another origin, which is also its Supabase project and signs everyone in."""

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs

import jwt

from agencies.models import User

SECRET = "the-supabase-jwt-secret-of-the-tests-0123456789"


class Dashboard(ThreadingHTTPServer):
    """A server, to be used as a context manager. `files` maps a path to a content type and a text."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.files: dict[str, tuple[str, str]] = {}
        self.headers: dict[str, str] = {}
        self.user: User | None = None
        self.submitted: list[dict[str, list[str]]] = []
        threading.Thread(target=self.serve_forever, args=[0.01], daemon=True).start()

    def __exit__(self, *error: object) -> None:
        self.shutdown()
        self.server_close()


class _Handler(BaseHTTPRequestHandler):
    server: Dashboard

    def do_GET(self) -> None:
        kind, text = self.server.files.get(self.path, ("", ""))
        self._respond(200 if kind else 404, kind or "text/plain", text)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        if self.path == "/assistants":
            self.server.submitted.append(parse_qs(body))
            self._respond(200, "text/html", "<!doctype html><title>Saved</title>")
            return
        user, end = self.server.user, int(time.time()) + 3600
        assert user is not None
        role = {"aud": "authenticated", "role": "authenticated"}
        claims = role | {"sub": str(user.pk), "iss": f"{self.server.url}/auth/v1", "exp": end}
        session = {
            "access_token": jwt.encode(claims, SECRET, "HS256"),
            "token_type": "bearer",
            "expires_in": 3600,
            "expires_at": end,
            "refresh_token": "any",
            "user": {"id": str(user.pk), "email": user.email},
        }
        self._respond(200, "application/json", json.dumps(session))

    def _respond(self, status: int, kind: str, text: str) -> None:
        body = text.encode()
        self.send_response(status)
        for name, value in self.server.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Type", f"{kind}; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        pass
