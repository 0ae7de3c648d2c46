"""Hide the secrets in a voice's `definition` from anyone who views it."""

import re
from typing import Any

MASK = "••••••"
# The fields of a generic voice that describe its audio, and what their values look like; any other may
# hold an agency's secrets. Source: `ultravox.v1.GenericVoice` of Ultravox's OpenAPI description.
NUMBER = re.compile(r"[0-9.]{1,10}")
PLAIN = {
    "responseSampleRate": NUMBER,
    "responseWordsPerMinute": NUMBER,
    "responseMimeType": re.compile(
        r"(audio|application|text)/(x-)?(l16|l24|pcm|raw|wave?|vnd\.wave|mpeg|mp3|mp4|aac|ogg|opus|flac|webm"
        r"|basic|mulaw|alaw|json|jsonl|ndjson|event-stream|octet-stream|plain)"
        r"(; ?(rate|channels)=[0-9]{1,6}|; ?charset=utf-8)*",
        re.IGNORECASE,
    ),
    "jsonAudioFieldPath": re.compile(r"[A-Za-z_]\w{0,30}([.\[][A-Za-z0-9_]{1,30}\]?){0,9}"),
    "jsonByteEncoding": re.compile(r"JSON_BYTE_ENCODING_[A-Z0-9]{1,20}"),
}
# A definition may hold JSON as text, such as what was nested too deep (`voices/records.py`). In it, the
# name's letters may be escaped, once for each level of text within text.
ESCAPED = re.compile(r"\\+u([0-9a-f]{4})", re.IGNORECASE)
NAMES_GENERIC = re.compile(r"generic(\s|\\+[bfnrt])*\\*[\"']", re.IGNORECASE)


def masked(definition: Any) -> Any:
    """Return a copy of the definition with everything that may be secret masked."""
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
    if key not in PLAIN or not isinstance(value, str | int | float | None):
        return False
    return value is None or bool(PLAIN[key].fullmatch(str(value)))
