"""One request for a listing and what is done about it: the hands of a fault."""

import json
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from sandbox.connection import Connection, Request
from sandbox.listing import BadQueryError, decode_cursor, decode_page_size, dump

if TYPE_CHECKING:
    from sandbox.server import Sandbox

Headers = dict[str, str] | list[tuple[str, str]]


def make_head(status: int, headers: Headers, *, reason: str | None = None) -> bytes:
    """Return status line and headers, the empty line included."""
    if reason is None:
        try:
            reason = HTTPStatus(status).phrase
        except ValueError:
            reason = "Unknown"
    fields = headers.items() if isinstance(headers, dict) else headers
    lines = [f"HTTP/1.1 {status} {reason}", *(f"{name}: {value}" for name, value in fields)]
    return "\r\n".join([*lines, "\r\n"]).encode("latin-1")


class Exchange:
    """A request, and the ways to answer it or not to.

    `n` counts the listing requests since the fault was set or the sandbox was reset, `attempt`
    those of them for the same target, both from 1; `first_target` is the target of the first.
    The connection stays open after the script if `keep` is true: not after bytes of its own.
    """

    def __init__(
        self,
        sandbox: "Sandbox",
        connection: Connection,
        request: Request,
        *,
        n: int,
        attempt: int,
        first_target: str,
    ) -> None:
        self.sandbox = sandbox
        self.connection = connection
        self.request = request
        self.n = n
        self.attempt = attempt
        self.first_target = first_target
        self.base_url = sandbox.base_url(request)
        self.keep = request.keep_alive

    @property
    def offset(self) -> int:
        """The place of the first voice asked for; 0 where the cursor makes no sense."""
        cursor = self.request.query.get("cursor")
        try:
            return decode_cursor(cursor) if cursor else 0
        except BadQueryError:
            return 0

    @property
    def page_size(self) -> int:
        return decode_page_size(self.request.query, self.sandbox.max_page_size)

    def page_json(self, offset: int | None = None) -> bytes:
        """Return the JSON of the page asked for, or of the one at another offset."""
        place = self.offset if offset is None else offset
        return self.sandbox.listing.page(self.base_url, self.request.parameters, place)

    def page(self, offset: int | None = None) -> dict[str, Any]:
        """Return the page asked for, or the one at another offset: a copy to change."""
        page: dict[str, Any] = json.loads(self.page_json(offset))
        return page

    def normal(self) -> None:
        """Answer as the sandbox does without a fault."""
        self.sandbox.answer_listing(self)

    def reply(
        self,
        status: int = 200,
        body: bytes | str | dict[str, Any] | list[Any] | None = b"",
        *,
        headers: Headers | None = None,
        reason: str | None = None,
    ) -> None:
        """Answer with a body and its Content-Length; what is not bytes or text becomes JSON.

        Headers given as a dict replace those of the same name; those of a list are all there are.
        """
        if isinstance(body, str):
            body = body.encode()
        elif not isinstance(body, bytes):
            body = dump(body)
        if isinstance(headers, list):
            head = make_head(status, headers, reason=reason)
        else:
            fields = {"Content-Type": "application/json", "Content-Length": str(len(body))}
            if not self.keep:
                fields["Connection"] = "close"
            head = make_head(status, fields | (headers or {}), reason=reason)
        self.connection.send(head if self.request.method == "HEAD" else head + body)

    def send(self, data: bytes) -> None:
        """Send bytes as they are; the connection is closed after the script."""
        self.keep = False
        self.connection.send(data)

    def pause(self, seconds: float) -> None:
        """Wait; ends the script as soon as the client leaves or the sandbox stops."""
        self.connection.pause(seconds)

    def hang(self, seconds: float | None = None) -> None:
        """Say nothing until the client leaves, the sandbox stops or the time is over."""
        self.keep = False
        self.connection.pause(seconds)

    def reset(self) -> None:
        """End the connection with a TCP reset."""
        self.connection.reset()

    def close(self) -> None:
        """End the connection in order."""
        self.connection.close()
