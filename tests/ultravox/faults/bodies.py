"""Bodies of a 200 that are no page, too much of one, or an odd one."""

import functools
import gzip
import json
import zlib
from itertools import repeat

from tests.ultravox.exchange import Exchange, make_head
from tests.ultravox.faults.scripts import ATTEMPTS, Script, body, changed, paged, table

_MEGABYTE = 1 << 20
_OPENING, _CLOSING = b'{"next":null,"results":[],"padding":"', b'"}'


@functools.cache
def _bomb(wbits: int) -> bytes:
    """Return a compressed page of 64 MB: valid JSON, and without a voice."""
    compressor = zlib.compressobj(level=1, wbits=wbits)
    parts = [compressor.compress(part) for part in (_OPENING, *[b"x" * _MEGABYTE] * 64, _CLOSING)]
    return b"".join(parts) + compressor.flush()


def _bombed(wbits: int, encoding: str) -> Script:
    return lambda e: e.reply(200, _bomb(wbits), headers={"Content-Encoding": encoding})


def _huge(exchange: Exchange) -> None:
    length = str(len(_OPENING + _CLOSING) + 50 * _MEGABYTE)
    exchange.send(make_head(200, {"Content-Length": length}) + _OPENING)
    exchange.send(repeat(b"x" * _MEGABYTE, 50))
    exchange.send(_CLOSING)


def _nested(levels: int) -> bytes:
    return b'{"next":null,"results":' + b"[" * levels + b"]" * levels + b"}"


def _renamed(name: bytes) -> Script:
    return changed(lambda page: page.replace(b'"name":"', b'"name":"' + name, 1))


_HTML = "<!doctype html><title>Just a moment...</title><h1>Checking your browser</h1>"

# fmt: off
FAULTS = [
    *table(
        ("body_html", "answers with HTML", body(_HTML, Content_Type="text/html")),
        ("body_empty", "answers with nothing", body("")),
        ("body_null", "answers with null", body("null")),
        ("body_list", "answers with a list", lambda e: e.reply(200, e.page()["results"])),
        ("body_truncated", "answers with half a page", changed(lambda p: p[: len(p) // 2])),
        ("body_nested_100000", "answers with 100,000 levels", body(_nested(100_000))),
        ("body_results_missing", "answers without results", body('{"next":null,"total":0}')),
        ("body_results_null", "answers with results of null", body('{"results":null}')),
        ("body_results_object", "answers with results that are an object", body('{"results":{}}')),
        ("body_not_utf_8", "answers with a name in Latin-1", _renamed(b"Am\xe9lie")),
        ("body_surrogate_bytes", "answers with half a surrogate pair in bytes, which UTF-8 does not allow",
         _renamed(b"\xed\xa0\x80")),
        expect="ultravox_error", requests=1,
    ),
    *table(
        ("body_gzip_corrupt", "answers with gzip that has wrong bytes in it",
         changed(lambda p: gzip.compress(p, 1)[:200] + b"\xff" * 200, Content_Encoding="gzip")),
        ("body_encoding_unknown", "answers in an encoding that nobody knows",
         body(b"\x1b\x00\x7f\x95", Content_Encoding="middle-out")),
        ("body_gzip_bomb", "answers with gzip that unpacks to 64 MB", _bombed(31, "gzip")),
        ("body_deflate_bomb", "answers with deflate that unpacks to 64 MB", _bombed(15, "deflate")),
        ("body_huge", "answers with a page of 50 MB", _huge),
        expect="ultravox_error", requests=ATTEMPTS,
    ),
    *table(
        ("body_bom", "answers with a byte order mark", changed(lambda p: b"\xef\xbb\xbf" + p)),
        ("body_ascii", "answers in ASCII, all else escaped",
         lambda e: e.reply(200, json.dumps(e.page(), indent=4))),
        ("body_gzip", "answers in gzip",
         changed(lambda page: gzip.compress(page, 1), Content_Encoding="gzip")),
        ("body_deflate", "answers in deflate", changed(zlib.compress, Content_Encoding="deflate")),
        ("body_unknown_fields", "answers with fields that nobody documented",
         paged(lambda page: page.update(cursor={"at": [1]}, results_count=-1))),
        ("body_total_wrong", "gives a wrong total", paged(lambda page: page.update(total=10**9))),
        ("body_total_string", "gives text as total", paged(lambda page: page.update(total="many"))),
        ("body_total_missing", "gives no total and no previous",
         paged(lambda page: (page.pop("total"), page.pop("previous")))),
    ),
]
