"""The writer compares a listing with the stored voices, and writes the difference."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from agencies.models import Agency
from voices.models import Voice
from voices.records import COLUMNS, UnusableRecord, equal, to_values
from voices.writer import BATCH, Changes, write

pytestmark = pytest.mark.django_db(transaction=True)

times = (datetime(2026, 11, 29, tzinfo=UTC) + timedelta(hours=number) for number in range(10_000))
PUBLIC = {"ownership": "public"}


def store(agency: Agency, *records: Any) -> Changes:
    """Write a listing, each time at a later time."""
    voices = {values["id"]: values for values in map(to_values, records)}
    with transaction.atomic():
        return write(voices, agency_id=agency.pk, at=next(times))


def voice(voice_id: str, **fields: Any) -> dict[str, Any]:
    return (
        {"voiceId": voice_id, "name": f"Voice {voice_id}", "definition": {"n": 1}} | PUBLIC | fields
    )


def test_new_changed_and_unchanged_voices(agency: Agency) -> None:
    assert store(agency, voice("a"), voice("b")) == Changes(added=["a", "b"])
    changes = store(agency, voice("a"), voice("b", name="New", provider="LMNT"), voice("c"))
    assert changes == Changes(added=["c"], changed={"b": ["name", "provider"]})
    assert Voice.objects.get(pk="b").provider == "LMNT"
    assert store(agency, voice("b", definition=None)).changed == {
        "b": ["name", "provider", "definition"]
    }


def test_an_unchanged_listing_writes_only_the_time(agency: Agency) -> None:
    listing = [voice(f"v{number}") for number in range(300)]
    store(agency, *listing)
    with CaptureQueriesContext(connection) as queries:
        assert store(agency, *listing) == Changes()
    assert len(queries) <= 6  # including the transaction's
    writes = [query["sql"] for query in queries if query["sql"].startswith(("INSERT", "UPDATE"))]
    assert len(writes) == 1
    assert 'SET "last_synced_at"' in writes[0]


def test_a_listing_of_several_batches(agency: Agency) -> None:
    """All of its voices get one time, and others keep theirs."""
    store(agency, voice("gone"))
    listing = [voice(f"v{number:05}") for number in range(2 * BATCH + 1)]
    assert len(store(agency, *listing).added) == len(listing)
    last = voice("v01000", name="New")
    assert store(agency, *listing[:-1], last).changed == {"v01000": ["name"]}
    newest = Voice.objects.latest("last_synced_at").last_synced_at
    others = Voice.objects.exclude(last_synced_at=newest)
    assert [other.pk for other in others] == ["gone"]


@pytest.mark.parametrize(("before", "after"), [(1, True), ([1], [1.0]), ({"a": None}, {})])
def test_definitions_are_compared_by_value_and_type(
    agency: Agency, before: Any, after: Any
) -> None:
    store(agency, voice("a", definition=before))
    assert store(agency, voice("a", definition=before)) == Changes()
    assert store(agency, voice("a", definition=after)).changed == {"a": ["definition"]}
    assert equal(Voice.objects.get(pk="a").definition, after)


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("name", "theirs"),
        ("provider", None),
        ("definition", None),
        ("definition", "null"),
        ("definition", "1" * 5000),
        ("definition", "[" * 900 + "]" * 900),
    ],
)
def test_a_row_that_another_program_altered_is_restored(
    agency: Agency, column: str, value: Any
) -> None:
    record = voice("a", provider="LMNT", description="Warm")
    store(agency, record)
    with connection.cursor() as cursor:
        cursor.execute(f"UPDATE ultravox_voices SET {column} = %s", [value])
    assert store(agency, record) == Changes(changed={"a": [column]})
    assert Voice.objects.values(*COLUMNS).get() == {
        column: to_values(record)[column] for column in COLUMNS
    }


def test_a_json_null_is_restored_to_null(agency: Agency) -> None:
    store(agency, voice("a", definition=None))
    with connection.cursor() as cursor:
        cursor.execute("UPDATE ultravox_voices SET definition = 'null'")
    assert store(agency, voice("a", definition=None)).changed == {"a": ["definition"]}
    assert Voice.objects.filter(definition__isnull=True).exists()


@pytest.mark.parametrize("columns", [{"sort_name": None, "search_text": None}, {"name": "Émilie"}])
def test_search_columns_of_rows_from_other_programs_are_written(
    agency: Agency, columns: dict[str, str | None]
) -> None:
    """Their columns already have the values of the listing, so the voice does not change."""
    store(agency, voice("a", name="Émilie" if "sort_name" in columns else "Other"))
    Voice.objects.update(**columns)
    assert store(agency, voice("a", name="Émilie")) == Changes()
    assert Voice.objects.get().sort_name == "emilie"


# Any JSON

texts = st.text(st.characters(exclude_categories=()), max_size=30)  # surrogates and U+0000 as well
numbers = st.one_of(st.integers(), st.floats(), st.sampled_from([10**30, -(10**30), 1e16, 1e300]))
json_values = st.recursive(
    st.one_of(st.none(), st.booleans(), numbers, texts),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(texts, inner, max_size=4)),
    max_leaves=12,
)
FIELDS = ("name", "description", "languageLabel", "primaryLanguage", "ownership", "previewUrl")
records = st.fixed_dictionaries(
    {"voiceId": st.one_of(texts, st.integers(), st.floats())},
    optional={"definition": json_values} | dict.fromkeys(FIELDS, st.one_of(texts, json_values)),
)


def usable(listing: list[Any]) -> Iterator[Any]:
    for record in listing:
        try:
            to_values(record)
        except UnusableRecord:
            continue
        yield record


@settings(
    max_examples=50,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(listing=st.lists(records, max_size=5))
@example(listing=[{"voiceId": "a", "definition": {"n": [1e16, 1e23, -0.0, 5e-324, 1.5]}}])
@example(listing=[{"voiceId": "a\0"}, {"voiceId": "a\ud800"}, {"voiceId": "a"}])
def test_any_record_is_stored_and_then_unchanged(listing: list[Any], agency: Agency) -> None:
    Voice.objects.all().delete()
    listing = list(usable(json.loads(json.dumps(listing))))
    expected = {values["id"]: values for values in map(to_values, listing)}
    assert store(agency, *listing).added == sorted(expected)
    for row in Voice.objects.values(*COLUMNS):
        stored = {column: expected[row["id"]][column] for column in COLUMNS}
        assert equal(dict(row), stored)
    assert store(agency, *listing) == Changes()
