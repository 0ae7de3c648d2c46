"""Mask a voice's `definition`, except for fields that Ultravox documents and that hold no secret.

Source: `ultravox.v1.ExternalVoice` in Ultravox's OpenAPI description. An agency's secrets are in the
`url`, `headers` and `body` of a generic voice, but any unknown field may hold one.
"""

import re
from typing import Any

MASK = "••••••"

NUMBER = re.compile(r"-?[0-9]{1,10}(\.[0-9]{1,20})?(e-?[0-9]{1,3})?")
FLAG = re.compile(r"True|False")
TEXT = re.compile(r"[\w./:+-]{0,200}")  # an id or a name; never JSON, nor a URL with a query
MIME_TYPE = re.compile(
    r"(audio|application|text)/(x-)?(l16|l24|pcm|raw|wave?|vnd\.wave|mpeg|mp3|mp4|aac|ogg|opus|flac|webm"
    r"|basic|mulaw|alaw|json|jsonl|ndjson|event-stream|octet-stream|plain)"
    r"(; ?(rate|channels)=[0-9]{1,6}|; ?charset=utf-8)*",
    re.IGNORECASE,
)
FIELD_PATH = re.compile(r"[A-Za-z_]\w{0,30}([.\[][A-Za-z0-9_]{1,30}\]?){0,9}")
ENCODING = re.compile(r"JSON_BYTE_ENCODING_[A-Z0-9]{1,20}")


def _fields(pattern: re.Pattern[str], names: str) -> dict[str, Any]:
    return dict.fromkeys(names.split(), pattern)


# The fields that are shown, and the pattern of their values; a list holds such values.
SHOWN = {
    "elevenLabs": {
        **_fields(TEXT, "voiceId model"),
        **_fields(NUMBER, "speed style similarityBoost stability optimizeStreamingLatency"),
        **_fields(NUMBER, "maxSampleRate"),
        **_fields(FLAG, "useSpeakerBoost enableSsmlParsing"),
        "pronunciationDictionaries": _fields(TEXT, "dictionaryId versionId"),
    },
    "cartesia": {
        **_fields(TEXT, "voiceId model emotion emotions"),
        "speed": NUMBER,
        "generationConfig": {
            **_fields(TEXT, "emotion pronunciationDictId"),
            **_fields(NUMBER, "volume speed"),
        },
    },
    "lmnt": {**_fields(TEXT, "voiceId model"), "speed": NUMBER, "conversational": FLAG},
    "google": {"voiceId": TEXT, "speakingRate": NUMBER},
    "inworld": {
        **_fields(TEXT, "voiceId modelId deliveryMode pronunciationDictionaryIds"),
        **_fields(NUMBER, "speakingRate temperature"),
        "applyTextNormalization": FLAG,
    },
    "respeecher": {
        **_fields(TEXT, "voiceId model"),
        **_fields(NUMBER, "seed temperature topK topP minP"),
        **_fields(NUMBER, "presencePenalty repetitionPenalty frequencyPenalty"),
    },
    "generic": {
        **_fields(NUMBER, "responseSampleRate responseWordsPerMinute"),
        "responseMimeType": MIME_TYPE,
        "jsonAudioFieldPath": FIELD_PATH,
        "jsonByteEncoding": ENCODING,
    },
}


def masked(definition: Any) -> Any:
    """Return a copy of the definition with MASK in place of all values that are not SHOWN."""
    return _masked(definition, SHOWN)


def _masked(value: Any, shown: Any) -> Any:
    match value, shown:
        case None, _:
            return None
        case dict(), dict():
            return {key: _masked(item, shown.get(key)) for key, item in value.items()}
        case list(), dict() | re.Pattern():
            return [_masked(item, shown) for item in value]
        case str() | int() | float(), re.Pattern() if shown.fullmatch(str(value)):
            return value
    return MASK
