"""Mapping a record of Ultravox's listing to the values of a Voice."""

import json
import math
from typing import Any

import pytest

from voices.records import (
    COLUMNS,
    MAX_DEPTH,
    MAX_ID_BYTES,
    TEXT_FIELDS,
    UnusableRecord,
    equal,
    to_values,
)


def test_fields_become_columns() -> None:
    record = {field: f"the {field}" for field in ("voiceId", *TEXT_FIELDS.values())}
    definition: Any = {"lmnt": {"": [None, True, -1, 0, 1.5, 2**70, -9e15, "Ünï\n", {}, []]}}
    values = to_values(record | {"definition": definition, "unknown": 1})
    assert {column: values[column] for column in COLUMNS} == {
        "id": "the voiceId",
        "name": "the name",
        "description": "the description",
        "language_label": "the languageLabel",
        "primary_language": "the primaryLanguage",
        "ownership": "the ownership",
        "billing_style": "the billingStyle",
        "provider": "the provider",
        "preview_url": "the previewUrl",
        "definition": definition,
    }
    assert equal(values["definition"], definition)


def test_missing_fields_are_null_but_the_name_is_empty() -> None:
    values = to_values({"voiceId": "v1"})
    assert (values["id"], values["name"]) == ("v1", "")
    assert {values[column] for column in COLUMNS[2:]} == {None}


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        (["voiceId"], "not an object but list"),
        ({}, "voiceId is null"),
        ({"voiceId": False}, "voiceId is bool"),
        ({"voiceId": math.inf}, "voiceId is not a finite number"),
        ({"voiceId": " \n"}, "voiceId is blank"),
        ({"voiceId": "x" * (MAX_ID_BYTES + 1)}, f"more than {MAX_ID_BYTES} bytes"),
    ],
)
def test_unusable_records(record: Any, reason: str) -> None:
    with pytest.raises(UnusableRecord, match=reason):
        to_values(record)


@pytest.mark.parametrize(
    ("sent", "stored"),
    [
        ("é" * 500, "é" * 500),
        (12, "12"),
        (1.5, "1.5"),
        (" a ", " a "),
        ("a\0\ud800", "a\ufffd\ufffd"),
    ],
)
def test_usable_ids(sent: Any, stored: str) -> None:
    assert to_values({"voiceId": sent})["id"] == stored


@pytest.mark.parametrize("depth", [1, 5_000])
def test_a_deep_definition_ends_as_json_text(depth: int) -> None:
    deep: Any = {"a": "bottom", "b": []}
    for _ in range(MAX_DEPTH + depth - 1):
        deep = [1, deep, {}]
    stored = to_values({"voiceId": "v1", "definition": deep})["definition"]
    for _ in range(MAX_DEPTH):
        _, stored, _ = stored
    opening, closing = "[1, " * (depth - 1), ", {}]" * (depth - 1)
    assert stored == opening + '{"a": "bottom", "b": []}' + closing


@pytest.mark.parametrize(
    ("sent", "stored"),
    [
        ("1e16", "10000000000000000"),
        ("[1e23]", "[100000000000000000000000]"),
        ("-0.0", "0.0"),
        ("5e-324", "5e-324"),
        ("[NaN, Infinity, -Infinity]", "[null, null, null]"),
        ('{"a\\u0000": "\\ud800"}', '{"a\\ufffd": "\\ufffd"}'),
        ("1" + "0" * 1000, '"1' + "0" * 1000 + '"'),
    ],
)
def test_values_that_a_database_cannot_store(sent: str, stored: str) -> None:
    definition = to_values({"voiceId": "v1", "definition": json.loads(sent)})["definition"]
    assert json.dumps(definition) == stored


@pytest.mark.parametrize(("one", "other"), [(1, True), (1, 1.0), ([0], [False]), ({"a": None}, {})])
def test_values_of_different_types_are_not_equal(one: Any, other: Any) -> None:
    assert equal(one, one)
    assert not equal(one, other)
    assert not equal({"a": [one]}, {"a": [other]})
