"""Turn a record of Ultravox's listing into the values of a Voice. No database, no settings.

A record is stored as Ultravox sent it, except for what PostgreSQL or SQLite cannot store. Such values
change in the same way for both:

- U+0000 and lone surrogates become U+FFFD, in texts, in `definition` and in its keys;
- a text field of another type becomes its JSON text, and a missing `name` an empty string;
- in `definition`, NaN and infinities become null, -0.0 becomes 0.0, and a float of 1e16 or more becomes an
  integer, as in PostgreSQL; an integer of more than `MAX_DIGITS` digits, and anything nested more than
  `MAX_DEPTH` levels deep, becomes its JSON text.
"""

import json
import math
import re
from decimal import Decimal
from itertools import chain
from typing import Any

MAX_ID_BYTES = 1000  # in UTF-8; PostgreSQL's indexes hold keys of up to 2,704 bytes
MAX_DEPTH = 100  # levels of `definition`; SQLite's JSON functions stop at 1,000
MAX_DIGITS = 1000  # of an integer; Python converts at most 4,300
LARGE = 10**MAX_DIGITS

UNSTORABLE = re.compile("[\0\ud800-\udfff]")

TEXT_FIELDS = {  # column: Ultravox's field
    "name": "name",
    "description": "description",
    "language_label": "languageLabel",
    "primary_language": "primaryLanguage",
    "ownership": "ownership",
    "billing_style": "billingStyle",
    "provider": "provider",
    "preview_url": "previewUrl",
}
COLUMNS = ("id", *TEXT_FIELDS, "definition")


class UnusableRecord(ValueError):
    """The record cannot be stored; the message says why."""


def to_values(record: Any) -> dict[str, Any]:
    """Return the values of COLUMNS, by column.

    Raises UnusableRecord if the record has no usable `voiceId`.
    """
    if not isinstance(record, dict):
        raise UnusableRecord(f"it is not an object but {_type_name(record)}")
    values: dict[str, object] = {"id": _identifier(record.get("voiceId"))}
    values |= {column: _text(record.get(field)) for column, field in TEXT_FIELDS.items()}
    values["name"] = values["name"] or ""
    values["definition"] = _storable(record.get("definition"))
    return values


def equal(one: Any, other: Any) -> bool:
    """Return whether two JSON values are equal in value and type: in Python, `True == 1 == 1.0`."""
    return bool(one == other) and _have_same_types(one, other)


def _have_same_types(one: Any, other: Any) -> bool:
    if isinstance(one, dict):
        return all(_have_same_types(value, other[key]) for key, value in one.items())
    if isinstance(one, list):
        return all(map(_have_same_types, one, other))
    return type(one) is type(other)


def _identifier(value: object) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise UnusableRecord(f"its voiceId is {_type_name(value)}")
    if isinstance(value, float) and not math.isfinite(value):
        raise UnusableRecord("its voiceId is not a finite number")
    text = _text(value) or ""
    if not text.strip():
        raise UnusableRecord("its voiceId is blank")
    if len(text.encode()) > MAX_ID_BYTES:
        raise UnusableRecord(f"its voiceId has more than {MAX_ID_BYTES} bytes")
    return text


def _type_name(value: object) -> str:
    return "null" if value is None else type(value).__name__


def _text(value: object) -> str | None:
    if value is None:
        return None
    return _clean(value if isinstance(value, str) else _dump(_storable(value)))


def _clean(text: str) -> str:
    """Replace the characters that a database rejects; printable text has none of them."""
    return text if text.isprintable() else UNSTORABLE.sub("\ufffd", text)


def _storable(value: object, depth: int = 0) -> object:
    match value:
        case str():
            return _clean(value)
        case dict() | list() if depth == MAX_DEPTH:
            return _clean(_json_text(value))
        case dict():
            return {_clean(key): _storable(item, depth + 1) for key, item in value.items()}
        case list():
            return [_storable(item, depth + 1) for item in value]
        case float() if not math.isfinite(value):
            return None
        case float() if abs(value) >= 1e16:
            return int(Decimal(repr(value)))
        case float():
            return value + 0.0  # PostgreSQL's jsonb has no -0.0
        case int() if abs(value) >= LARGE:
            return str(value)
    return value


def _json_text(value: object) -> str:
    """Return a value's JSON text. Not by json.dumps, which fails on deep nesting: it recurses."""
    parts: list[str] = []
    pending: list[Any] = [(value,)]  # texts, and values in tuples; the next one is the last
    while pending:
        match pending.pop():
            case str(text):
                parts.append(text)
            case (dict(members),):
                fields = [(", ", f"{_dump(key)}: ", (item,)) for key, item in members.items()]
                pending += reversed(["{", *list(chain(*fields))[1:], "}"])
            case (list(items),):
                elements = [(", ", (item,)) for item in items]
                pending += reversed(["[", *list(chain(*elements))[1:], "]"])
            case (item,):
                parts.append(_dump(item))
    return "".join(parts)


def _dump(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)
