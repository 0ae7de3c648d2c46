"""Any JSON is storable: what is stored equals what was sent, up to the documented normalisation."""

import json
import math
import os
from decimal import Decimal
from typing import Any
from unittest.mock import patch

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from agencies.models import Agency
from sandbox.catalogue import make_voices
from tests.ultravox import Ultravox
from voices import writer
from voices.models import SyncRun, Voice
from voices.records import COLUMNS, MAX_ID_BYTES
from voices.sync import sync_voices

EXAMPLES = int(os.environ.get("EXAMPLES", "100"))

TEXTS = {column: COLUMNS[column] for column in list(COLUMNS)[1:-1]}

# Any character that JSON can carry: U+0000, lone surrogates, unassigned ones.
texts = st.text(st.characters(exclude_categories=()), max_size=30)
numbers = st.one_of(st.integers(), st.floats(), st.sampled_from([10**30, -(10**30), 1e16, 1e300]))
values = st.recursive(
    st.one_of(st.none(), st.booleans(), numbers, texts),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(texts, inner, max_size=4)),
    max_leaves=12,
)
records = st.one_of(
    values,
    st.fixed_dictionaries(
        {},
        optional={
            "voiceId": st.one_of(texts, st.uuids().map(str), values),
            "definition": values,
            "unknown": values,
        }
        | {field: st.one_of(texts, values) for field in TEXTS.values()},
    ),
)


def normal_text(text: str) -> str:
    """Say again, apart from the product, how a text is normalised."""
    return "".join(
        "\ufffd" if char == "\0" or 0xD800 <= ord(char) <= 0xDFFF else char for char in text
    )


def normal(value: Any) -> Any:
    """Say again, apart from the product, how JSON is normalised."""
    if isinstance(value, str):
        return normal_text(value)
    if isinstance(value, list):
        return [normal(item) for item in value]
    if isinstance(value, dict):
        return {normal_text(key): normal(item) for key, item in value.items()}
    if isinstance(value, float):
        if not math.isfinite(value):
            return None
        return int(Decimal(repr(value))) if abs(value) >= 1e16 else value
    return value


def expected(listing: list[Any]) -> tuple[dict[str, tuple[Any, ...]], int]:
    """Return the rows that a listing leaves, by id, and how many records are skipped."""
    rows, skipped = {}, 0
    for record in listing:
        voice_id = record.get("voiceId") if isinstance(record, dict) else None
        if isinstance(voice_id, bool) or not isinstance(voice_id, str | int | float):
            skipped += 1
            continue
        if isinstance(voice_id, float) and not math.isfinite(voice_id):
            skipped += 1
            continue
        voice_id = text(voice_id)
        if not voice_id.strip() or len(voice_id.encode()) > MAX_ID_BYTES:
            skipped += 1
            continue
        columns = [text(record.get(field)) for field in TEXTS.values()]
        columns[0] = columns[0] or ""
        rows[voice_id] = (*columns, normal(record.get("definition")))
    return rows, skipped


def text(value: Any) -> Any:
    if value is None:
        return None
    if isinstance(value, str):
        return normal_text(value)
    return normal_text(json.dumps(normal(value), ensure_ascii=False))


@pytest.mark.django_db(transaction=True)
@settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(listing=st.lists(records, max_size=5))
@example(listing=[{"voiceId": "a", "definition": {"n": [1e16, 1e23, -0.0, 5e-324, 1.5]}}])
@example(listing=[{"voiceId": "a", "definition": 1e16}, {"voiceId": "b", "definition": "1e16"}])
@example(listing=[{"voiceId": "a", "name": "", "definition": {"n": 7.205759403792151e16}}])
@example(listing=[{"voiceId": "a\0"}, {"voiceId": "a\ud800"}, {"voiceId": "a"}])
@example(listing=[{"voiceId": "a", "definition": math.nan}, {"voiceId": math.inf}])
@example(listing=[{"voiceId": 12}, {"voiceId": True}, {"voiceId": ""}, {"voiceId": " "}, [], 5])
def test_any_listing_is_storable(
    listing: list[Any],
    ultravox: Ultravox,
    agency: Agency,
) -> None:
    """Random listings of any JSON: stored as sent, up to the documented normalisation."""
    Voice.objects.all().delete()
    ultravox.fault = lambda exchange: exchange.reply(
        200, json.dumps({"results": listing, "next": None}).encode()
    )
    rows, skipped = expected(json.loads(json.dumps(listing)))
    for copy_above in (writer.COPY_ABOVE, -1):  # by either writer; the second changes nothing
        with patch.object(writer, "COPY_ABOVE", copy_above):
            run = sync_voices(trigger="service")
        assert (run.synced, run.skipped) == (len(rows), skipped)
        stored = {
            voice_id: tuple(columns)
            for voice_id, *columns in Voice.objects.values_list("id", *TEXTS, "definition")
        }
        assert stored == rows


@pytest.mark.django_db(transaction=True)
def test_a_long_listing_is_copied(ultravox: Ultravox, agency: Agency) -> None:
    """On PostgreSQL in two statements, however long; every column is put right, and the run is closed."""
    ultravox.voices = make_voices(writer.COPY_ABOVE + 100, base_url=ultravox.url)
    for _ in range(2):
        with CaptureQueriesContext(connection) as queries:
            assert sync_voices(trigger="service").synced == writer.COPY_ABOVE + 100
        upserts = [query for query in queries if "INTO ultravox_voices" in query["sql"]]
        assert len(upserts) == (connection.vendor == "postgresql")
        assert Voice.objects.filter(name="spoilt").count() == 0
        assert Voice.objects.values("last_synced_at").distinct().count() == 1
        voice = Voice.objects.get(pk=ultravox.voices[7]["voiceId"])
        assert voice.definition == ultravox.voices[7]["definition"]
        Voice.objects.update(name="spoilt", definition=None, last_synced_at="2020-01-01T00:00:00Z")
    assert {run.status for run in SyncRun.objects.all()} == {"succeeded"}
