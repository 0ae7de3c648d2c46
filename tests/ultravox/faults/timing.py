"""Answers that come late, or never, or a byte at a time."""

from itertools import repeat

from tests.ultravox.exchange import Exchange
from tests.ultravox.faults.scripts import (
    ATTEMPTS,
    Fault,
    cut,
    cut_head,
    later_pages,
    once,
    second_once,
    sized,
    table,
)


def _pieces(data: bytes) -> list[bytes]:
    return [data[i : i + 1] for i in range(len(data))]


def _drip_body(exchange: Exchange) -> None:
    page = exchange.page_json()
    exchange.send(sized(page)[: -len(page)])
    exchange.drip(_pieces(page))


# fmt: off
FAULTS = [
    *table(
        ("hang", "takes the request and says nothing", Exchange.hang),
        ("hang_in_headers", "sends half of the headers and stops", cut_head(Exchange.hang)),
        ("hang_in_body", "sends half of the page and stops", cut(0.5, Exchange.hang)),
        ("drip_headers", "sends the headers a byte at a time",
         lambda e: e.drip(_pieces(sized(e.page_json())))),
        ("drip_body", "sends the page a byte at a time", _drip_body),
        ("continue_endless", "sends 100 Continue without end",
         lambda e: e.drip(repeat(b"HTTP/1.1 100 Continue\r\n\r\n"))),
        expect="ultravox_error", requests=ATTEMPTS, slow=True,
    ),
    Fault("hang_later_page", "serves the first page and hangs on the second", later_pages(Exchange.hang),
          expect="ultravox_error", requests=1 + ATTEMPTS, slow=True),
    *table(
        ("hang_once", "hangs on the first request", once(Exchange.hang)),
        ("hang_in_body_once", "stops in the middle of the page, the first time",
         once(cut(0.5, Exchange.hang))),
        ("hang_later_page_once", "hangs on the second page, the first time", second_once(Exchange.hang)),
        slow=True,
    ),
]
