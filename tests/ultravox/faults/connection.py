"""Connections that break, and those that end otherwise than most do."""

from itertools import repeat

from tests.ultravox.exchange import Exchange
from tests.ultravox.faults.scripts import (
    ATTEMPTS,
    Fault,
    Script,
    answer,
    chunk,
    chunked,
    cut,
    cut_head,
    once,
    raw,
    sized,
    table,
)

# fmt: off
_ENDS: list[tuple[str, str, Script]] = [
    ("reset_before_headers", "resets the connection instead of answering", Exchange.reset),
    ("close_before_headers", "closes the connection instead of answering", Exchange.close),
    ("close_in_headers", "closes the connection within the headers", cut_head(Exchange.close)),
    ("close_in_body", "closes the connection within the page", cut(0.5, Exchange.close)),
    ("close_before_last_chunk", "sends all of the page in chunks, and not the empty one that ends it",
     raw(lambda page: chunked(chunk(page)))),
]
# fmt: on


def _close_after(exchange: Exchange) -> None:
    exchange.normal()
    exchange.keep = False


def _trailing(exchange: Exchange) -> None:
    exchange.send(sized(exchange.page_json()) + b"\r\n\r\nand something else entirely\r\n\r\n")
    exchange.keep = True


def _endless_chunks(exchange: Exchange) -> None:
    exchange.send(chunked(chunk(b'{"next":null,"results":[')))
    exchange.send(repeat(chunk(b" " * 65536, 65536)))


# fmt: off
FAULTS = [
    Fault("reset_on_connect", "resets every connection without reading a request", Exchange.reset,
          expect="ultravox_error", requests=ATTEMPTS, refuses=True),
    *table(
        *((f"{name}_always", f"{does}, each time", script) for name, does, script in _ENDS),
        ("chunks_endless", "sends a page in chunks that never ends", _endless_chunks),
        expect="ultravox_error", requests=ATTEMPTS,
    ),
    *table(
        *((f"{name}_once", f"{does}, the first time", once(script)) for name, does, script in _ENDS)
    ),
    *table(
        ("close_between_pages", "closes the connection after each page, without having said so",
         _close_after),
        ("trailing_garbage", "sends something else after each page, on a connection that stays open",
         _trailing),
        ("http_1_0", "answers in HTTP/1.0", raw(lambda page: answer(page, line=b"HTTP/1.0 200 OK"))),
        ("chunked", "sends the page in chunks", raw(lambda page: chunked(chunk(page) + b"0\r\n\r\n"))),
    ),
]
