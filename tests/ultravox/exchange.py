"""A request, and what a fault can do in response."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from http.client import responses
from typing import TYPE_CHECKING, Any

from sandbox.api import LISTING_PATH, BadQuery, decode_cursor, dump, parse_parameters
from tests.ultravox.connection import Connection, Request

if TYPE_CHECKING:
    from tests.ultravox.server import Ultravox


def make_head(status: int, headers: dict[str, str], *, reason: str | None = None) -> bytes:
    """Return status line and headers, with the empty line."""
    line = f"HTTP/1.1 {status} {reason or responses.get(status, 'Unknown')}"
    fields = [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join([line, *fields, "\r\n"]).encode("latin-1")


@dataclass
class Exchange:
    """A request, and the ways to respond or not to.

    `n` counts the requests for pages since the fault was set, and `attempt` those for the same target.
    The connection stays open after the script if `keep` is true.
    """

    connection: Connection
    request: Request
    server: "Ultravox"
    keep: bool = True
    n: int = 0
    attempt: int = 0

    @property
    def base_url(self) -> str:
        return f"http://{self.request.headers['host']}"

    def normal(self) -> None:
        """Respond as without a fault."""
        request = self.request
        if request.path == LISTING_PATH:
            self.pause(self.server.latency)
        key = request.headers.get("x-api-key")
        response = self.server.respond(
            request.method, request.target, key=key, base_url=self.base_url
        )
        headers = response.headers | {"Content-Length": str(len(response.body))}
        self.connection.socket.sendall(make_head(response.status, headers) + response.body)

    @property
    def offset(self) -> int:
        """The number of voices before the page; 0 for an invalid cursor."""
        try:
            return decode_cursor(self.request.query.get("cursor"))
        except BadQuery:
            return 0

    def page_json(self) -> bytes:
        parameters = parse_parameters(self.request.target)
        return dump(self.server.page(parameters, base_url=self.base_url, offset=self.offset))

    def page(self) -> dict[str, Any]:
        page: dict[str, Any] = json.loads(self.page_json())
        return page

    def reply(
        self,
        status: int = 200,
        body: bytes | str | dict[str, Any] | list[Any] | None = b"",
        *,
        headers: dict[str, str] | None = None,
        reason: str | None = None,
    ) -> None:
        """Send a response with its Content-Length. A body that is not bytes or text is sent as JSON."""
        content = body.encode() if isinstance(body, str) else body
        content = content if isinstance(content, bytes) else dump(content)
        fields = {"Content-Type": "application/json", "Content-Length": str(len(content))}
        head = make_head(status, fields | (headers or {}), reason=reason)
        self.connection.socket.sendall(head + content)

    def send(self, data: bytes | Iterable[bytes]) -> None:
        """Send bytes. The connection is closed after the script."""
        self.keep = False
        for piece in [data] if isinstance(data, bytes) else data:
            self.connection.socket.sendall(piece)

    def drip(self, pieces: Iterable[bytes]) -> None:
        """Send pieces, with a pause after each."""
        for piece in pieces:
            self.send(piece)
            self.pause(self.server.drip_interval)

    def pause(self, seconds: float) -> None:
        """Wait. The script ends as soon as the client leaves or the server stops, as in `hang`."""
        self.connection.pause(seconds)

    def hang(self) -> None:
        self.keep = False
        self.connection.pause(None)

    def reset(self) -> None:
        """End the connection with a TCP reset."""
        self.connection.reset()

    def close(self) -> None:
        self.connection.close()
