"""Turn a record of Ultravox's listing into a row. Pure: no database, no settings.

A record is stored as it was sent, except for what only one of our databases, or neither, can hold.
That changes in the same way on both:

- U+0000 and lone surrogates become U+FFFD, in texts, in `definition` and in its keys;
- a text field of another type becomes its JSON text, and a missing `name` an empty string;
- in `definition`, NaN and the infinities become null; a whole number of 1e16 or more that was
  sent as a float is written out in digits, as PostgreSQL does; an integer of more than
  `MAX_DIGITS` digits, or anything nested deeper than `MAX_DEPTH`, becomes its JSON text.
"""

import json
import math
import re
import sys
from decimal import Decimal
from itertools import chain
from typing import Any

import orjson

MAX_ID_BYTES = 1000  # in UTF-8; PostgreSQL's indexes take keys of up to 2,704 bytes
MAX_DEPTH = 100  # levels of `definition`; SQLite's JSON stops at 1,000
MAX_DIGITS = 1000  # of an integer; Python converts no more than 4,300

UNSTORABLE = re.compile("[\0\ud800-\udfff]")
LARGE_FLOAT = re.compile(rb"(?:^|[:,\[])-?[0-9.]+e\+?[0-9]")  # 1e16 and more, as orjson writes it

COLUMNS = {  # in the order of the model's fields
    "id": "voiceId",
    "name": "name",
    "description": "description",
    "language_label": "languageLabel",
    "primary_language": "primaryLanguage",
    "ownership": "ownership",
    "billing_style": "billingStyle",
    "provider": "provider",
    "preview_url": "previewUrl",
    "definition": "definition",
}
FIELDS = tuple(COLUMNS.values())[:-1]
REPEATED = slice(3, 8)  # columns whose texts many voices share: each is kept in memory once

Row = tuple[str | None, ...]


class UnusableRecord(ValueError):
    """Say why a record cannot be stored."""


def to_row(record: Any) -> Row:
    """Return a record's columns in the order of COLUMNS, `definition` as JSON text.

    Raises UnusableRecord where it has no usable `voiceId`.
    """
    if not isinstance(record, dict):
        raise UnusableRecord(f"it is not an object but {_type_name(record)}")
    return _plain_row(record) or _row(record)


def _plain_row(record: dict[str, Any]) -> Row | None:
    """Return the row of a record that can be stored as sent, as most can; None for any other."""
    texts = tuple(map(record.get, FIELDS))
    voice_id, name, definition = texts[0], texts[1], record.get("definition")
    try:
        joined = "".join([text for text in texts if text is not None]).encode()
        dumped = orjson.dumps(definition)
    except (TypeError, UnicodeEncodeError):
        return None  # another type, a surrogate, a long number, deep nesting
    if (
        not voice_id
        or len(voice_id.encode()) > MAX_ID_BYTES
        or not voice_id.strip()
        or name is None
        or b"\0" in joined
        or b"\\u0000" in dumped
        or dumped.count(b"{") + dumped.count(b"[") > MAX_DEPTH
        or LARGE_FLOAT.search(dumped)
    ):
        return None
    return (
        *texts[: REPEATED.start],
        *[sys.intern(text) if text else text for text in texts[REPEATED]],
        *texts[REPEATED.stop :],
        None if dumped == b"null" else dumped.decode(),  # so is NaN
    )


def _row(record: dict[str, Any]) -> Row:
    voice_id, name, *texts = map(record.get, FIELDS)
    definition = _storable(record.get("definition"))
    return (
        _identifier(voice_id),
        _text(name) or "",
        *map(_text, texts),
        None if definition is None else _dump(definition),
    )


def _identifier(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise UnusableRecord(f"its voiceId is {_type_name(value)}")
    if isinstance(value, float) and not math.isfinite(value):
        raise UnusableRecord("its voiceId is no number")
    text = _text(value) or ""
    if not text.strip():
        raise UnusableRecord("its voiceId is empty")
    if len(text.encode()) > MAX_ID_BYTES:
        raise UnusableRecord(f"its voiceId has more than {MAX_ID_BYTES} bytes")
    return text


def _type_name(value: Any) -> str:
    return "null" if value is None else type(value).__name__


def _text(value: Any) -> str | None:
    if value is None:
        return None
    return clean(value if isinstance(value, str) else _dump(_storable(value)))


def clean(text: str) -> str:
    """Replace the characters that a database refuses."""
    return UNSTORABLE.sub("\ufffd", text)


def _storable(value: Any, depth: int = 0) -> Any:
    match value:
        case str():
            return clean(value)
        case dict() | list() if depth == MAX_DEPTH:
            return clean(_json_text(value))
        case dict():
            return {clean(key): _storable(item, depth + 1) for key, item in value.items()}
        case list():
            return [_storable(item, depth + 1) for item in value]
        case float() if not math.isfinite(value):
            return None
        case float() if abs(value) >= 1e16:
            return int(Decimal(repr(value)))
        case int() if abs(value) >= 10**MAX_DIGITS:
            return str(value)
    return value


def _json_text(value: Any) -> str:
    """Return a value's JSON text, however deep: json.dumps recurses, and much of the stack is used."""
    parts: list[str] = []
    left: list[Any] = [(value,)]  # texts, and values in tuples; the next one last
    while left:
        match left.pop():
            case str(text):
                parts.append(text)
            case (dict(members),):
                pieces = [(", ", f"{_dump(key)}: ", (item,)) for key, item in members.items()]
                left += reversed(["{", *list(chain(*pieces))[1:], "}"])
            case (list(items),):
                left += reversed(["[", *list(chain(*[(", ", (item,)) for item in items]))[1:], "]"])
            case (item,):
                parts.append(_dump(item))
    return "".join(parts)


def _dump(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
