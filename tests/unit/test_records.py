"""A record becomes a row."""

import json
from typing import Any

import pytest

from voices.models import Voice
from voices.records import COLUMNS, MAX_DEPTH, MAX_ID_BYTES, UnusableRecord, to_row


def test_columns_are_those_of_the_table() -> None:
    """The writer fills the model by position."""
    fields = [field.attname for field in Voice._meta.concrete_fields]
    assert fields == [*COLUMNS, "last_synced_at", "sort_name", "search_text"]


def test_fields_become_columns() -> None:
    fields = {
        "id": "voiceId",
        "name": "name",
        "description": "description",
        "language_label": "languageLabel",
        "primary_language": "primaryLanguage",
        "ownership": "ownership",
        "billing_style": "billingStyle",
        "provider": "provider",
        "preview_url": "previewUrl",
    }
    record: Any = {field: f"the {field}" for field in fields.values()}
    row = to_row(record | {"definition": {"lmnt": {"voiceId": "x"}}})
    assert dict(zip(COLUMNS, row, strict=True)) == {
        **{column: f"the {field}" for column, field in fields.items()},
        "definition": '{"lmnt":{"voiceId":"x"}}',
    }


def test_what_is_left_out_is_null() -> None:
    row = dict(zip(COLUMNS, to_row({"voiceId": "v1"}), strict=True))
    assert row.pop("id") == "v1"
    assert row.pop("name") == ""
    assert set(row.values()) == {None}


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        (None, "not an object but null"),
        (["voiceId"], "not an object but list"),
        ({}, "voiceId is null"),
        ({"voiceId": False}, "voiceId is bool"),
        ({"voiceId": {"id": 1}}, "voiceId is dict"),
        ({"voiceId": " \n"}, "voiceId is empty"),
        ({"voiceId": "x" * (MAX_ID_BYTES + 1)}, f"more than {MAX_ID_BYTES} bytes"),
    ],
)
def test_unusable_records(record: Any, reason: str) -> None:
    with pytest.raises(UnusableRecord, match=reason):
        to_row(record)


@pytest.mark.parametrize("depth", [1, 50, 900, 100_000])
def test_deep_definitions_end_as_json_text(depth: int) -> None:
    deep: Any = {"a": "bottom", "b": []}
    for _ in range(MAX_DEPTH + depth - 1):
        deep = [1, deep, {}]
    stored = json.loads(to_row({"voiceId": "v1", "definition": deep})[-1] or "")
    for _ in range(MAX_DEPTH):
        _, stored, _ = stored
    opening, closing = "[1, " * (depth - 1), ", {}]" * (depth - 1)
    assert stored == opening + '{"a": "bottom", "b": []}' + closing


def test_ids_may_have_a_thousand_bytes() -> None:
    assert to_row({"voiceId": "é" * 500})[0] == "é" * 500
