"""Mask a voice's `definition`, except for fields that Ultravox documents and that hold no secret.

Source: `ultravox.v1.ExternalVoice` in Ultravox's OpenAPI description. An agency's secrets are in the
`url`, `headers` and `body` of a generic voice, but any unknown field may hold one.
"""

import re

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

# The fields that are shown, and the pattern of their values or of the items in their lists.
HARMLESS_FIELDS: dict[str, object] = {
    "elevenLabs": dict.fromkeys(("voiceId", "model"), TEXT)
    | dict.fromkeys(("speed", "style", "similarityBoost", "stability"), NUMBER)
    | dict.fromkeys(("optimizeStreamingLatency", "maxSampleRate"), NUMBER)
    | dict.fromkeys(("useSpeakerBoost", "enableSsmlParsing"), FLAG)
    | {"pronunciationDictionaries": dict.fromkeys(("dictionaryId", "versionId"), TEXT)},
    "cartesia": dict.fromkeys(("voiceId", "model", "emotion", "emotions"), TEXT)
    | {"speed": NUMBER}
    | {
        "generationConfig": dict.fromkeys(("emotion", "pronunciationDictId"), TEXT)
        | dict.fromkeys(("volume", "speed"), NUMBER)
    },
    "lmnt": {"voiceId": TEXT, "model": TEXT, "speed": NUMBER, "conversational": FLAG},
    "google": {"voiceId": TEXT, "speakingRate": NUMBER},
    "inworld": dict.fromkeys(("voiceId", "modelId", "deliveryMode"), TEXT)
    | dict.fromkeys(("speakingRate", "temperature"), NUMBER)
    | {"applyTextNormalization": FLAG, "pronunciationDictionaryIds": TEXT},
    "respeecher": dict.fromkeys(("voiceId", "model"), TEXT)
    | dict.fromkeys(("seed", "temperature", "topK", "topP", "minP"), NUMBER)
    | dict.fromkeys(("presencePenalty", "repetitionPenalty", "frequencyPenalty"), NUMBER),
    "generic": dict.fromkeys(("responseSampleRate", "responseWordsPerMinute"), NUMBER)
    | {
        "responseMimeType": MIME_TYPE,
        "jsonAudioFieldPath": FIELD_PATH,
        "jsonByteEncoding": ENCODING,
    },
}


def mask(value: object, shown: object = HARMLESS_FIELDS) -> object:
    """Return a copy of a definition with MASK in place of all values that are not HARMLESS_FIELDS."""
    match value, shown:
        case None, _:
            return None
        case dict(), dict():
            return {key: mask(item, shown.get(key)) for key, item in value.items()}
        case list(), dict() | re.Pattern():
            return [mask(item, shown) for item in value]
        case str() | int() | float(), re.Pattern() if shown.fullmatch(str(value)):
            return value
    return MASK
