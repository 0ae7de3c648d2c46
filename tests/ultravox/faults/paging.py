"""Listings that have no end, lead elsewhere, or break on the way."""

from collections.abc import Callable
from urllib.parse import urlsplit

from sandbox.api import LISTING_PATH, encode_cursor
from tests.ultravox.exchange import Exchange
from tests.ultravox.faults.scripts import (
    ATTEMPTS,
    Fault,
    Script,
    body,
    is_second,
    later_pages,
    next_is,
    paged,
    status,
    table,
    tail,
)


def _own(exchange: Exchange, suffix: str = "") -> None:
    following = exchange.base_url + exchange.request.target + suffix
    exchange.reply(200, {**exchange.page(), "next": following})


def _back(make: Callable[[Exchange], str]) -> Script:
    """Lead from the second page back to a target."""
    return later_pages(lambda e: e.reply(200, {**e.page(), "next": e.base_url + make(e)}))


def _endless(exchange: Exchange) -> None:
    following = f"{exchange.base_url}{LISTING_PATH}?cursor=fresh-{exchange.n}&pageSize=100"
    exchange.reply(200, {**exchange.page(0), "next": following})


def _from(base: str) -> Script:
    """Give a `next` on a base URL made of {netloc}, {host}, {port} and {decoy}."""

    def make(exchange: Exchange) -> str:
        url = urlsplit(exchange.base_url)
        names = {"netloc": url.netloc, "host": url.hostname, "port": url.port}
        return base.format(decoy=exchange.decoy.netloc, **names) + tail(exchange)

    return next_is(make)


def _here(suffix: str) -> Script:
    return next_is(lambda e: f"{e.base_url}{LISTING_PATH}?{suffix}")


def _empty_first(exchange: Exchange) -> None:
    """Answer each request for a page with an empty one first."""
    if "rest" in exchange.request.query:
        exchange.normal()
        return
    following = exchange.base_url + exchange.request.target + "&rest=1"
    exchange.reply(200, {"next": following, "results": [], "total": 300})


_ELSEWHERE = {
    "other_host": ("http://evil.test", "on a host that does not exist"),
    "other_port": ("http://{decoy}", "on another port"),
    "https": ("https://{netloc}", "that is the same but for HTTPS"),
    "localhost": ("http://localhost:{port}", "on its own port, under another name"),
    "userinfo": ("http://{netloc}@{decoy}", "with its own address as a user's name"),
    "password": ("http://user:password@{netloc}", "with a password for its own host"),
    "scheme_relative": ("//{decoy}", "without a scheme, on another host"),
    "backslash": ("http://{netloc}\\@{decoy}", "with a backslash before another host"),
    "suffix": ("http://{host}.evil.test:{port}", "on a host whose name begins like its own"),
    "file": ("file:///etc/hostname?", "that is a file"),
    "broken": ("http://[::1", "that is half an address"),
}

# fmt: off
FAULTS = [
    *table(
        ("next_fragment", "gives each page itself as next, with ever new fragments",
         lambda e: _own(e, f"#{e.n}")),
        ("next_loop", "gives each page itself as next", _own),
        ("next_back_to_start", "leads from the second page to the URL that was asked for first",
         _back(lambda e: e.first_target)),
        expect="ultravox_error", requests=2,
    ),
    *table(
        ("next_loop_of_two", "leads from the second page back to the first",
         _back(lambda e: f"{LISTING_PATH}?pageSize={e.page_size}&cursor={encode_cursor(0)}")),
        ("next_endless", "gives the same voices with ever new cursors", _endless),
        expect="ultravox_error",
    ),
    *table(
        *(
            (f"next_{name}", f"gives a next {what}", _from(base))
            for name, (base, what) in _ELSEWHERE.items()
        ),
        ("next_number", "gives a next that is a number", next_is(lambda e: 2)),
        ("next_false", "gives a next that is false", next_is(lambda e: False)),
        expect="ultravox_error", requests=1,
    ),
    *table(
        ("next_newline", "gives a next with a header of its own in it",
         _here("cursor=x HTTP/1.1\r\nX-Injected: yes\r\nX-Y: z")),
        ("next_surrogate", "gives a next with half a surrogate pair", _here("\ud83e")),
        ("second_page_404", "answers 404 to the second page", later_pages(status(404))),
        ("second_page_null", "answers the second page with null", later_pages(body("null"))),
        ("second_page_500", "answers 500 to the second page", later_pages(status(500))),
        expect="ultravox_error", requests=1 + ATTEMPTS,
    ),
    Fault("second_page_401", "answers 401 to the second page", later_pages(status(401)),
          expect="key_rejected", requests=2),
    *table(
        ("every_page_500_once", "answers 500 to each page, the first time",
         lambda e: status(500)(e) if e.attempt == 1 else e.normal()),
        ("next_path", "gives a next that is only path and query", next_is(tail)),
        ("next_query", "gives a next that is only a query",
         next_is(lambda e: tail(e).removeprefix(LISTING_PATH))),
        ("next_empty_page", "gives an empty page before each page", _empty_first),
        ("next_empty_at_end", "ends with a next that is empty text",
         paged(lambda page: page.update(next=page["next"] or ""))),
        ("next_missing_at_end", "ends with a page that has no next",
         paged(lambda page: page["next"] or page.pop("next"))),
        ("voice_added", "shows a list that grew before the second page",
         lambda e: e.reply(200, e.page_json(e.offset - 1 if is_second(e) else None))),
    ),
]
