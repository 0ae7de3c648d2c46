"""What can go wrong on the way to a page of voices, as data.

Each fault is set with `Sandbox.fault` and then meets every request for a listing. `expect` is what
a sync that keeps its promises makes of it. Faults of the group "paging", and those whose name says
so, need a catalogue of more than two pages to show.
"""

import functools
import gzip
import json
import time
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from email.utils import formatdate
from typing import Any, Literal
from urllib.parse import urlsplit

from sandbox.exchange import Exchange, make_head
from sandbox.listing import LISTING_PATH, dump, encode_cursor

Script = Callable[[Exchange], None]
Expectation = Literal["synced", "skipped", "ultravox_error"]
Json = dict[str, Any]


@dataclass(frozen=True)
class Fault:
    """One way to misbehave, and what is expected of a sync that meets it.

    `expect`: "synced" (all of the catalogue is stored), "skipped" (the same, and `skipped` records
    are not) or "ultravox_error" (nothing is stored). `extra` is how many voices more, or less, than
    the catalogue has are stored. `requests` is the most listing requests that a client may need.
    `slow`: the client is kept until its timeout or deadline. `refuses`: connections are reset
    before a request is read.
    """

    name: str
    group: str
    does: str
    expect: Expectation
    script: Script
    skipped: int = 0
    extra: int = 0
    requests: int | None = None
    slow: bool = False
    refuses: bool = False

    def synced(self, voices: int) -> int:
        """Return how many voices are stored of a catalogue of so many."""
        return 0 if self.expect == "ultravox_error" else voices + self.extra


FAULTS: dict[str, Fault] = {}

ATTEMPTS = 4
_EXTRA_ID = "5a4d0000-0000-4000-8000-00000000000{}"


def _add(
    group: str,
    name: str,
    does: str,
    expect: Expectation,
    script: Script,
    *,
    skipped: int = 0,
    extra: int = 0,
    requests: int | None = None,
    slow: bool = False,
    refuses: bool = False,
) -> None:
    assert name not in FAULTS, name
    FAULTS[name] = Fault(name, group, does, expect, script, skipped, extra, requests, slow, refuses)


# How scripts are made


def _once(script: Script) -> Script:
    """Make a script for the first request only."""
    return lambda exchange: script(exchange) if exchange.n == 1 else exchange.normal()


def _later(script: Script) -> Script:
    """Make a script for the second page and all after it."""
    return lambda exchange: script(exchange) if exchange.offset else exchange.normal()


def _is_second(exchange: Exchange) -> bool:
    return exchange.offset == exchange.page_size


def _second_once(script: Script) -> Script:
    """Make a script for the first time that the second page is asked for."""
    return lambda exchange: (
        script(exchange) if _is_second(exchange) and exchange.attempt == 1 else exchange.normal()
    )


def _status(status: int, body: Any = None, *, reason: str | None = None, **fields: str) -> Script:
    """Make a script that answers with a status; `Retry_After="1"` is a header."""
    headers = {name.replace("_", "-"): value for name, value in fields.items()}
    detail = {"detail": f"The sandbox was told to answer {status}."} if body is None else body
    return lambda exchange: exchange.reply(status, detail, headers=headers, reason=reason)


def _body(body: bytes | str, **fields: str) -> Script:
    """Make a script that answers 200 with a body."""
    headers = {name.replace("_", "-"): value for name, value in fields.items()}
    return lambda exchange: exchange.reply(200, body, headers=headers)


def _json(change: Callable[[bytes], bytes], **fields: str) -> Script:
    """Make a script that changes each page's bytes."""
    headers = {name.replace("_", "-"): value for name, value in fields.items()}
    return lambda exchange: exchange.reply(200, change(exchange.page_json()), headers=headers)


def _page(change: Callable[[Json], object]) -> Script:
    """Make a script that changes the first page."""

    def script(exchange: Exchange) -> None:
        if exchange.offset:
            exchange.normal()
            return
        page = exchange.page()
        change(page)
        exchange.reply(200, page)

    return script


def _every_page(change: Callable[[Json], object]) -> Script:
    def script(exchange: Exchange) -> None:
        page = exchange.page()
        change(page)
        exchange.reply(200, page)

    return script


def _more(*records: Any) -> Script:
    """Make a script that puts records before those of the first page."""
    return _page(lambda page: page["results"].__setitem__(slice(0, 0), records))


def _voice(number: int = 1, **fields: Any) -> Json:
    """Return a voice that is not in the catalogue."""
    return {
        "voiceId": _EXTRA_ID.format(number),
        "name": "Unlisted",
        "languageLabel": None,
        "previewUrl": "https://voices.example/unlisted.wav",
        "ownership": "public",
        "billingStyle": "VOICE_BILLING_STYLE_INCLUDED",
        "provider": None,
        "definition": {"lmnt": {"voiceId": "unlisted"}},
        **fields,
    }


def _without(voice: Json, field: str) -> Json:
    return {name: value for name, value in voice.items() if name != field}


def _first(**fields: Any) -> Script:
    """Make a script that changes fields of the first voice."""
    return _page(lambda page: page["results"][0].update(fields))


def _first_raw(field: str, value: bytes) -> Script:
    """Make a script that puts JSON which `json` would not write into the first voice."""

    def script(exchange: Exchange) -> None:
        if exchange.offset:
            exchange.normal()
            return
        page = exchange.page()
        page["results"][0][field] = "@raw@"
        exchange.reply(200, dump(page).replace(b'"@raw@"', value, 1))

    return script


def _next(make: Callable[[Exchange], Any]) -> Script:
    """Make a script that gives the first page another `next`."""

    def script(exchange: Exchange) -> None:
        if exchange.offset:
            exchange.normal()
            return
        page = exchange.page()
        page["next"] = make(exchange)
        exchange.reply(200, page)

    return script


def _next_from(base: str) -> Script:
    """Make a script whose `next` is on a base URL made of {netloc}, {host}, {port} and {decoy}."""

    def make(exchange: Exchange) -> str:
        origin = urlsplit(exchange.base_url)
        url = base.format(
            netloc=origin.netloc,
            host=origin.hostname,
            port=exchange.sandbox.port,
            decoy=exchange.sandbox.decoy.netloc,
        )
        return url + _tail(exchange)

    return _next(make)


def _tail(exchange: Exchange) -> str:
    """Return path and query of the second page."""
    url = exchange.page()["next"] or f"{LISTING_PATH}?cursor={encode_cursor(exchange.page_size)}"
    return LISTING_PATH + str(url).partition(LISTING_PATH)[2]


def _raw(make: Callable[[bytes], bytes]) -> Script:
    """Make a script that sends bytes made of the page's, then closes the connection."""
    return lambda exchange: exchange.send(make(exchange.page_json()))


def _answer(body: bytes, *fields: bytes, status: bytes = b"HTTP/1.1 200 OK") -> bytes:
    """Return an HTTP answer of just these headers."""
    return b"\r\n".join([status, b"Content-Type: application/json", *fields, b"", body])


def _sized(body: bytes, *fields: bytes, status: bytes = b"HTTP/1.1 200 OK") -> bytes:
    return _answer(body, b"Content-Length: %d" % len(body), *fields, status=status)


def _chunk(body: bytes, size: int, extension: bytes = b"") -> bytes:
    pieces = (body[i : i + size] for i in range(0, len(body), size))
    return b"".join(b"%x%s\r\n%s\r\n" % (len(piece), extension, piece) for piece in pieces)


def _chunked(body: bytes) -> bytes:
    return _answer(body, b"Transfer-Encoding: chunked")


def _cut(share: float, *, end: Literal["close", "reset", "hang"]) -> Script:
    """Make a script that ends within the answer, after a share of its body."""

    def script(exchange: Exchange) -> None:
        body = exchange.page_json()
        answer = _sized(body)
        exchange.send(answer[: len(answer) - len(body) + int(len(body) * share)])
        getattr(exchange, end)()

    return script


def _cut_head(end: Literal["close", "reset", "hang"]) -> Script:
    def script(exchange: Exchange) -> None:
        exchange.send(b"HTTP/1.1 200 OK\r\nContent-Type: appl")
        getattr(exchange, end)()

    return script


def _drip(exchange: Exchange, data: bytes) -> None:
    for place in range(len(data)):
        exchange.send(data[place : place + 1])
        exchange.pause(exchange.sandbox.drip_interval)


def _flood(exchange: Exchange, pieces: Iterator[bytes]) -> None:
    for piece in pieces:
        exchange.send(piece)


# Status


def _page_with_status(status: int) -> Script:
    return lambda exchange: exchange.reply(status, exchange.page_json())


def _bare_status(status: int) -> Script:
    return lambda exchange: exchange.reply(status, b"", headers=[])


def _bytes(data: bytes) -> Script:
    return lambda exchange: exchange.send(data)


def _half_page(exchange: Exchange) -> None:
    page = exchange.page_json()
    half = page[: len(page) // 2]
    content_range = f"bytes 0-{len(half) - 1}/{len(page)}"
    exchange.reply(206, half, headers={"Content-Range": content_range})


def _add_statuses() -> None:
    refused = {
        400: "Bad Request",
        401: "Unauthorized, as for a revoked key",
        403: "Forbidden",
        404: "Not Found",
        405: "Method Not Allowed",
        408: "Request Timeout, which is not on the list of what is worth a retry",
        410: "Gone",
        418: "I'm a teapot",
        451: "Unavailable For Legal Reasons",
        501: "Not Implemented, which is not on the list of what is worth a retry",
        599: "a 5xx that nobody defined",
    }
    for status, meaning in refused.items():
        does = f"Answers {status}, {meaning}."
        _add("status", f"status_{status}", does, "ultravox_error", _status(status), requests=1)
    for status in (429, 500, 502, 503, 504):
        answer = _status(status)
        _add(
            "status",
            f"status_{status}_once",
            f"Answers {status} to the first request.",
            "synced",
            _once(answer),
        )
        _add(
            "status",
            f"status_{status}_always",
            f"Answers {status} to every request.",
            "ultravox_error",
            answer,
            requests=ATTEMPTS,
        )
    _add(
        "status",
        "status_500_thrice",
        "Answers 500 to the first three requests.",
        "synced",
        lambda e: _status(500)(e) if e.n < ATTEMPTS else e.normal(),
    )
    _add(
        "status",
        "status_500_html_always",
        "Answers 500 with a page of HTML to every request.",
        "ultravox_error",
        _status(500, b"<h1>Server Error (500)</h1>", Content_Type="text/html"),
        requests=ATTEMPTS,
    )
    for status in (201, 203):
        _add(
            "status",
            f"status_{status}",
            f"Answers {status} with a good page.",
            "ultravox_error",
            _page_with_status(status),
            requests=1,
        )
    _add(
        "status",
        "status_206",
        "Answers 206 with half a page, as if a range had been asked for.",
        "ultravox_error",
        _half_page,
        requests=1,
    )
    for status, meaning in ((204, "No Content"), (304, "Not Modified")):
        _add(
            "status",
            f"status_{status}",
            f"Answers {status}, {meaning}, without a body.",
            "ultravox_error",
            _bare_status(status),
            requests=1,
        )
    _add(
        "status",
        "status_100_first",
        "Sends 100 Continue, then a good page.",
        "synced",
        _raw(lambda page: b"HTTP/1.1 100 Continue\r\n\r\n" + _sized(page)),
    )
    _add_retry_afters()
    lines = {
        "garbage": (b"\x00\xfe\xff not HTTP at all\r\n\r\n", "bytes that are not HTTP"),
        "ssh": (b"SSH-2.0-OpenSSH_9.2\r\n", "the greeting of an SSH server"),
        "no_number": (b"HTTP/1.1 OK\r\n\r\n{}", "a status line without a number"),
        "four_digits": (b"HTTP/1.1 2000 OK\r\n\r\n{}", "a status of four digits"),
        "version": (b"HTTP/7.3 200 OK\r\n\r\n{}", "a version of HTTP that does not exist"),
        "long": (b"HTTP/1.1 200 " + b"O" * 200_000 + b"K\r\n\r\n{}", "a status line of 200 kB"),
        "tls": (b"\x15\x03\x03\x00\x02\x02\x28", "an alert of TLS, in a plain connection"),
    }
    for name, (data, what) in lines.items():
        _add(
            "status",
            f"status_line_{name}",
            f"Answers with {what}.",
            "ultravox_error",
            _bytes(data),
            requests=ATTEMPTS,
        )


def _add_retry_afters() -> None:
    for name, value, what in (
        ("seconds", "1", "in one second"),
        ("zero", "0", "at once"),
        ("past", "Wed, 21 Oct 2015 07:28:00 GMT", "at a date that is over"),
        ("malformed", "soon, I hope", "at a time that is no time"),
        ("negative", "-30", "thirty seconds ago"),
        ("empty", "", "with an empty Retry-After"),
    ):
        does = f"Answers 429 to the first request: try again {what}."
        script = _once(_status(429, Retry_After=value))
        _add("status", f"retry_after_{name}", does, "synced", script)
    _add(
        "status",
        "retry_after_date",
        "Answers 429 to the first request: try again at the date that it is in one second.",
        "synced",
        _once(lambda e: _status(429, Retry_After=formatdate(time.time() + 1, usegmt=True))(e)),
    )
    _add(
        "status",
        "retry_after_503",
        "Answers 503 to the first request: try again in one second.",
        "synced",
        _once(_status(503, Retry_After="1")),
    )
    for name, value, what in (
        ("absurd", "31536000", "in a year"),
        ("astronomic", "9" * 20, "in more seconds than a clock has"),
        ("absurd_date", "Fri, 31 Dec 9999 23:59:59 GMT", "in the year 9999"),
    ):
        does = f"Answers 429: try again {what}."
        script = _status(429, Retry_After=value)
        _add("status", f"retry_after_{name}", does, "ultravox_error", script, requests=1)


# Redirects


def _redirect(status: int, make: Callable[[Exchange], str]) -> Script:
    return lambda exchange: exchange.reply(status, b"", headers={"Location": make(exchange)})


def _redirect_to(url: str) -> Script:
    """Make a script that redirects to a URL made of {netloc} and {decoy}."""

    def make(exchange: Exchange) -> str:
        netloc = urlsplit(exchange.base_url).netloc
        return url.format(netloc=netloc, decoy=exchange.sandbox.decoy.netloc)

    return _redirect(302, make)


def _moved(exchange: Exchange, hop: int, *, relative: bool = False) -> str:
    base = "" if relative else exchange.base_url
    return f"{base}{exchange.request.target}&moved={hop}"


def _hops(exchange: Exchange) -> int:
    return sum(name == "moved" for name, _ in exchange.request.parameters)


def _redirect_here(status: int, hops: int = 1, *, relative: bool = False) -> Script:
    """Make a script that answers after some redirects to where the request came from."""

    def script(exchange: Exchange) -> None:
        hop = _hops(exchange)
        if hop >= hops:
            exchange.normal()
            return
        location = _moved(exchange, hop + 1, relative=relative)
        exchange.reply(status, b"", headers={"Location": location})

    return script


def _add_redirects() -> None:
    def decoy(exchange: Exchange) -> str:
        return exchange.sandbox.decoy.url + exchange.request.target

    for status in (301, 302, 303, 307, 308):
        _add(
            "redirects",
            f"redirect_{status}_elsewhere",
            f"Answers {status} to another host.",
            "ultravox_error",
            _redirect(status, decoy),
            requests=1,
        )
        _add(
            "redirects",
            f"redirect_{status}_here",
            f"Answers {status} to another URL of its own.",
            "synced",
            _redirect_here(status),
        )
    _add(
        "redirects",
        "redirect_relative",
        "Answers 302 with a Location that is only a path.",
        "synced",
        _redirect_here(302, relative=True),
    )
    _add(
        "redirects",
        "redirect_two_hops",
        "Answers 302 twice, to URLs of its own, then a page.",
        "synced",
        _redirect_here(302, 2),
    )
    _add(
        "redirects",
        "redirect_here_then_elsewhere",
        "Answers 302 to a URL of its own, and there 302 to another host.",
        "ultravox_error",
        lambda e: (_redirect(302, decoy) if _hops(e) else _redirect_here(302))(e),
        requests=2,
    )
    _add(
        "redirects",
        "redirect_loop",
        "Answers 302 to the URL that was asked for.",
        "ultravox_error",
        _redirect(302, lambda e: e.base_url + e.request.target),
        requests=20,
    )
    _add(
        "redirects",
        "redirect_endless",
        "Answers 302 to ever new URLs of its own.",
        "ultravox_error",
        _redirect_here(302, 1_000_000),
        requests=40,
    )
    for name, url, what in (
        ("evil", "http://evil.test/api/voices", "to a host that does not exist"),
        ("https", "https://{netloc}/api/voices", "to HTTPS on its own port"),
        ("userinfo", "http://{netloc}@{decoy}/api/voices", "to a host behind a name like its own"),
        ("scheme_relative", "//{decoy}/api/voices", "to another host, without a scheme"),
        ("backslash", "http://{netloc}\\@{decoy}/api/voices", "to a URL with a backslash"),
        ("file", "file:///etc/hostname", "to a file"),
        ("broken", "http://[::1", "to half an address"),
        ("bad_port", "http://127.0.0.1:99999999/", "to a port that cannot be"),
    ):
        _add(
            "redirects",
            f"redirect_{name}",
            f"Answers 302 {what}.",
            "ultravox_error",
            _redirect_to(url),
            requests=1,
        )
    _add(
        "redirects",
        "redirect_nowhere",
        "Answers 302 without a Location.",
        "ultravox_error",
        lambda e: e.reply(302, b""),
        requests=1,
    )
    _add(
        "redirects",
        "redirect_later_page",
        "Answers 302 to another host for the second page.",
        "ultravox_error",
        _later(_redirect(302, decoy)),
        requests=2,
    )


# Headers


def _endless_headers(exchange: Exchange) -> None:
    exchange.send(b"HTTP/1.1 200 OK\r\n")
    _flood(exchange, (b"X-More-%d: and more\r\n" % i for i in range(20_000_000)))


def _endless_header(exchange: Exchange) -> None:
    exchange.send(b"HTTP/1.1 200 OK\r\nX-Endless: ")
    _flood(exchange, (b"x" * 65536 for _ in range(16_384)))


def _add_headers() -> None:
    broken: dict[str, tuple[str, Callable[[bytes], bytes]]] = {
        "header_huge": (
            "Sends one header of 70 kB.",
            lambda page: _sized(page, b"X-Huge: " + b"x" * 70_000),
        ),
        "headers_many": (
            "Sends 5,000 headers.",
            lambda page: _sized(page, *(b"X-Many-%d: x" % i for i in range(5_000))),
        ),
        "content_length_word": (
            "Sends a Content-Length that is no number, and half a page.",
            lambda page: _answer(page[: len(page) // 2], b"Content-Length: plenty"),
        ),
        "content_length_negative": (
            "Sends a Content-Length below zero, and half a page.",
            lambda page: _answer(page[: len(page) // 2], b"Content-Length: -1"),
        ),
        "content_length_twice": (
            "Sends two Content-Lengths, one too long and one too short.",
            lambda page: _answer(
                page,
                b"Content-Length: %d" % (len(page) + 99),
                b"Content-Length: %d" % (len(page) // 2),
            ),
        ),
        "content_length_short": (
            "Sends a Content-Length of half the page that follows.",
            lambda page: _answer(page, b"Content-Length: %d" % (len(page) // 2)),
        ),
        "content_length_terabyte": (
            "Announces a page of a terabyte.",
            lambda page: _answer(page, b"Content-Length: 1000000000000"),
        ),
        "content_length_astronomic": (
            "Announces a page of more bytes than 64 bits count.",
            lambda page: _answer(page, b"Content-Length: 99999999999999999999"),
        ),
    }
    for name, (does, make) in broken.items():
        _add("headers", name, does, "ultravox_error", _raw(make), requests=ATTEMPTS)
    _add(
        "headers",
        "headers_endless",
        "Sends headers without end.",
        "ultravox_error",
        _endless_headers,
        requests=ATTEMPTS,
    )
    _add(
        "headers",
        "header_endless",
        "Sends one header without end.",
        "ultravox_error",
        _endless_header,
        requests=ATTEMPTS,
    )
    harmless: dict[str, tuple[str, Callable[[bytes], bytes]]] = {
        "content_length_and_chunked": (
            "Sends chunks, and a Content-Length as well.",
            lambda page: _answer(
                _chunk(page, 5_000) + b"0\r\n\r\n",
                b"Transfer-Encoding: chunked",
                b"Content-Length: 10",
            ),
        ),
        "content_length_missing": (
            "Sends no Content-Length: the page ends with the connection.",
            lambda page: _answer(page),
        ),
        "content_type_missing": (
            "Sends no Content-Type.",
            lambda page: b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(page), page),
        ),
        "header_folded": (
            "Sends a header over two lines, as once was allowed.",
            lambda page: _sized(page, b"X-Folded: one\r\n two"),
        ),
        "header_not_ascii": (
            "Sends a header that is not ASCII.",
            lambda page: _sized(page, "X-Greeting: Grüß Gott".encode()),
        ),
        "header_names_in_capitals": (
            "Sends the names of headers in capitals.",
            lambda page: b"HTTP/1.1 200 OK\r\nCONTENT-LENGTH: %d\r\n\r\n%s" % (len(page), page),
        ),
    }
    for name, (does, make) in harmless.items():
        _add("headers", name, does, "synced", _raw(make))
    for name, value in (
        ("html", "text/html"),
        ("latin1", "application/json; charset=iso-8859-1"),
        ("utf_16", "application/json; charset=utf-16"),
        ("unknown_charset", "application/json; charset=klingon"),
        ("garbage", ";;=\x80/"),
    ):
        does = f"Labels a page, which is JSON in UTF-8, as {value!r}."
        script = _json(lambda page: page, Content_Type=value)
        _add("headers", f"content_type_{name}", does, "synced", script)


# Timing


def _drip_headers(exchange: Exchange) -> None:
    _drip(exchange, _sized(exchange.page_json()))


def _drip_body(exchange: Exchange) -> None:
    body = exchange.page_json()
    answer = _sized(body)
    exchange.send(answer[: -len(body)])
    _drip(exchange, body)


def _drip_chunks(exchange: Exchange) -> None:
    exchange.send(_chunked(b""))
    for byte in exchange.page_json():
        exchange.send(b"1\r\n%c\r\n" % byte)
        exchange.pause(exchange.sandbox.drip_interval)


def _endless_continue(exchange: Exchange) -> None:
    while True:
        exchange.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        exchange.pause(0.02)


def _dawdle(exchange: Exchange) -> None:
    exchange.pause(0.1)
    exchange.normal()


def _add_timings() -> None:
    always: dict[str, tuple[str, Script]] = {
        "hang": ("Takes the request and says nothing.", Exchange.hang),
        "hang_in_headers": ("Sends half of the headers and stops.", _cut_head("hang")),
        "hang_before_body": ("Sends the headers and stops.", _cut(0, end="hang")),
        "hang_in_body": ("Sends half of the page and stops.", _cut(0.5, end="hang")),
        "hang_before_last_byte": ("Sends all but the end of the page.", _cut(0.999, end="hang")),
        "drip_headers": ("Sends the headers, one byte a second.", _drip_headers),
        "drip_body": ("Sends the page, one byte a second.", _drip_body),
        "drip_chunks": ("Sends the page in chunks, one byte a second.", _drip_chunks),
        "continue_endless": ("Sends 100 Continue without end.", _endless_continue),
    }
    for name, (does, script) in always.items():
        _add("timing", name, does, "ultravox_error", script, requests=ATTEMPTS, slow=True)
    _add(
        "timing",
        "hang_later_page",
        "Serves the first page and hangs on the second.",
        "ultravox_error",
        _later(Exchange.hang),
        requests=1 + ATTEMPTS,
        slow=True,
    )
    once: dict[str, tuple[str, Script]] = {
        "hang_once": ("Hangs on the first request.", _once(Exchange.hang)),
        "hang_in_body_once": (
            "Stops in the middle of the page, the first time.",
            _once(_cut(0.5, end="hang")),
        ),
        "hang_later_page_once": (
            "Hangs on the second page, the first time.",
            _second_once(Exchange.hang),
        ),
    }
    for name, (does, script) in once.items():
        _add("timing", name, does, "synced", script, slow=True)
    _add("timing", "dawdle", "Takes a tenth of a second longer for each page.", "synced", _dawdle)


# Connection


def _close_after(exchange: Exchange) -> None:
    exchange.normal()
    exchange.keep = False


def _trailing(exchange: Exchange) -> None:
    keep = exchange.keep
    exchange.send(_sized(exchange.page_json()) + b"\r\n\r\nand something else entirely\r\n\r\n")
    exchange.keep = keep


def _endless_chunks(exchange: Exchange) -> None:
    exchange.send(_chunked(_chunk(b'{"next":null,"results":[', 64)))
    piece = _chunk(b" " * 65536, 65536)
    _flood(exchange, (piece for _ in range(16_384)))


def _chunk_of_size(size: bytes) -> Script:
    return _raw(lambda page: _chunked(size + b"\r\n" + page))


def _add_connections() -> None:
    _add(
        "connection",
        "reset_on_connect",
        "Resets every connection without reading a request.",
        "ultravox_error",
        Exchange.reset,
        requests=ATTEMPTS,
        refuses=True,
    )
    ends: dict[str, tuple[str, Script]] = {
        "reset_before_headers": ("Resets the connection instead of answering", Exchange.reset),
        "close_before_headers": ("Closes the connection instead of answering", Exchange.close),
        "reset_in_headers": ("Resets the connection within the headers", _cut_head("reset")),
        "close_in_headers": ("Closes the connection within the headers", _cut_head("close")),
        "reset_in_body": ("Resets the connection within the page", _cut(0.5, end="reset")),
        "close_in_body": ("Closes the connection within the page", _cut(0.5, end="close")),
        "close_before_last_byte": (
            "Closes the connection just before the page's end",
            _cut(0.999, end="close"),
        ),
        "close_in_chunk": (
            "Closes the connection within a chunk",
            _raw(lambda page: _chunked(b"%x\r\n%s" % (len(page), page[: len(page) // 2]))),
        ),
        "close_between_chunks": (
            "Closes the connection after a chunk that is half of the page",
            _raw(lambda page: _chunked(_chunk(page[: len(page) // 2], len(page)))),
        ),
        "close_before_last_chunk": (
            "Sends the whole page in chunks and closes before the empty one that ends it",
            _raw(lambda page: _chunked(_chunk(page, 5_000))),
        ),
    }
    for name, (does, script) in ends.items():
        _add(
            "connection",
            f"{name}_always",
            f"{does}, each time.",
            "ultravox_error",
            script,
            requests=ATTEMPTS,
        )
        _add("connection", f"{name}_once", f"{does}, the first time.", "synced", _once(script))
    for name, size, what in (
        ("word", b"many", "is no number"),
        ("negative", b"-5", "is below zero"),
        ("astronomic", b"f" * 20, "takes more than 64 bits"),
        ("terabyte", b"e8d4a51000", "is a terabyte"),
        ("endless", b"0" * 200_000 + b"5", "has 200,000 digits"),
    ):
        _add(
            "connection",
            f"chunk_size_{name}",
            f"Sends a chunk whose size {what}.",
            "ultravox_error",
            _chunk_of_size(size),
            requests=ATTEMPTS,
        )
    _add(
        "connection",
        "chunks_endless",
        "Sends a page in chunks that never ends.",
        "ultravox_error",
        _endless_chunks,
        requests=ATTEMPTS,
    )
    harmless: dict[str, tuple[str, Script]] = {
        "close_between_pages": (
            "Closes the connection after each page, without having said so.",
            _close_after,
        ),
        "close_announced": (
            "Says Connection: close, and closes after each page.",
            _raw(lambda page: _sized(page, b"Connection: close")),
        ),
        "trailing_garbage": (
            "Sends something else after each page, on a connection that stays open.",
            _trailing,
        ),
        "http_1_0": (
            "Answers in HTTP/1.0.",
            _raw(lambda page: _answer(page, status=b"HTTP/1.0 200 OK")),
        ),
        "status_line_without_reason": (
            "Answers with a status line that has no words.",
            _raw(lambda page: _sized(page, status=b"HTTP/1.1 200 ")),
        ),
        "chunked": (
            "Sends the page in chunks.",
            _raw(lambda page: _chunked(_chunk(page, 5_000) + b"0\r\n\r\n")),
        ),
        "chunked_finely": (
            "Sends the page in chunks of seven bytes.",
            _raw(lambda page: _chunked(_chunk(page, 7) + b"0\r\n\r\n")),
        ),
        "chunked_with_extensions": (
            "Sends the page in chunks with extensions and trailers.",
            _raw(
                lambda page: _chunked(
                    _chunk(page, 5_000, b';note="x"') + b"0\r\nX-Checksum: none\r\n\r\n"
                )
            ),
        ),
    }
    for name, (does, script) in harmless.items():
        _add("connection", name, does, "synced", script)


# Bodies


def _raw_deflate(page: bytes) -> bytes:
    compressor = zlib.compressobj(wbits=-15)
    return compressor.compress(page) + compressor.flush()


@functools.cache
def _bomb(wbits: int) -> bytes:
    """Return a compressed page of 128 MB: valid JSON, and without a voice."""
    compressor = zlib.compressobj(level=1, wbits=wbits)
    parts = [compressor.compress(b'{"next":null,"results":[],"padding":"')]
    block = b"x" * (1 << 20)
    parts += [compressor.compress(block) for _ in range(128)]
    parts += [compressor.compress(b'"}'), compressor.flush()]
    return b"".join(parts)


def _half_gzip(page: bytes) -> bytes:
    packed = gzip.compress(page, 1)
    return packed[: len(packed) // 2]


def _gzip_members(page: bytes) -> bytes:
    half = len(page) // 2
    return gzip.compress(page[:half], 1) + gzip.compress(page[half:], 1)


def _huge_page(exchange: Exchange) -> None:
    opening, closing = b'{"next":null,"results":[],"padding":"', b'"}'
    size = 50 * 1024 * 1024
    length = str(len(opening) + size + len(closing))
    exchange.send(make_head(200, {"Content-Type": "application/json", "Content-Length": length}))
    exchange.send(opening)
    _flood(exchange, (b"x" * 65536 for _ in range(size // 65536)))
    exchange.send(closing)


def _latin1(page: bytes) -> bytes:
    return page.replace(b'"name":"', b'"name":"Am\xe9lie ', 1)


def _add_bodies() -> None:
    html = b"<!doctype html><title>Just a moment...</title><h1>Checking your browser</h1>"
    wrong: dict[str, tuple[str, Script]] = {
        "html": ("a page of HTML", _body(html, Content_Type="text/html")),
        "html_as_json": ("a page of HTML that is labelled as JSON", _body(html)),
        "empty": ("an empty body", _body(b"")),
        "whitespace": ("a body of spaces", _body(b" \r\n\t ")),
        "null": ("JSON that is null", _body("null")),
        "list": ("JSON that is a list of voices", _json(lambda p: dump(json.loads(p)["results"]))),
        "string": ("JSON that is a string", _body('"voices"')),
        "number": ("JSON that is a number", _body("42")),
        "true": ("JSON that is true", _body("true")),
        "error_object": ("an object that tells of an error", _body('{"detail":"Try later."}')),
        "truncated": ("the first half of a page", _json(lambda page: page[: len(page) // 2])),
        "trailing_text": ("a page and some text after it", _json(lambda page: page + b" ok")),
        "two_pages": ("a page twice over", _json(lambda page: page + b"\n" + page)),
        "trailing_comma": ("JSON with a comma too many", _json(lambda page: page[:-1] + b",}")),
        "python": ("a page as Python would print it", _body("{'next': None, 'results': []}")),
        "jsonp": ("a page wrapped in a call", _json(lambda page: b"callback(" + page + b");")),
        "anti_hijacking": ("a page after )]}'", _json(lambda page: b")]}'\n" + page)),
        "nested_100000": (
            "a list of 100,000 levels",
            _json(lambda p: b'{"next":null,"results":' + b"[" * 100_000 + b"]" * 100_000 + b"}"),
        ),
        "nested_open": ("100,000 opening brackets", _body("[" * 100_000)),
        "results_missing": ("a page without results", _body('{"next":null,"total":0}')),
        "results_null": ("a page whose results are null", _body('{"next":null,"results":null}')),
        "results_object": ("a page whose results are an object", _body('{"results":{}}')),
        "results_string": ("a page whose results are text", _body('{"results":"none"}')),
        "results_number": ("a page whose results are a number", _body('{"results":0}')),
        "utf_16": (
            "a page in UTF-16",
            _json(lambda p: p.decode().encode("utf-16"), Content_Type="application/json"),
        ),
        "not_utf_8": ("a page with a name in Latin-1", _json(_latin1)),
        "surrogate_bytes": (
            "a page with half a surrogate pair in its bytes, which UTF-8 does not allow",
            _json(lambda page: page.replace(b'"name":"', b'"name":"\xed\xa0\x80', 1)),
        ),
    }
    for name, (what, script) in wrong.items():
        _add(
            "bodies",
            f"body_{name}",
            f"Answers 200 with {what}.",
            "ultravox_error",
            script,
            requests=1,
        )
    packed: dict[str, tuple[str, Script]] = {
        "gzip_truncated": (
            "half of a page in gzip",
            _json(_half_gzip, Content_Encoding="gzip"),
        ),
        "gzip_corrupt": (
            "gzip with wrong bytes in it",
            _json(lambda p: gzip.compress(p, 1)[:200] + b"\xff" * 200, Content_Encoding="gzip"),
        ),
        "gzip_not": ("a page that only says it is gzip", _json(bytes, Content_Encoding="gzip")),
        "encoding_unknown": (
            "bytes in an encoding that nobody knows",
            _body(b"\x1b\x00\x7f\x95", Content_Encoding="middle-out"),
        ),
        "gzip_bomb": (
            "a small body in gzip that unpacks to 128 MB",
            lambda e: e.reply(200, _bomb(31), headers={"Content-Encoding": "gzip"}),
        ),
        "deflate_bomb": (
            "a small body in deflate that unpacks to 128 MB",
            lambda e: e.reply(200, _bomb(15), headers={"Content-Encoding": "deflate"}),
        ),
        "huge": ("a page of 50 MB", _huge_page),
    }
    for name, (what, script) in packed.items():
        _add(
            "bodies",
            f"body_{name}",
            f"Answers 200 with {what}.",
            "ultravox_error",
            script,
            requests=ATTEMPTS,
        )
    harmless: dict[str, tuple[str, Script]] = {
        "bom": ("a page after a byte order mark", _json(lambda page: b"\xef\xbb\xbf" + page)),
        "spaced": ("a page with much space", _json(lambda p: _indent(p) + b"\r\n" * 500)),
        "ascii": ("a page in ASCII, all else escaped", _json(lambda p: _escape(p))),
        "gzip": ("a page in gzip", _json(lambda p: gzip.compress(p, 1), Content_Encoding="gzip")),
        "gzip_members": (
            "a page in gzip, of two members",
            _json(_gzip_members, Content_Encoding="gzip"),
        ),
        "deflate": ("a page in deflate", _json(zlib.compress, Content_Encoding="deflate")),
        "deflate_raw": (
            "a page in deflate without the zlib header, as some servers have it",
            _json(_raw_deflate, Content_Encoding="deflate"),
        ),
        "identity": ("a page in the encoding identity", _json(bytes, Content_Encoding="identity")),
        "unknown_fields": (
            "a page with fields that nobody documented",
            _every_page(lambda page: page.update(cursor={"at": [1]}, results_count=-1)),
        ),
        "repeated_key": (
            "a page with results twice, the first time empty",
            _json(lambda page: b'{"results":[],' + page[1:]),
        ),
        "total_wrong": (
            "a total that is not the number of voices",
            _every_page(lambda page: page.update(total=10**9)),
        ),
        "total_string": (
            "a total that is text",
            _every_page(lambda page: page.update(total="many")),
        ),
        "total_missing": (
            "pages without total and previous",
            _every_page(lambda page: (page.pop("total"), page.pop("previous"))),
        ),
        "previous_wrong": (
            "a previous that is a number",
            _every_page(lambda page: page.update(previous=42)),
        ),
    }
    for name, (what, script) in harmless.items():
        _add("bodies", f"body_{name}", f"Answers 200 with {what}.", "synced", script)


def _indent(page: bytes) -> bytes:
    return b"\n\n " + json.dumps(json.loads(page), indent=8).encode()


def _escape(page: bytes) -> bytes:
    return json.dumps(json.loads(page)).encode()


# Records


def _first_without(field: str) -> Script:
    return _page(lambda page: page["results"][0].pop(field, None))


def _long_text(page: Json) -> None:
    text = _noise(1_000_000)
    page["results"][0].update(name=text, description=text, definition={"generic": {"body": text}})


def _add_records() -> None:
    bad: dict[str, tuple[str, Any]] = {
        "record_null": ("is null", None),
        "record_string": ("is text", "a voice"),
        "record_number": ("is a number", 7),
        "record_list": ("is a list", [["voiceId", "x"]]),
        "record_empty": ("is an empty object", {}),
        "voice_id_missing": ("has no voiceId", _without(_voice(), "voiceId")),
        "voice_id_null": ("has a voiceId of null", _voice(voiceId=None)),
        "voice_id_empty": ("has an empty voiceId", _voice(voiceId="")),
        "voice_id_object": ("has an object as voiceId", _voice(voiceId={"id": "x"})),
        "voice_id_list": ("has a list as voiceId", _voice(voiceId=["x"])),
        "voice_id_true": ("has true as voiceId", _voice(voiceId=True)),
        "voice_id_huge": (
            "has a voiceId of 100,000 random characters, more than an index holds",
            _voice(voiceId=_noise(100_000)),
        ),
    }
    for name, (what, record) in bad.items():
        _add(
            "records",
            name,
            f"Lists a record that {what}, before the good ones.",
            "skipped",
            _more(record),
            skipped=1,
        )
    _add(
        "records",
        "records_bad_many",
        "Lists 50,000 records that are null, before the good ones.",
        "skipped",
        _more(*[None] * 50_000),
        skipped=50_000,
    )
    _add(
        "records",
        "records_bad_each_kind",
        "Lists a bad record of each kind on the first page.",
        "skipped",
        _more(*(record for _, record in bad.values())),
        skipped=len(bad),
    )
    odd: dict[str, tuple[str, Any]] = {
        "voice_id_number": ("is a number", 12345),
        "voice_id_odd": ("is text of an odd kind", "../a b?c=d#e%00\n🦜'\"<script>"),
        "voice_id_nul": ("holds U+0000", "nul\0nul"),
        "voice_id_surrogate": ("holds half a surrogate pair", "half \ud83e"),
    }
    for name, (what, voice_id) in odd.items():
        _add(
            "records",
            name,
            f"Lists one voice more, whose voiceId {what}.",
            "synced",
            _more(_voice(voiceId=voice_id)),
            extra=1,
        )
    values: dict[str, tuple[Any, ...]] = {
        "name": (None, 3.5, {"en": "Mark"}),
        "description": (["calm", "low"], 0),
        "primaryLanguage": ({"tag": "en"}, False),
        "languageLabel": (True, ["English"]),
        "previewUrl": (404, None),
        "ownership": ({"public": True}, None),
        "billingStyle": (["EXTERNAL"], 1),
        "provider": (12, {"name": "LMNT"}),
        "definition": (None, ["lmnt"], "lmnt", 0, True, {}),
    }
    for field, others in values.items():
        for value in others:
            kind = _kind(value)
            _add(
                "records",
                f"{_snake(field)}_{kind}",
                f"Lists a voice whose {field} is {kind}.",
                "synced",
                _first(**{field: value}),
            )
        _add(
            "records",
            f"{_snake(field)}_missing",
            f"Lists a voice without {field}.",
            "synced",
            _first_without(field),
        )
    _add(
        "records",
        "record_only_voice_id",
        "Lists a voice that has only a voiceId.",
        "synced",
        _page(
            lambda page: page["results"].__setitem__(0, {"voiceId": page["results"][0]["voiceId"]})
        ),
    )
    _add(
        "records",
        "record_unknown_fields",
        "Lists a voice with fields nobody documented.",
        "synced",
        _first(id=1, pk=None, last_synced_at="now", agency={"id": "x"}),
    )
    _add_values()


def _add_values() -> None:
    nested: Any = "core"
    for _ in range(200):
        nested = {"in": nested}
    texts = {
        "nul": ("U+0000", "nul\0nul", {"k\0": "v\0"}),
        "surrogate": (
            "halves of surrogate pairs",
            "half \ud83e\udd9c \udd9c",
            {"\ud83e": "\udd9c"},
        ),
        "controls": (
            "control characters",
            "".join(map(chr, range(1, 32))) + "\x7f\u2028\ufeff",
            {},
        ),
        "noncharacters": (
            "noncharacters",
            "\uffff\ufffe\U0010ffff\ufdd0",
            {"\uffff": "\U0001fffe"},
        ),
        "sql": ("SQL", "'; DROP TABLE ultravox_voices; --", {"%s": "%(x)s", "$1": "?"}),
        "html": ("HTML", "<script>alert(1)</script>{{ 7 * 7 }}", {"</script>": "{% now %}"}),
    }
    for name, (what, text, definition) in texts.items():
        script = _first(name=text, description=text, definition={"generic": definition, "t": text})
        _add("records", f"text_{name}", f"Lists a voice with {what} in it.", "synced", script)
    _add(
        "records",
        "text_long",
        "Lists a voice with texts of a megabyte.",
        "synced",
        _page(_long_text),
    )
    numbers = {
        "nan": ("NaN", b"NaN"),
        "infinity": ("Infinity and -Infinity", b"[Infinity,-Infinity]"),
        "1e400": ("1e400, more than a double holds", b"1e400"),
        "tiny": ("1e-400, less than a double holds", b"[1e-400,-0.0,-0]"),
        "integer_64_bits": ("integers beyond 64 bits", b"[9223372036854775808,-1%s]" % (b"0" * 30)),
        "integer_400_digits": ("an integer of 400 digits", b"7" * 400),
        "integer_5000_digits": ("an integer of 5,000 digits", b"7" * 5_000),
        "decimal_5000_digits": ("a fraction of 5,000 digits", b"0." + b"7" * 5_000),
    }
    for name, (what, value) in numbers.items():
        _add(
            "records",
            f"number_{name}",
            f"Lists a voice with {what} in its definition.",
            "synced",
            _first_raw("definition", b'{"lmnt":{"speed":%s}}' % value),
        )
    _add(
        "records",
        "name_nan",
        "Lists a voice whose name is NaN.",
        "synced",
        _first_raw("name", b"NaN"),
    )
    _add(
        "records",
        "record_repeated_key",
        "Lists a voice that has its name twice.",
        "synced",
        _first_raw("name", b'"first","name":"second"'),
    )
    _add(
        "records",
        "definition_nested_200",
        "Lists a voice with a definition of 200 levels.",
        "synced",
        _first(definition=nested),
    )
    _add(
        "records",
        "definition_wide",
        "Lists a voice with a definition of 10,000 keys.",
        "synced",
        _first(definition={f"key {i}": i for i in range(10_000)}),
    )
    _add(
        "records",
        "definition_nested_100000",
        "Lists a voice with a definition of 100,000 levels.",
        "ultravox_error",
        _first_raw("definition", b'{"in":' * 100_000 + b"0" + b"}" * 100_000),
        requests=1,
    )
    _add(
        "records",
        "voice_twice_in_page",
        "Lists a voice twice on one page.",
        "synced",
        _page(lambda page: page["results"].append({**page["results"][0], "name": "Came last"})),
    )
    _add(
        "records",
        "voice_twice_over_pages",
        "Lists a voice of the first page on later ones too.",
        "synced",
        _repeat_first,
    )
    _add(
        "records",
        "page_twice_over",
        "Lists all voices of each page twice.",
        "synced",
        _every_page(lambda page: page["results"].extend(page["results"])),
    )


def _repeat_first(exchange: Exchange) -> None:
    page = exchange.page()
    if exchange.offset:
        page["results"].append({**exchange.page(0)["results"][0], "name": "Came last"})
    exchange.reply(200, page)


@functools.cache
def _noise(length: int) -> str:
    """Return text that does not compress well, always the same."""
    digits, block = [], b"sandbox"
    for i in range(length // 8 + 1):
        block = zlib.crc32(block + bytes([i % 256])).to_bytes(4, "big")
        digits.append(block.hex())
    return "".join(digits)[:length]


def _kind(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return {int: "number", float: "number", str: "string", list: "list", dict: "object"}[
        type(value)
    ]


def _snake(field: str) -> str:
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in field)


# Paging


def _next_is(value: Any) -> Script:
    return _next(lambda exchange: value)


def _loop(exchange: Exchange) -> None:
    exchange.reply(200, {**exchange.page(), "next": exchange.base_url + exchange.request.target})


def _fresh(exchange: Exchange, results: list[Any]) -> None:
    following = f"{exchange.base_url}{LISTING_PATH}?cursor=fresh-{exchange.n}&pageSize=100"
    exchange.reply(200, {"next": following, "previous": None, "results": results, "total": 300})


def _loop_of_two(exchange: Exchange) -> None:
    page = exchange.page()
    if exchange.offset:
        page["next"] = exchange.base_url + _target(exchange, 0)
    exchange.reply(200, page)


def _target(exchange: Exchange, offset: int) -> str:
    return f"{LISTING_PATH}?pageSize={exchange.page_size}&cursor={encode_cursor(offset)}"


def _back_to_start(exchange: Exchange) -> None:
    page = exchange.page()
    if exchange.offset:
        page["next"] = exchange.base_url + exchange.first_target
    exchange.reply(200, page)


def _added(exchange: Exchange) -> None:
    shift = -1 if _is_second(exchange) else 0
    exchange.reply(200, exchange.page_json(exchange.offset + shift))


def _removed(exchange: Exchange) -> None:
    shift = 1 if _is_second(exchange) else 0
    exchange.reply(200, exchange.page_json(exchange.offset + shift))


def _empty_page(exchange: Exchange) -> None:
    """Answer each request for a page with an empty one first."""
    if "rest" in exchange.request.query:
        exchange.normal()
        return
    following = exchange.base_url + exchange.request.target + "&rest=1"
    exchange.reply(200, {"next": following, "previous": None, "results": [], "total": 300})


def _add_pagings() -> None:
    endless: dict[str, tuple[str, Script, int]] = {
        "next_loop": ("Gives each page itself as next.", _loop, 2),
        "next_loop_of_two": ("Leads from the second page back to the first.", _loop_of_two, 4),
        "next_back_to_start": (
            "Leads from the second page to the URL that was asked for first.",
            _back_to_start,
            2,
        ),
    }
    for name, (does, script, requests) in endless.items():
        _add("paging", name, does, "ultravox_error", script, requests=requests)
    _add(
        "paging",
        "next_endless",
        "Gives the same voices with ever new cursors.",
        "ultravox_error",
        lambda e: _fresh(e, e.page(0)["results"]),
    )
    _add(
        "paging",
        "next_endless_empty",
        "Gives empty pages with ever new cursors.",
        "ultravox_error",
        lambda e: _fresh(e, []),
    )
    elsewhere = {
        "other_host": ("http://evil.test", "on a host that does not exist"),
        "other_port": ("http://{decoy}", "on another port"),
        "https": ("https://{netloc}", "that is the same but for HTTPS"),
        "localhost": ("http://localhost:{port}", "on its own port, under another name"),
        "userinfo": ("http://{netloc}@{decoy}", "with its own address as a user's name"),
        "userinfo_evil": ("http://{netloc}@evil.test", "with its own address before evil.test"),
        "scheme_relative": ("//{decoy}", "without a scheme, on another host"),
        "scheme_relative_evil": ("//evil.test", "without a scheme, on evil.test"),
        "backslash": ("http://{netloc}\\@{decoy}", "with a backslash before another host"),
        "suffix": ("http://{host}.evil.test:{port}", "on a host whose name begins like its own"),
        "port_suffix": ("http://{netloc}0", "on a port that begins like its own"),
        "ftp": ("ftp://{netloc}", "that is the same but for FTP"),
        "file": ("file:///etc/hostname?", "that is a file"),
        "javascript": ("javascript:alert(1)//", "that is a script"),
        "bad_port": ("http://{host}:99999999", "on a port that cannot be"),
        "broken": ("http://[::1", "that is half an address"),
    }
    for name, (base, what) in elsewhere.items():
        _add(
            "paging",
            f"next_{name}",
            f"Gives a next {what}.",
            "ultravox_error",
            _next_from(base),
            requests=1,
        )
    for name, value in (
        ("number", 2),
        ("object", {"cursor": "x"}),
        ("list", ["x"]),
        ("true", True),
        ("false", False),
    ):
        _add(
            "paging",
            f"next_{name}",
            f"Gives a next that is {name}.",
            "ultravox_error",
            _next_is(value),
            requests=1,
        )
    for name, what, make in (
        ("word", "that is just a word", lambda e: "more"),
        ("other_path", "on another path of its own", lambda e: f"{e.base_url}/nowhere?page=2"),
        ("not_ascii", "that is not ASCII", lambda e: f"{e.base_url}{LISTING_PATH}?cursor=é"),
        ("spaces", "with spaces", lambda e: f"{e.base_url}{LISTING_PATH}?cursor=a b c"),
        (
            "newline",
            "with a header of its own in it",
            lambda e: f"{e.base_url}{LISTING_PATH}?cursor=x HTTP/1.1\r\nX-Injected: yes\r\nX-Y: z",
        ),
        ("nul", "with U+0000", lambda e: f"{e.base_url}{LISTING_PATH}?cursor=x\0y"),
        ("surrogate", "with half a surrogate pair", lambda e: f"{e.base_url}{LISTING_PATH}?\ud83e"),
        (
            "huge",
            "of a megabyte",
            lambda e: f"{e.base_url}{LISTING_PATH}?cursor=" + "x" * 1_000_000,
        ),
    ):
        _add(
            "paging",
            f"next_{name}",
            f"Gives a next {what}.",
            "ultravox_error",
            _next(make),
            requests=1 + ATTEMPTS,
        )
    broken: dict[str, tuple[str, Script, int]] = {
        "500": ("answers 500 to the second, each time", _status(500), 1 + ATTEMPTS),
        "401": ("answers 401 to the second", _status(401), 2),
        "404": ("answers 404 to the second", _status(404), 2),
        "html": ("answers the second with HTML", _body(b"<h1>Oops</h1>"), 2),
        "null": ("answers the second with null", _body("null"), 2),
        "results_missing": ("answers the second without results", _body('{"next":null}'), 2),
        "closed": ("closes the connection on the second, each time", Exchange.close, 1 + ATTEMPTS),
        "truncated": (
            "breaks off within the second, each time",
            _cut(0.5, end="close"),
            1 + ATTEMPTS,
        ),
    }
    for name, (what, script, requests) in broken.items():
        _add(
            "paging",
            f"second_page_{name}",
            f"Serves the first page and {what}.",
            "ultravox_error",
            _later(script),
            requests=requests,
        )
    _add(
        "paging",
        "second_page_500_once",
        "Answers 500 to the second page, the first time.",
        "synced",
        _second_once(_status(500)),
    )
    _add(
        "paging",
        "every_page_500_once",
        "Answers 500 to each page, the first time.",
        "synced",
        lambda e: _status(500)(e) if e.attempt == 1 else e.normal(),
    )
    harmless: dict[str, tuple[str, Script]] = {
        "next_path": ("Gives a next that is only path and query.", _next(_tail)),
        "next_query": (
            "Gives a next that is only a query.",
            _next(lambda e: _tail(e).removeprefix(LISTING_PATH)),
        ),
        "next_empty_page": ("Gives an empty page with a next before each page.", _empty_page),
        "next_empty_at_end": (
            "Ends with a next that is empty text.",
            _every_page(lambda page: page.update(next=page["next"] or "")),
        ),
        "next_missing_at_end": (
            "Ends with a page that has no next.",
            _every_page(lambda page: page["next"] or page.pop("next")),
        ),
        "voice_added": ("Shows the list as if a voice had come in before the second page.", _added),
    }
    for name, (does, script) in harmless.items():
        _add("paging", name, does, "synced", script)
    _add(
        "paging",
        "voice_removed",
        "Shows the list as if a voice had gone before the second page, so that one is missed.",
        "synced",
        _removed,
        extra=-1,
    )


_add_statuses()
_add_redirects()
_add_headers()
_add_timings()
_add_connections()
_add_bodies()
_add_records()
_add_pagings()
