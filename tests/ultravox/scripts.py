"""A fault, and the building blocks of scripts."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sandbox.api import LISTING_PATH, dump, encode_cursor
from tests.ultravox.exchange import Exchange
from voiceproject.errors import UltravoxError

Script = Callable[[Exchange], object]


@dataclass(frozen=True)
class Fault:
    """One way to misbehave, and the error that the client must raise, if any.

    `requests` is the most requests for pages that the client may send. `exact`: records arrive as they are
    in the catalogue. `slow`: the client waits until its timeout.
    """

    script: Script
    error: type[UltravoxError] | None = None
    requests: int = 99
    exact: bool = True
    slow: bool = False


def once(script: Script) -> Script:
    """Misbehave on the first request only."""
    return lambda e: script(e) if e.n == 1 else e.normal()


def first_page(script: Script) -> Script:
    return lambda e: e.normal() if e.offset else script(e)


def later_pages(script: Script) -> Script:
    return lambda e: script(e) if e.offset else e.normal()


def status(number: int, **headers: str) -> Script:
    fields = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda e: e.reply(number, {"detail": "A fault."}, headers=fields)


def change_bytes(change: Callable[[bytes], bytes], encoding: str = "identity") -> Script:
    """Change the bytes of each page."""
    headers = {"Content-Encoding": encoding}
    return lambda e: e.reply(200, change(e.page_json()), headers=headers)


def change_page(change: Callable[[dict[str, Any]], object]) -> Script:
    """Change the content of each page in place."""

    def script(exchange: Exchange) -> None:
        page = exchange.page()
        change(page)
        exchange.reply(200, page)

    return script


def raw(content: bytes, *headers: bytes) -> bytes:
    """Return the bytes of a response with only these headers."""
    return b"\r\n".join([b"HTTP/1.1 200 OK", *headers, b"", content])


def sized(content: bytes) -> bytes:
    return raw(content, b"Content-Length: %d" % len(content))


def send(make: Callable[[bytes], bytes], end: Script = lambda e: None) -> Script:
    """Send bytes made from those of the page, then end the connection."""

    def script(exchange: Exchange) -> None:
        exchange.send(make(exchange.page_json()))
        end(exchange)

    return script


def stop_in_headers(end: Script) -> Script:
    return send(lambda page: sized(page)[:30], end)


def stop_in_body(end: Script) -> Script:
    return send(lambda page: sized(page)[:-100], end)


def drip(data: bytes, start: int = 0) -> Script:
    """Send the first bytes at once, and the others one at a time."""
    pieces = [data[:start], *(data[i : i + 1] for i in range(start, len(data)))]
    return lambda e: e.drip(pieces)


def redirect(location: Callable[[Exchange], str], number: int = 302) -> Script:
    return lambda e: e.reply(number, headers={"Location": location(e)})


def redirect_away(exchange: Exchange) -> None:
    exchange.reply(302, headers={"Location": f"{exchange.server.decoy.url}{LISTING_PATH}"})


def redirect_here(number: int = 302, then: Script = Exchange.normal) -> Script:
    """Redirect once to a URL on Ultravox."""
    script = redirect(lambda e: f"{e.request.target}&moved=1", number)
    return lambda e: then(e) if "moved" in e.request.query else script(e)


def second_page(exchange: Exchange) -> str:
    """Return path and query of the second page."""
    size = exchange.server.page_size(exchange.request.query)
    return f"{LISTING_PATH}?pageSize={size}&cursor={encode_cursor(size)}"


def link(make: Callable[[Exchange], Any]) -> Script:
    """Change the `next` of each page."""
    return lambda e: e.reply(200, {**e.page(), "next": make(e)})


def add_record(record: Any) -> Script:
    return first_page(change_page(lambda page: page["results"].append(record)))


def set_definition(value: bytes) -> Script:
    """Set the first voice's definition to JSON that `json` would not write."""

    def script(exchange: Exchange) -> None:
        page = exchange.page()
        page["results"][0]["definition"] = "@raw@"
        exchange.reply(200, dump(page).replace(b'"@raw@"', value, 1))

    return first_page(script)
