"""What of a voice's definition is shown, and that no secret is."""

import json
from typing import Any

import pytest

from voices.masking import MASK, masked

SECRET = "s3cr3t-marker"
GENERIC = {"url": SECRET, "headers": {"A": SECRET}, "body": SECRET}
TEXT = json.dumps({"generic": GENERIC})
ESCAPED = TEXT.replace('"generic"', r'"\u0067eneric"')


@pytest.mark.parametrize(
    "definition",
    [
        *({key: GENERIC} for key in ("generic", "Generic", "GENERIC", "Generic ", " generic\n")),
        {"generic": SECRET},
        {"generic": [SECRET, {"url": SECRET}, [SECRET]]},
        {"generic": {"URL": SECRET, "Headers": [SECRET], "somethingElse": SECRET}},
        {"generic": {"responseSampleRate": {"deep": SECRET}, "jsonByteEncoding": [SECRET]}},
        {"wrapped": {"generic": GENERIC}},
        {"wrapped": [[{"generic": GENERIC}]]},
        [{"generic": GENERIC}, {"generic": SECRET}],
        {"generic": {"generic": {"generic": GENERIC}}},
        TEXT,
        TEXT.replace("generic", "Generic"),
        TEXT.replace("generic", r"\tgeneric"),
        {"text": json.dumps(TEXT)},
        {"text": json.dumps(json.dumps([TEXT]))},
        ESCAPED,
        {"a": json.dumps(ESCAPED)},
        *(
            TEXT.replace('"generic"', key)
            for key in ('"Generic "', r'"generic\t"', r'"generic\u00a0"', r'"\u0047ENERIC"')
        ),
        *(
            {"generic": {"responseMimeType": text}}
            for text in (SECRET, f"Bearer {SECRET}", f"audio/{SECRET}", f"audio/wav; rate={SECRET}")
        ),
        *({"generic": {name: SECRET}} for name in ("responseSampleRate", "jsonByteEncoding")),
        {"generic": {"jsonAudioFieldPath": f"https://example.com/?key={SECRET}"}},
    ],
    ids=repr,
)
def test_secrets_of_generic_voices_are_masked(definition: Any) -> None:
    text = json.dumps(masked(definition), ensure_ascii=False)
    assert SECRET not in text
    assert MASK in text


@pytest.mark.parametrize(
    "definition",
    [
        *(None, {}, [], "", 0, True, "text", [1, "text"]),
        {"elevenLabs": {"voiceId": "plain", "speed": 0.7, "more": [1, None, True]}},
        {"generic": None},
        {"generic": {"responseSampleRate": 24000, "responseWordsPerMinute": 150}},
        {"generic": {"jsonAudioFieldPath": "a.b", "jsonByteEncoding": "JSON_BYTE_ENCODING_BASE64"}},
        *(
            {"generic": {"responseMimeType": mime}}
            for mime in ("audio/wav", "audio/x-l16", "audio/L16; rate=8000", None)
        ),
    ],
    ids=repr,
)
def test_what_holds_no_secret_is_shown(definition: Any) -> None:
    assert masked(definition) == definition


def test_the_rest_of_a_definition_stays() -> None:
    definition = {"generic": GENERIC, "name": "plain", "list": [{"GENERIC": SECRET, "a": 1}]}
    before = json.dumps(definition)
    assert masked(definition) == {
        "generic": {"url": MASK, "headers": MASK, "body": MASK},
        "name": "plain",
        "list": [{"GENERIC": MASK, "a": 1}],
    }
    assert json.dumps(definition) == before  # it is a copy that is masked
