"""The form of a fault, and how its script is made."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from sandbox.api import LISTING_PATH, encode_cursor
from tests.ultravox.exchange import Exchange

Script = Callable[[Exchange], object]
Change = Callable[[bytes], bytes]
Json = dict[str, Any]

ATTEMPTS = 4


@dataclass(frozen=True)
class Fault:
    """One way to misbehave, and what is expected of a client and a sync that meet it.

    `expect`: "synced" (all of the catalogue is stored), "skipped" (the same, and `skipped` records
    are not), "ultravox_error", or "key_rejected", which is one of these (nothing is stored). `extra`
    is how many voices more than the catalogue has are stored. `requests` is the most listing requests
    that a client may need. `slow`: the client is kept until its timeout or deadline. `refuses`:
    connections are reset before a request is read.
    """

    name: str
    does: str
    script: Script
    expect: Literal["synced", "skipped", "ultravox_error", "key_rejected"] = "synced"
    requests: int | None = None
    skipped: int = 0
    extra: int = 0
    slow: bool = False
    refuses: bool = False
    group: str = ""

    @property
    def fails(self) -> bool:
        return self.expect in ("ultravox_error", "key_rejected")


def table(*rows: tuple[str, str, Script], **common: Any) -> list[Fault]:
    """Return a fault for each row of name, what it does, script."""
    return [Fault(*row, **common) for row in rows]


# When


def once(script: Script) -> Script:
    """Misbehave on the first request only."""
    return lambda e: script(e) if e.n == 1 else e.normal()


def first_page(script: Script) -> Script:
    return lambda e: e.normal() if e.offset else script(e)


def later_pages(script: Script) -> Script:
    return lambda e: script(e) if e.offset else e.normal()


def second_once(script: Script) -> Script:
    """Misbehave the first time that the second page is asked for."""
    return lambda e: script(e) if is_second(e) and e.attempt == 1 else e.normal()


def is_second(exchange: Exchange) -> bool:
    return exchange.offset == exchange.page_size


# What


def status(number: int, **fields: str) -> Script:
    """Answer with a status; `Retry_After="1"` is a header."""
    headers = {name.replace("_", "-"): value for name, value in fields.items()}
    return lambda e: e.reply(number, {"detail": "As told."}, headers=headers)


def body(content: bytes | str, **fields: str) -> Script:
    """Answer 200 with a body."""
    data = content.encode() if isinstance(content, str) else content
    return changed(lambda page: data, **fields)


def changed(change: Change, **fields: str) -> Script:
    """Change each page's bytes."""
    headers = {name.replace("_", "-"): value for name, value in fields.items()}
    return lambda e: e.reply(200, change(e.page_json()), headers=headers)


def paged(change: Callable[[Json], object]) -> Script:
    """Change each page."""

    def script(exchange: Exchange) -> None:
        page = exchange.page()
        change(page)
        exchange.reply(200, page)

    return script


def raw(make: Change) -> Script:
    """Send bytes made of the page's, then close the connection."""
    return lambda e: e.send(make(e.page_json()))


def answer(content: bytes, *fields: bytes, line: bytes = b"HTTP/1.1 200 OK") -> bytes:
    """Return an HTTP answer of just these headers."""
    return b"\r\n".join([line, b"Content-Type: application/json", *fields, b"", content])


def sized(content: bytes, *fields: bytes) -> bytes:
    return answer(content, b"Content-Length: %d" % len(content), *fields)


def chunked(content: bytes) -> bytes:
    return answer(content, b"Transfer-Encoding: chunked")


def chunk(content: bytes, size: int = 5_000) -> bytes:
    pieces = (content[i : i + size] for i in range(0, len(content), size))
    return b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces)


def cut(share: float, end: Script) -> Script:
    """End within the answer, after a share of its body."""

    def script(exchange: Exchange) -> None:
        content = exchange.page_json()
        exchange.send(sized(content)[: int(len(content) * share) - len(content) or None])
        end(exchange)

    return script


def cut_head(end: Script) -> Script:
    def script(exchange: Exchange) -> None:
        exchange.send(b"HTTP/1.1 200 OK\r\nContent-Type: appl")
        end(exchange)

    return script


def next_is(make: Callable[[Exchange], Any]) -> Script:
    """Give the first page another `next`."""
    return first_page(lambda e: e.reply(200, {**e.page(), "next": make(e)}))


def tail(exchange: Exchange) -> str:
    """Return path and query of the second page."""
    size = exchange.page_size
    return f"{LISTING_PATH}?pageSize={size}&cursor={encode_cursor(size)}"


def more(*records: Any) -> Script:
    """Put records before those of the first page."""
    return first_page(paged(lambda page: page["results"].__setitem__(slice(0, 0), records)))
