"""Faults of Ultravox: what happens to requests for pages. Some need a catalogue of three pages."""

import gzip
from collections.abc import Callable
from itertools import repeat
from typing import Any

from tests.ultravox import scripts
from tests.ultravox.exchange import Exchange
from tests.ultravox.scripts import Fault, Script
from voiceproject.errors import KeyRejected, UltravoxError

ATTEMPTS = 4  # requests for one page: the first and three retries
RETRIED = (429, 500, 502, 503, 504)
LARGE = b'{"next":null,"results":[],"padding":"' + b"x" * (8 << 20) + b'"}'
BOMB = gzip.compress(LARGE, 1)
FIRST_PAGE = "/api/voices?pageSize=100&limit=100"  # as the client requests it


def make_faults(named: dict[str, Script], **common: Any) -> dict[str, Fault]:
    return {name: Fault(script, **common) for name, script in named.items()}


def link_first(make: Callable[[Exchange], Any]) -> Script:
    """Change the `next` of the first page."""
    return scripts.first_page(scripts.link(make))


def nested(levels: int) -> Script:
    return scripts.set_definition(b'{"in":' * levels + b"0" + b"}" * levels)


BREAKS: dict[str, Script] = {
    "reset_before_headers": Exchange.reset,
    "close_before_headers": Exchange.close,
    "close_in_headers": scripts.stop_in_headers(Exchange.close),
    "close_in_body": scripts.stop_in_body(Exchange.close),
    "content_length_missing_cut": scripts.send(lambda page: scripts.raw(page[:-100])),
}
HANGS: dict[str, Script] = {
    "hang": Exchange.hang,
    "hang_in_headers": scripts.stop_in_headers(Exchange.hang),
    "hang_in_body": scripts.stop_in_body(Exchange.hang),
}

ENDS_WITH_ERROR = {
    "status_400": scripts.status(400),
    "body_html": lambda e: e.reply(200, "<!doctype html>"),
    "body_truncated": scripts.change_bytes(lambda page: page[:-100]),
    "body_results_missing": lambda e: e.reply(200, {"next": None}),
    "body_latin_1": scripts.change_bytes(lambda page: page.replace(b'":"', b'":"\xe9', 1)),
    "body_gzip_corrupt": scripts.change_bytes(
        lambda page: gzip.compress(page)[:99] + b"\xff" * 99, "gzip"
    ),
    "body_gzip_bomb": scripts.change_bytes(lambda page: BOMB, "gzip"),
    "body_huge": scripts.change_bytes(lambda page: LARGE),
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
    "retry_after_malformed": scripts.once(scripts.status(503, Retry_After="soon")),
}
WORKS = {
    "close_between_pages": scripts.send(scripts.sized),
    "body_gzip": scripts.change_bytes(gzip.compress, "gzip"),
    "body_total_missing": scripts.change_page(lambda page: page.pop("total")),
}

IS_FOLLOWED = {
    **{f"redirect_{n}": scripts.redirect_here(n) for n in (301, 302, 303, 307, 308)},
    "next_path": link_first(scripts.second_page),
    "next_empty_at_end": scripts.change_page(lambda page: page.update(next=page["next"] or "")),
    "next_missing_at_end": scripts.change_page(lambda page: page["next"] or page.pop("next")),
}
IS_NOT_FOLLOWED = {
    "redirect_away": scripts.redirect_away,
    "redirect_nowhere": lambda e: e.reply(302),
    "next_away": link_first(lambda e: e.server.decoy.url + scripts.second_page(e)),
    "definition_nested_100000": nested(100_000),
}
ENDS_ON_SECOND_REQUEST = {
    "redirect_here_then_away": scripts.redirect_here(then=scripts.redirect_away),
    "next_loop": scripts.link(lambda e: e.base_url + e.request.target),
    "next_fragment": scripts.link(lambda e: f"{e.base_url}{e.request.target}#{e.n}"),
    "next_first_page": scripts.later_pages(scripts.link(lambda e: FIRST_PAGE)),
}
ENDS_ON_SECOND_PAGE = {
    "next_newline": link_first(lambda e: "?cursor=x HTTP/1.1\r\nX-Injected: yes\r\nX-Y: z"),
    "second_page_404": scripts.later_pages(scripts.status(404)),
    "second_page_500": scripts.later_pages(scripts.status(500)),
}
CHANGES_VOICE = {
    "record_null": scripts.add_record(None),
    "number_nan": scripts.set_definition(b"[NaN,-Infinity]"),
    "number_64_bits": scripts.set_definition(b"[9223372036854775808,-1%s]" % (b"0" * 30)),
    "number_5000_digits": scripts.set_definition(b"7" * 5_000),
    "definition_nested_900": nested(900),
}

FAULTS = {
    **make_faults(ENDS_WITH_ERROR | IS_NOT_FOLLOWED, error=UltravoxError, requests=1),
    **make_faults(ENDS_AFTER_RETRIES, error=UltravoxError, requests=ATTEMPTS),
    **make_faults(ENDS_AFTER_TIMEOUTS, error=UltravoxError, requests=ATTEMPTS, slow=True),
    **make_faults(ENDS_ON_SECOND_REQUEST, error=UltravoxError, requests=2),
    **make_faults(ENDS_ON_SECOND_PAGE, error=UltravoxError, requests=1 + ATTEMPTS),
    **make_faults(IS_RETRIED | WORKS | IS_FOLLOWED),
    **make_faults({f"{n}_once": scripts.once(script) for n, script in HANGS.items()}, slow=True),
    **make_faults(CHANGES_VOICE, exact=False),
    **make_faults(
        {f"status_{n}": scripts.status(n) for n in (401, 402, 403)}, error=KeyRejected, requests=1
    ),
    "status_429_always": Fault(scripts.status(429), KeyRejected, ATTEMPTS),
    "second_page_401": Fault(scripts.later_pages(scripts.status(401)), KeyRejected, 2),
    "hang_later_page": Fault(
        scripts.later_pages(Exchange.hang), UltravoxError, 1 + ATTEMPTS, slow=True
    ),
    "redirect_loop": Fault(
        scripts.redirect(lambda e: e.base_url + e.request.target), UltravoxError, 6
    ),
}
