"""Copy agencies, users and voices from a Supabase project's tables to this service's.

Only missing rows are added, because existing rows may have been changed since the last copy.
"""

# ruff: noqa: S608  # the operator's SQL

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from uuid import UUID

import psycopg
from django.core.management.base import CommandError
from django.db import connection, transaction
from django.db.models import F
from django.utils import timezone

from agencies.emails import normal_email
from agencies.models import Agency, User
from voices.models import Voice
from voices.records import COLUMNS, TEXT_FIELDS, to_values

BATCH_SIZE = 500  # rows per statement
# Agencies that were added without a key, and not edited since: add() makes both times equal.
UNCHANGED = Agency.objects.filter(updated_at=F("created_at"))

Row = tuple[str | None, ...]


@dataclass
class Additions:
    """Rows to add, the number of rows that exist already, and notes for the operator."""

    agencies: list[Agency] = field(default_factory=list)
    keys: dict[UUID, str] = field(default_factory=dict)  # of agencies that were added without one
    users: list[User] = field(default_factory=list)
    voices: list[Voice] = field(default_factory=list)
    existing: dict[str, int] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def find_additions(source: Mapping[str, str]) -> Additions:
    """Compare the Supabase project's tables with this service's.

    `source` has the options of `adopt_supabase`: tables, and SQL expressions over the columns of each.
    Raises CommandError and django.db.Error.
    """
    additions = Additions()
    if table := source["agencies"]:
        columns = [source[name] for name in ("agency_id", "agency_name", "agency_key")]
        _find_agencies(_read("agencies", table, columns), additions)
    if table := source["users"]:
        columns = [source[name] for name in ("user_id", "user_email", "user_agency")]
        _find_users(_read("users", table, columns), additions)
    if source["voices"]:
        # As JSON, because the table may lack columns.
        table = f"(SELECT * FROM {source['voices']}) source_row"
        columns = [f"to_jsonb(source_row) ->> '{name}'" for name in (*COLUMNS, "last_synced_at")]
        _find_voices(_read("voices", table, columns), additions)
    return additions


@transaction.atomic
def add(additions: Additions) -> None:
    """Add all rows or none. Raises django.db.Error."""
    Agency.objects.bulk_create(additions.agencies, BATCH_SIZE, ignore_conflicts=True)
    keyless = [agency.pk for agency in additions.agencies if not agency.encrypted_key]
    Agency.objects.filter(pk__in=keyless).update(updated_at=F("created_at"))
    for agency in Agency.objects.filter(pk__in=additions.keys):
        agency.ultravox_api_key = additions.keys[agency.pk]
        agency.save()
    User.objects.bulk_create(additions.users, BATCH_SIZE, ignore_conflicts=True)
    Voice.objects.bulk_create(additions.voices, BATCH_SIZE, ignore_conflicts=True)


def _find_agencies(rows: list[Row], additions: Additions) -> None:
    existing = set(Agency.objects.values_list("pk", flat=True))
    unchanged = set(UNCHANGED.values_list("pk", flat=True))
    keyless = 0
    for source_id, name, source_key in rows:
        id, key = _uuid(source_id, "agencies"), (source_key or "").strip()
        if id not in existing:
            agency = Agency(pk=id, name=name or "")
            agency.ultravox_api_key = key
            additions.agencies.append(agency)
            keyless += not key
        elif key and id in unchanged:
            additions.keys[id] = key
    additions.existing["agencies"] = len(rows) - len(additions.agencies)
    if keyless:
        additions.notes.append(f"agencies without a key: {keyless}")
    if additions.keys:
        additions.notes.append(f"existing agencies that get a key: {len(additions.keys)}")


def _find_users(rows: list[Row], additions: Additions) -> None:
    existing = set(User.objects.values_list("pk", flat=True))
    emails = set(User.objects.values_list("email", flat=True))
    agencies = set(Agency.objects.values_list("pk", flat=True))
    agencies |= {agency.pk for agency in additions.agencies}
    counts: Counter[str] = Counter()
    for source_id, source_email, source_agency in rows:
        id, email = _uuid(source_id, "users"), normal_email(source_email or "")
        agency = _uuid(source_agency, "users' agencies") if source_agency else None
        if id in existing:
            counts["existing"] += 1
        elif not email:
            counts["skipped because they have no email address"] += 1
        elif email in emails:
            counts["skipped because another user has their email address"] += 1
        else:
            if agency not in agencies:
                counts["added without an agency"] += 1
                agency = None
            emails.add(email)
            user = User(pk=id, email=email, agency_id=agency)
            user.set_unusable_password()
            additions.users.append(user)
    additions.existing["users"] = counts.pop("existing", 0)
    additions.notes += [f"users {note}: {count}" for note, count in counts.items()]


def _find_voices(rows: list[Row], additions: Additions) -> None:
    existing = set(Voice.objects.values_list("pk", flat=True))
    skipped, now = 0, timezone.now().isoformat()
    for id, *texts, definition, synced_at in rows:
        record: dict[str, object] = dict(zip(TEXT_FIELDS.values(), texts, strict=True))
        record["voiceId"] = id
        try:
            record["definition"] = json.loads(definition or "null")
            values = to_values(record)
            time = datetime.fromisoformat(synced_at or now).astimezone(UTC)
        except ValueError:  # UnusableRecord is one
            skipped += 1
            continue
        if values["id"] not in existing:
            additions.voices.append(Voice(**values, last_synced_at=time))
    additions.existing["voices"] = len(rows) - len(additions.voices) - skipped
    if skipped:
        additions.notes.append(f"voices skipped because they cannot be stored: {skipped}")


def _read(kind: str, table: str, columns: Sequence[str]) -> list[Row]:
    """Return one row of texts for each id, its first column. Raises CommandError, which quotes no value."""
    texts = ", ".join(f"({column})::text" for column in columns)
    query = f"SELECT DISTINCT ON (1) {texts} FROM {table} ORDER BY 1"
    with transaction.atomic(), psycopg.Cursor(connection.connection) as cursor:
        cursor.execute("SET TRANSACTION READ ONLY")
        cursor.execute("SET LOCAL search_path = public, extensions")
        cursor.execute("SET LOCAL row_security = off")  # hidden rows are an error
        try:
            # The binary protocol accepts one statement only, so the query cannot end the transaction.
            cursor.execute(query.encode(), binary=True)
            rows = cursor.fetchall()
        except psycopg.Error as error:
            reason = f"{type(error).__name__} ({error.sqlstate})"
            advice = "Run the SQL in psql to see why. Nothing was changed."
            raise CommandError(f"Cannot read the {kind}: {reason}. {advice}") from None
        transaction.set_rollback(True)  # undoes what the expressions set for the session
    return rows


def _uuid(text: str | None, kind: str) -> UUID:
    try:
        return UUID(text or "")
    except ValueError:
        message = f"The ids of the {kind} are not UUIDs. Use an expression that returns UUIDs."
        raise CommandError(f"{message} Nothing was changed.") from None
