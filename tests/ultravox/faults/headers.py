"""Headers that are wrong, or that a client must not believe."""

from tests.ultravox.exchange import Exchange
from tests.ultravox.faults.scripts import ATTEMPTS, Fault, answer, changed, once, raw, table


def _endless(exchange: Exchange) -> None:
    exchange.send(b"HTTP/1.1 200 OK\r\n")
    exchange.send(b"X-More-%d: and more\r\n" % i for i in range(20_000_000))


def _half(page: bytes) -> bytes:
    return page[: len(page) // 2]


# fmt: off
FAULTS = [
    *table(
        ("content_length_word", "sends a Content-Length that is no number, and half a page",
         raw(lambda page: answer(_half(page), b"Content-Length: plenty"))),
        ("content_length_missing_cut", "sends half a page and no Content-Length, each time",
         raw(lambda page: answer(_half(page)))),
        ("headers_endless", "sends headers without end", _endless),
        expect="ultravox_error", requests=ATTEMPTS,
    ),
    Fault("content_length_short", "sends a Content-Length of half the page that follows",
          raw(lambda page: answer(page, b"Content-Length: %d" % (len(page) // 2))),
          expect="ultravox_error", requests=1),
    *table(
        ("content_length_missing", "sends no Content-Length: the page ends with the connection",
         raw(lambda page: answer(page))),
        ("content_length_missing_cut_once", "sends half a page and no Content-Length, the first time",
         once(raw(lambda page: answer(_half(page))))),
        ("content_type_html", "labels a page as HTML", changed(bytes, Content_Type="text/html")),
        ("content_type_latin1", "labels a page, which is UTF-8, as Latin-1",
         changed(bytes, Content_Type="application/json; charset=iso-8859-1")),
    ),
]
