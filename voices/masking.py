"""Hide the secrets of a voice's `definition` from whoever looks at it."""

import re
from typing import Any

MASK = "••••••"
# The fields of a generic voice that describe its audio, and what they look like; all others may carry an
# agency's secrets. Source: `ultravox.v1.GenericVoice` of Ultravox's OpenAPI description.
NUMBER = re.compile(r"[0-9.]{1,10}")
PLAIN = {
    "responseSampleRate": NUMBER,
    "responseWordsPerMinute": NUMBER,
    "responseMimeType": re.compile(
        r"(audio|video|application|text)/[\w.+-]{1,40}(; ?(rate|channels|codecs|charset)=[\w.-]{1,20})*"
    ),
    "jsonAudioFieldPath": re.compile(r"[A-Za-z_]\w{0,30}([.\[][A-Za-z0-9_]{1,30}\]?){0,9}"),
    "jsonByteEncoding": re.compile(r"JSON_BYTE_ENCODING_[A-Z0-9]{1,20}"),
}
# In JSON text within a definition, such as what is nested too deep (`voices/records.py`): the name, whose
# letters may be escaped, once for each text within a text.
ESCAPED = re.compile(r"\\+u([0-9a-f]{4})", re.IGNORECASE)
NAMES_GENERIC = re.compile(r"generic(\s|\\+[bfnrt])*\\*[\"']", re.IGNORECASE)


def masked(definition: Any) -> Any:
    """Return a copy of the definition with everything masked that may be secret."""
    match definition:
        case dict():
            return {
                key: _masked_generic(value) if key.strip().lower() == "generic" else masked(value)
                for key, value in definition.items()
            }
        case list():
            return [masked(item) for item in definition]
        case str() if NAMES_GENERIC.search(ESCAPED.sub(_unescaped, definition)):
            return MASK
    return definition


def _unescaped(escape: re.Match[str]) -> str:
    return chr(int(escape[1], 16))


def _masked_generic(generic: Any) -> Any:
    if not isinstance(generic, dict):
        return None if generic is None else MASK
    return {key: value if _is_plain(key, value) else MASK for key, value in generic.items()}


def _is_plain(key: str, value: Any) -> bool:
    pattern = PLAIN.get(key)
    return pattern is not None and (
        value is None
        or (isinstance(value, str | int | float) and bool(pattern.fullmatch(str(value))))
    )
