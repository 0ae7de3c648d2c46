"""Hide the secrets of a voice's `definition` from whoever looks at it."""

import re
from typing import Any

MASK = "••••••"
# The fields of a generic voice that describe its audio; all others may carry an agency's secrets.
# Source: `ultravox.v1.GenericVoice` of Ultravox's OpenAPI description.
PLAIN = {
    "responseSampleRate",
    "responseWordsPerMinute",
    "responseMimeType",
    "jsonAudioFieldPath",
    "jsonByteEncoding",
}
# JSON text in a definition, such as what is nested too deep: `voices/records.py`.
NAMES_GENERIC = re.compile(r"generic\\*[\"']", re.IGNORECASE)


def masked(definition: Any) -> Any:
    """Return a copy of the definition with everything masked that may be secret."""
    match definition:
        case dict():
            return {
                key: _masked_generic(value) if key.lower() == "generic" else masked(value)
                for key, value in definition.items()
            }
        case list():
            return [masked(item) for item in definition]
        case str() if NAMES_GENERIC.search(definition):
            return MASK
    return definition


def _masked_generic(generic: Any) -> Any:
    if not isinstance(generic, dict):
        return None if generic is None else MASK
    return {
        key: value if key in PLAIN and not isinstance(value, dict | list) else MASK
        for key, value in generic.items()
    }
