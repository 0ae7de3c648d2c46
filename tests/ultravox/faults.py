"""Faults of Ultravox. Set one with `Ultravox.fault`; it then affects every request for a page.

Some show only on a second page, so they need a catalogue of more than two pages.
"""

import functools
import gzip
import zlib
from itertools import repeat
from typing import Any

from sandbox.api import LISTING_PATH
from tests.ultravox import scripts
from tests.ultravox.exchange import Exchange, make_head
from tests.ultravox.scripts import Fault, Script

ATTEMPTS = 4  # requests for one page: the first and three retries
RETRIED = (429, 500, 502, 503, 504)
MEGABYTE = b"x" * (1 << 20)
OPENING, CLOSING = b'{"next":null,"results":[],"padding":"', b'"}'


def make_faults(named: dict[str, Script], **common: Any) -> dict[str, Fault]:
    return {name: Fault(script, **common) for name, script in named.items()}


@functools.cache
def compressed_64_mb(wbits: int) -> bytes:
    """Return a compressed page of 64 MB: valid JSON without a voice."""
    compressor = zlib.compressobj(level=1, wbits=wbits)
    parts = [compressor.compress(part) for part in (OPENING, *[MEGABYTE] * 64, CLOSING)]
    return b"".join(parts) + compressor.flush()


def send_bomb(wbits: int, encoding: str) -> Script:
    headers = {"Content-Encoding": encoding}
    return lambda e: e.reply(200, compressed_64_mb(wbits), headers=headers)


def send_50_mb(exchange: Exchange) -> None:
    length = str(len(OPENING + CLOSING) + 50 * len(MEGABYTE))
    exchange.send(make_head(200, {"Content-Length": length}) + OPENING)
    exchange.send(repeat(MEGABYTE, 50))


def send_garbage_after(exchange: Exchange) -> None:
    exchange.send(scripts.sized(exchange.page_json()) + b"\r\n\r\nand something else\r\n\r\n")
    exchange.keep = True


def reply_206(exchange: Exchange) -> None:
    content_range = {"Content-Range": "bytes 0-99/1000"}
    exchange.reply(206, exchange.page_json(), headers=content_range)


def link_behind_own_name(exchange: Exchange) -> str:
    own = exchange.base_url.removeprefix("http://")
    return f"http://{own}@{exchange.decoy.netloc}{scripts.second_page(exchange)}"


BREAKS: dict[str, Script] = {
    "reset_before_headers": Exchange.reset,
    "close_before_headers": Exchange.close,
    "close_in_headers": scripts.stop_in_headers(Exchange.close),
    "close_in_body": scripts.stop_in_body(Exchange.close),
    "content_length_missing_cut": scripts.send(lambda page: scripts.raw(scripts.half(page))),
}
HANGS: dict[str, Script] = {
    "hang": Exchange.hang,
    "hang_in_headers": scripts.stop_in_headers(Exchange.hang),
    "hang_in_body": scripts.stop_in_body(Exchange.hang),
}

# HTTP: status, connection, time and body

ENDS_WITH_ERROR = {
    "status_400": scripts.status(400),
    "status_206": reply_206,
    "content_length_short": scripts.send(
        lambda page: scripts.raw(page, b"Content-Length: %d" % (len(page) // 2))
    ),
    "body_html": scripts.body("<!doctype html><h1>Checking your browser</h1>"),
    "body_list": scripts.body("[]"),
    "body_truncated": scripts.change_bytes(scripts.half),
    "body_nested_100000": scripts.body('{"results":' + "[" * 100_000 + "]" * 100_000 + "}"),
    "body_results_missing": scripts.body('{"next":null,"total":0}'),
    "body_latin_1": scripts.change_bytes(lambda p: p.replace(b'"name":"', b'"name":"\xe9', 1)),
    "body_surrogate": scripts.change_bytes(
        lambda p: p.replace(b'"name":"', b'"name":"\xed\xa0\x80', 1)
    ),
    "body_gzip_corrupt": scripts.change_bytes(
        lambda page: gzip.compress(page, 1)[:200] + b"\xff" * 200, "gzip"
    ),
    "body_gzip_bomb": send_bomb(31, "gzip"),
    "body_deflate_bomb": send_bomb(15, "deflate"),
    "body_huge": send_50_mb,
}
ENDS_AFTER_RETRIES = {
    "status_500_always": scripts.status(500),
    "status_line_garbage": lambda e: e.send(b"\x00\xfe\xff not HTTP at all\r\n\r\n"),
    **{f"{name}_always": script for name, script in BREAKS.items()},
}
ENDS_AFTER_TIMEOUTS = {
    **HANGS,
    "drip_headers": lambda e: scripts.drip(scripts.sized(e.page_json()))(e),
    "drip_body": lambda e: scripts.drip(scripts.sized(e.page_json()), 100)(e),
    "continue_endless": lambda e: e.drip(repeat(b"HTTP/1.1 100 Continue\r\n\r\n")),
}
IS_RETRIED = {
    **{f"status_{number}_once": scripts.once(scripts.status(number)) for number in RETRIED},
    **{f"{name}_once": scripts.once(script) for name, script in BREAKS.items()},
    "status_500_thrice": lambda e: scripts.status(500)(e) if e.n < ATTEMPTS else e.normal(),
    "every_page_500_once": lambda e: scripts.status(500)(e) if e.attempt == 1 else e.normal(),
    "retry_after_past": scripts.once(
        scripts.status(503, Retry_After="Wed, 21 Oct 2015 07:28:00 GMT")
    ),
    "retry_after_malformed": scripts.once(scripts.status(503, Retry_After="soon")),
}
WORKS = {
    "close_between_pages": scripts.close_without_notice,
    "trailing_garbage": send_garbage_after,
    "http_1_0": scripts.send(lambda page: scripts.raw(page, version=b"HTTP/1.0")),
    "chunked": scripts.send(scripts.chunked),
    "body_bom": scripts.change_bytes(lambda page: b"\xef\xbb\xbf" + page),
    "body_gzip": scripts.change_bytes(gzip.compress, "gzip"),
    "body_deflate": scripts.change_bytes(zlib.compress, "deflate"),
    "body_total_string": scripts.change_page(lambda page: page.update(total="many")),
    "body_total_missing": scripts.change_page(lambda page: page.pop("total")),
}

# The listing: redirects, links and records

IS_FOLLOWED = {
    **{f"redirect_{n}": scripts.redirect_here(n) for n in (301, 302, 303, 307, 308)},
    "next_path": scripts.link_first(scripts.second_page),
    "next_empty_page": lambda e: (
        e.normal() if "rest" in e.request.query else scripts.send_empty_page(e)
    ),
    "next_empty_at_end": scripts.change_page(lambda page: page.update(next=page["next"] or "")),
    "next_missing_at_end": scripts.change_page(lambda page: page["next"] or page.pop("next")),
}
IS_NOT_FOLLOWED = {
    "redirect_away": scripts.redirect_away,
    "redirect_nowhere": lambda e: e.reply(302),
    "next_away": scripts.link_first(lambda e: e.decoy.url + scripts.second_page(e)),
    "next_behind_own_name": scripts.link_first(link_behind_own_name),
    "next_number": scripts.link_first(lambda e: 2),
    "definition_nested_100000": scripts.nested(100_000),
}
ENDS_ON_SECOND_REQUEST = {
    "redirect_here_then_away": scripts.redirect_here(then=scripts.redirect_away),
    "redirect_later_page": scripts.later_pages(scripts.redirect_away),
    "next_loop": scripts.link(lambda e: e.base_url + e.request.target),
    "next_fragment": scripts.link(lambda e: f"{e.base_url}{e.request.target}#{e.n}"),
    "next_first_page": scripts.later_pages(scripts.link(lambda e: e.base_url + e.first_target)),
}
ENDS_ON_SECOND_PAGE = {
    "next_newline": scripts.link_first(
        lambda e: f"{LISTING_PATH}?cursor=x HTTP/1.1\r\nX-Injected: yes\r\nX-Y: z"
    ),
    "next_surrogate": scripts.link_first(lambda e: f"{LISTING_PATH}?cursor=\ud83e"),
    "second_page_404": scripts.later_pages(scripts.status(404)),
    "second_page_500": scripts.later_pages(scripts.status(500)),
}
ADDS_VOICE = {
    "voice_id_number": scripts.add_records(scripts.voice(12345)),
    "voice_id_surrogate": scripts.add_records(scripts.voice("half \ud83e")),
}
CHANGES_VOICE = {
    "number_nan": scripts.set_definition(b"[NaN,-Infinity]"),
    "number_64_bits": scripts.set_definition(b"[9223372036854775808,-1%s]" % (b"0" * 30)),
    "number_5000_digits": scripts.set_definition(b"7" * 5_000),
    "definition_nested_900": scripts.nested(900),
    "voice_twice_on_each_page": scripts.repeat_first_voice,
}

ERROR, REJECTED = "ultravox_error", "key_rejected"
FAULTS = {
    **make_faults(ENDS_WITH_ERROR | IS_NOT_FOLLOWED, expect=ERROR, requests=1),
    **make_faults(ENDS_AFTER_RETRIES, expect=ERROR, requests=ATTEMPTS),
    **make_faults(ENDS_AFTER_TIMEOUTS, expect=ERROR, requests=ATTEMPTS, slow=True),
    **make_faults(ENDS_ON_SECOND_REQUEST, expect=ERROR, requests=2),
    **make_faults(ENDS_ON_SECOND_PAGE, expect=ERROR, requests=1 + ATTEMPTS),
    **make_faults(IS_RETRIED | WORKS | IS_FOLLOWED),
    **make_faults({f"{n}_once": scripts.once(script) for n, script in HANGS.items()}, slow=True),
    **make_faults(ADDS_VOICE, exact=False, extra=1),
    **make_faults(CHANGES_VOICE, exact=False),
    **make_faults(
        {f"status_{n}": scripts.status(n) for n in (401, 402, 403)}, expect=REJECTED, requests=1
    ),
    "status_429_always": Fault(scripts.status(429), expect=REJECTED, requests=ATTEMPTS),
    "second_page_401": Fault(scripts.later_pages(scripts.status(401)), expect=REJECTED, requests=2),
    "hang_later_page": Fault(
        scripts.later_pages(Exchange.hang), expect=ERROR, requests=1 + ATTEMPTS, slow=True
    ),
    "redirect_loop": Fault(
        scripts.redirect(lambda e: e.base_url + e.request.target), expect=ERROR, requests=6
    ),
    "record_null": Fault(scripts.add_records(None), exact=False, skipped=1),
    "records_bad_many": Fault(scripts.add_records(*[None] * 20_000), exact=False, skipped=20_000),
}
