"""Answers that are no 200, and when to try again."""

import time
from email.utils import formatdate

from tests.ultravox.exchange import Exchange
from tests.ultravox.faults.scripts import ATTEMPTS, Fault, Script, once, status, table

RETRIED = (429, 500, 502, 503, 504)


def _with_page(number: int) -> Script:
    return lambda e: e.reply(number, e.page_json())


def _half_page(exchange: Exchange) -> None:
    page = exchange.page_json()
    content_range = {"Content-Range": f"bytes 0-{len(page) // 2 - 1}/{len(page)}"}
    exchange.reply(206, page[: len(page) // 2], headers=content_range)


def _in_a_second(exchange: Exchange) -> None:
    status(429, Retry_After=formatdate(time.time() + 1, usegmt=True))(exchange)


# fmt: off
FAULTS = [
    *table(
        ("status_400", "answers 400", status(400)),
        ("status_404", "answers 404", status(404)),
        ("status_501", "answers 501, which is not worth a retry", status(501)),
        ("status_201", "answers 201 with a good page", _with_page(201)),
        ("status_206", "answers 206 with half a page", _half_page),
        expect="ultravox_error", requests=1,
    ),
    *table(
        ("status_401", "answers 401, as for a revoked key", status(401)),
        ("status_402", "answers 402, as for an unpaid account", status(402)),
        ("status_403", "answers 403", status(403)),
        ("retry_after_absurd", "answers 429, try again in a year",
         status(429, Retry_After="31536000")),
        ("retry_after_astronomic", "answers 429, try again in more seconds than a clock has",
         status(429, Retry_After="9" * 20)),
        ("retry_after_absurd_date", "answers 429, try again in the year 9999",
         status(429, Retry_After="Fri, 31 Dec 9999 23:59:59 GMT")),
        expect="key_rejected", requests=1,
    ),
    *table(
        ("status_500_always", "answers 500 to every request", status(500)),
        ("status_503_always", "answers 503 to every request", status(503)),
        ("status_line_garbage", "answers with bytes that are not HTTP",
         lambda e: e.send(b"\x00\xfe\xff not HTTP at all\r\n\r\n")),
        expect="ultravox_error", requests=ATTEMPTS,
    ),
    Fault("status_429_always", "answers 429 to every request", status(429),
          expect="key_rejected", requests=ATTEMPTS),
    *table(
        *(
            (f"status_{n}_once", f"answers {n} to the first request", once(status(n)))
            for n in RETRIED
        ),
        ("retry_after_seconds", "answers 429, try again in one second",
         once(status(429, Retry_After="1"))),
        ("retry_after_date", "answers 429, try again at the date that it is in a second",
         once(_in_a_second)),
        ("retry_after_zero", "answers 503, try again at once", once(status(503, Retry_After="0"))),
        ("retry_after_past", "answers 503, try again at a date that is over",
         once(status(503, Retry_After="Wed, 21 Oct 2015 07:28:00 GMT"))),
        ("retry_after_malformed", "answers 503, try again soon", once(status(503, Retry_After="soon"))),
        ("status_500_thrice", "answers 500 to the first three requests",
         lambda e: status(500)(e) if e.n < ATTEMPTS else e.normal()),
    ),
]
