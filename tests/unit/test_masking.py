"""Masking: only documented fields that hold no secret are shown."""

import json
from typing import Any

import pytest

from sandbox.catalogue import make_voices
from voices.masking import MASK, mask

SECRET = "s3cr3t-marker"
GENERIC = {"url": SECRET, "headers": {"A": SECRET}, "body": SECRET}
TEXT = json.dumps({"generic": GENERIC})


@pytest.mark.parametrize(
    "definition",
    [
        *({key: GENERIC} for key in ("generic", "Generic", " generic\n", "wrapped", "")),
        {"generic": SECRET},
        {"generic": [SECRET, {"url": SECRET}, [SECRET]]},
        {"generic": {"URL": SECRET, "Headers": [SECRET], "somethingElse": SECRET}},
        {"generic": {"responseSampleRate": {"deep": SECRET}, "jsonByteEncoding": [SECRET]}},
        {"generic": {"responseSampleRate": SECRET, "jsonByteEncoding": SECRET}},
        {"generic": {"jsonAudioFieldPath": f"https://example.com/?key={SECRET}"}},
        *(
            {"generic": {"responseMimeType": text}}
            for text in (SECRET, f"Bearer {SECRET}", f"audio/{SECRET}", f"audio/wav; rate={SECRET}")
        ),
        {"cartesia": {"voiceId": "id", "apiKey": SECRET}},
        {"cartesia": {"voiceId": {"generic": GENERIC}}},
        {"cartesia": {"generationConfig": {"token": SECRET, "speed": SECRET}}},
        {"elevenLabs": {"pronunciationDictionaries": [{"dictionaryId": "a", "key": SECRET}]}},
        {"lmnt": {"voiceId": TEXT, "model": f"https://user:{SECRET}@example.com"}},
        {"lmnt": {"conversational": SECRET, "model": f"Bearer {SECRET}"}},
        {"unknown": {"voiceId": SECRET}},
        {"voiceId": SECRET},
        [{"generic": GENERIC}, SECRET],
        SECRET,
        TEXT,
        {"text": json.dumps(TEXT)},
    ],
    ids=repr,
)
def test_anything_else_is_masked(definition: Any) -> None:
    before = json.dumps(definition)
    text = json.dumps(mask(definition), ensure_ascii=False)
    assert SECRET not in text
    assert MASK in text
    assert json.dumps(definition) == before  # the original is unchanged


@pytest.mark.parametrize(
    "definition",
    [
        *(None, {}, [], {"generic": None}, {"google": {}}),
        {"generic": {"responseSampleRate": 24000, "responseWordsPerMinute": 150}},
        {"generic": {"jsonAudioFieldPath": "a.b", "jsonByteEncoding": "JSON_BYTE_ENCODING_BASE64"}},
        *(
            {"generic": {"responseMimeType": mime}}
            for mime in ("audio/wav", "audio/x-l16", "audio/L16; rate=8000", None)
        ),
        {"inworld": {"deliveryMode": "calm", "pronunciationDictionaryIds": ["a", "b"]}},
        {"respeecher": {"topK": -1, "minP": 1e-05}, "lmnt": {"conversational": True}},
    ],
    ids=repr,
)
def test_documented_fields_are_shown(definition: Any) -> None:
    assert mask(definition) == definition


def test_the_sandbox_s_voices_are_shown_but_for_generic_secrets() -> None:
    for voice in make_voices(300, base_url="http://127.0.0.1"):
        definition = voice["definition"]
        if "generic" in definition:
            definition = {"generic": definition["generic"] | dict.fromkeys(GENERIC, MASK)}
        assert mask(voice["definition"]) == definition
