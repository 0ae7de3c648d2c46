"""Records that cannot be stored, or only as the rules say.

That any JSON is stored by them is the property test's: here is one record for each rule that the parser
or the listing has a part in.
"""

import random
import string
from typing import Any

from sandbox.api import dump
from tests.ultravox.exchange import Exchange
from tests.ultravox.faults.scripts import Fault, Script, first_page, more, paged, table


def _voice(**fields: Any) -> dict[str, Any]:
    """Return a voice that is not in the catalogue."""
    return {"voiceId": "unlisted", "name": "Unlisted", "definition": {"lmnt": {}}, **fields}


def _definition(value: bytes) -> Script:
    """Put JSON that `json` would not write into the first voice."""

    def script(exchange: Exchange) -> None:
        page = exchange.page()
        page["results"][0]["definition"] = "@raw@"
        exchange.reply(200, dump(page).replace(b'"@raw@"', value, 1))

    return first_page(script)


def _nested(levels: int) -> Script:
    return _definition(b'{"in":' * levels + b"0" + b"}" * levels)


def _last(page: dict[str, Any]) -> None:
    page["results"].append({**page["results"][0], "name": "Came last"})


def _repeat_first(exchange: Exchange) -> None:
    page = exchange.page()
    if exchange.offset:
        page["results"].append({**exchange.page(0)["results"][0], "name": "Came last"})
    exchange.reply(200, page)


# Text that does not compress well, always the same.
_NOISE = "".join(random.Random(7).choices(string.ascii_letters, k=9_000))

_BAD: list[tuple[str, str, Any]] = [
    ("record_null", "is null", None),
    ("voice_id_missing", "has no voiceId", {"name": "nameless"}),
    ("voice_id_blank", "has a blank voiceId", _voice(voiceId=" ")),
    ("voice_id_object", "has an object as voiceId", _voice(voiceId={"id": "x"})),
    ("voice_id_huge", "has a voiceId longer than an index holds", _voice(voiceId=_NOISE)),
]

# fmt: off
FAULTS = [
    *table(
        *((name, f"lists a record that {what}", more(record)) for name, what, record in _BAD),
        expect="skipped", skipped=1,
    ),
    Fault("records_bad_many", "lists 20,000 records that are null", more(*[None] * 20_000),
          expect="skipped", skipped=20_000),
    *table(
        ("voice_id_number", "lists a voice whose id is a number", more(_voice(voiceId=12345))),
        ("voice_id_nul", "lists a voice whose id has U+0000", more(_voice(voiceId="nul\0nul"))),
        ("voice_id_surrogate", "lists a voice whose id has half a surrogate pair",
         more(_voice(voiceId="half \ud83e"))),
        extra=1,
    ),
    *table(
        ("number_nan", "lists a voice with NaN", _definition(b"[NaN,-Infinity]")),
        ("number_64_bits", "lists integers beyond 64 bits",
         _definition(b"[9223372036854775808,-1%s]" % (b"0" * 30))),
        ("number_5000_digits", "lists an integer of 5,000 digits", _definition(b"7" * 5_000)),
        ("definition_nested_900", "lists a definition of 900 levels", _nested(900)),
        ("voice_twice_in_page", "lists a voice twice on one page", first_page(paged(_last))),
        ("voice_twice_over_pages", "lists a voice on every page", _repeat_first),
    ),
    Fault("definition_nested_100000", "lists a definition of 100,000 levels", _nested(100_000),
          expect="ultravox_error", requests=1),
]
