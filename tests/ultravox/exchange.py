"""One request for a listing and what is done about it: the hands of a fault."""

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from sandbox.api import Api, BadQuery, decode_cursor, dump
from tests.ultravox.connection import Connection, Request
from tests.ultravox.decoy import Decoy


def make_head(status: int, headers: dict[str, str], *, reason: str | None = None) -> bytes:
    """Return status line and headers, the empty line included."""
    if reason is None:
        known = {each.value for each in HTTPStatus}
        reason = HTTPStatus(status).phrase if status in known else "Unknown"
    fields = [f"{name}: {value}" for name, value in headers.items()]
    lines = [f"HTTP/1.1 {status} {reason}", *fields]
    return "\r\n".join([*lines, "\r\n"]).encode("latin-1")


@dataclass
class Exchange:
    """A request, and the ways to answer it or not to.

    `n` counts the listing requests since the fault was set or the server was reset, `attempt`
    those of them for the same target, both from 1; `first_target` is the target of the first.
    `normal` answers as without a fault. The connection stays open after the script if `keep` is
    true: not after bytes of its own.
    """

    connection: Connection
    request: Request
    api: Api
    base_url: str
    n: int
    attempt: int
    first_target: str
    decoy: Decoy
    drip_interval: float
    normal: Callable[[], None]

    def __post_init__(self) -> None:
        self.keep = self.request.keep_alive

    @property
    def offset(self) -> int:
        """The place of the first voice asked for; 0 where the cursor makes no sense."""
        cursor = self.request.query.get("cursor")
        try:
            return decode_cursor(cursor) if cursor else 0
        except BadQuery:
            return 0

    @property
    def page_size(self) -> int:
        return self.api.page_size(self.request.query)

    def page_json(self, offset: int | None = None) -> bytes:
        """Return the JSON of the page asked for, or of the one at another offset."""
        place = self.offset if offset is None else offset
        return dump(self.api.page(self.request.parameters, base_url=self.base_url, offset=place))

    def page(self, offset: int | None = None) -> dict[str, Any]:
        """Return the page asked for, or the one at another offset: a copy to change."""
        page: dict[str, Any] = json.loads(self.page_json(offset))
        return page

    def reply(
        self,
        status: int = 200,
        body: bytes | str | dict[str, Any] | list[Any] | None = b"",
        *,
        headers: dict[str, str] | None = None,
        reason: str | None = None,
    ) -> None:
        """Answer with a body and its Content-Length; what is not bytes or text becomes JSON."""
        if isinstance(body, str):
            body = body.encode()
        elif not isinstance(body, bytes):
            body = dump(body)
        fields = {"Content-Type": "application/json", "Content-Length": str(len(body))}
        self.connection.send(make_head(status, fields | (headers or {}), reason=reason) + body)

    def send(self, data: bytes | Iterable[bytes]) -> None:
        """Send bytes as they are; the connection is closed after the script."""
        self.keep = False
        for piece in [data] if isinstance(data, bytes) else data:
            self.connection.send(piece)

    def drip(self, pieces: Iterable[bytes]) -> None:
        """Send pieces, and wait for the drip interval after each."""
        for piece in pieces:
            self.send(piece)
            self.pause(self.drip_interval)

    def pause(self, seconds: float) -> None:
        """Wait; the script ends as soon as the client leaves or the server stops, as in `hang`."""
        self.connection.pause(seconds)

    def hang(self) -> None:
        self.keep = False
        self.connection.pause(None)

    def reset(self) -> None:
        """End the connection with a TCP reset."""
        self.connection.reset()

    def close(self) -> None:
        """End the connection in order."""
        self.connection.close()
