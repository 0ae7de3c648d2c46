"""Compare a listing with the stored voices, and write the difference."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db.models import TextField
from django.db.models.functions import Cast

from voices.folding import search_columns
from voices.models import PUBLIC, AgencyVoice, Voice
from voices.records import COLUMNS, equal

BATCH = 500  # voices; a statement for all of a large listing would need tens of megabytes
TEXT_COLUMNS = COLUMNS[1:-1]
UPDATE_FIELDS = (*COLUMNS[1:], "sort_name", "search_text", "last_synced_at")
UNREADABLE = object()

Values = dict[str, Any]


@dataclass(frozen=True)
class Changes:
    """What a listing changed: the ids of new voices, and the names of changed columns by voice id."""

    added: list[str] = field(default_factory=list)
    changed: dict[str, list[str]] = field(default_factory=dict)


def write(voices: Mapping[str, Values], *, agency_id: UUID, at: datetime) -> Changes:
    """Store all voices of a listing, by id, in the caller's transaction.

    `at` becomes the `last_synced_at` of all of them. Voices that are not public are recorded as listed for
    the agency. Raises django.db.Error.
    """
    changes = Changes()
    ids = sorted(voices)  # writers that lock rows in different orders deadlock
    for start in range(0, len(ids), BATCH):
        batch = {voice_id: voices[voice_id] for voice_id in ids[start : start + BATCH]}
        _write_batch(batch, at, changes)
        _record_listed([*batch.values()], agency_id, at)
    return changes


def _write_batch(batch: Mapping[str, Values], at: datetime, changes: Changes) -> None:
    rows = _read_rows(list(batch))
    unchanged_ids, writes = [], []
    for voice_id, values in batch.items():
        if voice_id not in rows:
            changes.added.append(voice_id)
            writes.append(values)
        elif columns := _changed_columns(rows[voice_id], values):
            changes.changed[voice_id] = columns
            writes.append(values)
        elif any(rows[voice_id][name] != text for name, text in search_columns(values).items()):
            writes.append(values)  # another program wrote the row
        else:
            unchanged_ids.append(voice_id)
    Voice.objects.bulk_create(
        [Voice(**values, **search_columns(values), last_synced_at=at) for values in writes],
        update_conflicts=True,
        unique_fields=["id"],
        update_fields=UPDATE_FIELDS,
    )
    Voice.objects.filter(pk__in=unchanged_ids).update(last_synced_at=at)


def _record_listed(batch: list[Values], agency_id: UUID, at: datetime) -> None:
    """Record which of the voices are listed for the agency; public ones are visible to all anyway."""
    private = [values["id"] for values in batch if values["ownership"] != PUBLIC]
    known = AgencyVoice.objects.filter(agency=agency_id, voice__in=private)
    if known.update(last_seen_at=at) < len(private):
        AgencyVoice.objects.bulk_create(
            [AgencyVoice(agency_id=agency_id, voice_id=pk, last_seen_at=at) for pk in private],
            update_conflicts=True,
            unique_fields=["agency", "voice"],
            update_fields=["last_seen_at"],
        )


def _read_rows(ids: list[str]) -> dict[str, Values]:
    """Return the stored values of these voices, locked. `definition` is JSON text: see `_parse`."""
    rows = Voice.objects.filter(pk__in=ids).order_by("pk").select_for_update()
    definition = Cast("definition", TextField())
    columns = rows.values("id", *TEXT_COLUMNS, "sort_name", "search_text", json=definition)
    return {row["id"]: row for row in columns}


def _changed_columns(stored: Values, values: Values) -> list[str]:
    """Return the columns whose stored value is not that of the listing."""
    columns = [column for column in TEXT_COLUMNS if stored[column] != values[column]]
    if not equal(_parse(stored["json"]), values["definition"]):
        columns.append("definition")
    return columns


def _parse(text: str | None) -> Any:
    """Parse a stored definition. JSON null and text that Python cannot read equal nothing."""
    if text is None:
        return None
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return UNREADABLE
    return UNREADABLE if value is None else value
