"""Take over what a Supabase project has: agencies with their keys, users, voices.

Reads in a READ ONLY transaction, since expressions are the operator's own SQL, and adds what is not here yet.
What is here is left as it is: it may have been changed since.
"""

# ruff: noqa: S608  # SQL of the operator's own, which only reads, and of names in this file

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import psycopg
from django.db import connection, transaction
from django.db.models import F
from django.utils import timezone

from agencies.credentials import has_key
from agencies.emails import normal_email
from agencies.encryption import encrypt
from agencies.models import Agency, User
from operations.supabase import VOICE_COLUMNS, AdoptingFailed, make_view, notes_on_view
from voices.models import Voice
from voices.records import COLUMNS, TEXT_FIELDS, UnusableRecord, to_values

BATCH = 500  # rows a statement
WHY = {
    "21000": "an expression gives several rows; name the table before each column, as in users.id",
    "25006": "an expression writes, which it may not here",
    "P0001": "a function refuses; call it in psql, by this role, to see why",
}
MAX_EMAIL = 254  # characters
UNTOUCHED = Agency.objects.filter(updated_at=F("created_at"))  # since they came without a key

Row = tuple[Any, ...]


@dataclass(kw_only=True, frozen=True)
class Source:
    """Tables of the same database, and SQL expressions over each one's columns."""

    agencies: str = ""
    agency_id: str = "id"
    agency_name: str = "name"
    agency_key: str = ""
    users: str = ""
    user_id: str = "id"
    user_email: str = "email"
    user_agency: str = ""
    voices: str = ""


@dataclass
class Found:
    """What is to be added, and how much is here already or cannot be taken."""

    agencies: list[Agency] = field(default_factory=list)
    keys: dict[UUID, str] = field(default_factory=dict)  # of agencies that were adopted without
    users: list[User] = field(default_factory=list)
    voices: list[Voice] = field(default_factory=list)
    here: dict[str, int] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def find(source: Source, *, view: bool) -> Found:
    """Look at the source, and return what is to be added. Raises AdoptingFailed and django.db.Error."""
    found = Found(notes=notes_on_view() if view else [])
    rows: dict[str, list[Row]] = {}
    with _read_only():
        if source.agencies:
            columns: tuple[str, ...] = (
                source.agency_id,
                source.agency_name,
                source.agency_key or "NULL",
            )
            rows["agencies"] = _rows("agencies", source.agencies, columns)
        if source.users:
            columns = (source.user_id, source.user_email, source.user_agency or "NULL")
            rows["users"] = _rows("users", source.users, columns)
        if source.voices:
            there = _query("voices", f"SELECT * FROM {source.voices} LIMIT 0")[0]
            columns = tuple(name if name in there else "NULL" for name in VOICE_COLUMNS)
            rows["voices"] = _rows("voices", source.voices, columns)
    look = {"agencies": _find_agencies, "users": _find_users, "voices": _find_voices}
    for name, each in rows.items():
        look[name](each, found)
    return found


def apply(found: Found, *, view: bool) -> None:
    """Add it, and make the view, all or nothing. Raises AdoptingFailed and django.db.Error."""
    with transaction.atomic():
        Agency.objects.bulk_create(found.agencies, batch_size=BATCH, ignore_conflicts=True)
        keyless = [agency.pk for agency in found.agencies if not has_key(agency)]
        Agency.objects.filter(pk__in=keyless).update(updated_at=F("created_at"))
        for id, key in found.keys.items():
            UNTOUCHED.filter(pk=id).update(encrypted_key=encrypt(key), updated_at=timezone.now())
        User.objects.bulk_create(found.users, batch_size=BATCH, ignore_conflicts=True)
        Voice.objects.bulk_create(found.voices, batch_size=BATCH, ignore_conflicts=True)
        if view:
            make_view()


def _find_agencies(rows: list[Row], found: Found) -> None:
    here = set(Agency.objects.values_list("pk", flat=True))
    untouched = set(UNTOUCHED.values_list("pk", flat=True))
    blank = 0
    for given_id, name, given_key in rows:
        id, key = _uuid(given_id, "agencies"), (given_key or "").strip()
        if id not in here:
            found.agencies.append(
                Agency(pk=id, name=name or "", encrypted_key=key and encrypt(key))
            )
            blank += not key
        elif key and id in untouched:
            found.keys[id] = key
    found.here["agencies"] = len(rows) - len(found.agencies)
    if blank:
        found.notes.append(f"agencies without a key: {blank}")
    if found.keys:
        found.notes.append(f"agencies that came without a key, and have one now: {len(found.keys)}")


def _find_users(rows: list[Row], found: Found) -> None:
    here = set(User.objects.values_list("pk", flat=True))
    taken = set(User.objects.values_list("email", flat=True))
    agencies = {agency.pk for agency in found.agencies}
    agencies |= set(Agency.objects.values_list("pk", flat=True))
    skipped: Counter[str] = Counter()
    for given_id, given_email, given_agency in rows:
        id, email = _uuid(given_id, "users"), normal_email(given_email or "")
        agency = _uuid(given_agency, "users' agencies") if given_agency else None
        if id in here:
            skipped["here"] += 1
        elif not email or len(email) > MAX_EMAIL:
            skipped["left out, without an e-mail address, or with one that is too long"] += 1
        elif email in taken:
            skipped["left out, with the e-mail address of another user"] += 1
        else:
            if agency not in agencies:
                skipped["of no agency that is known here"] += 1
                agency = None
            taken.add(email)
            user = User(pk=id, email=email, agency_id=agency)
            user.set_unusable_password()
            found.users.append(user)
    found.here["users"] = skipped.pop("here", 0)
    found.notes += [f"users {what}: {number}" for what, number in skipped.items()]


def _find_voices(rows: list[Row], found: Found) -> None:
    """Take voices as if Ultravox had sent them, but for their time."""
    here = set(Voice.objects.values_list("pk", flat=True))
    odd = 0
    for *values, synced_at in rows:
        row = dict(zip(COLUMNS, values, strict=True))
        try:
            record = {field: row[column] for column, field in TEXT_FIELDS.items()}
            definition = json.loads(row["definition"] or "null")
            voice = to_values(record | {"voiceId": row["id"], "definition": definition})
        except (UnusableRecord, ValueError, RecursionError):
            odd += 1
            continue
        if voice["id"] not in here:
            found.voices.append(Voice(**voice, last_synced_at=_time(synced_at)))
    # As syncs write them, lest both wait for each other.
    found.voices.sort(key=lambda voice: voice.pk)
    found.here["voices"] = len(rows) - len(found.voices) - odd
    if odd:
        found.notes.append(f"voices left out, which cannot be stored: {odd}")


def _time(text: str | None) -> datetime:
    """Return the time of a voice's last sync; if it is none, as PostgreSQL's infinity, the present."""
    try:
        at = datetime.fromisoformat(text or "")
    except ValueError:
        return timezone.now()
    return at if at.tzinfo else at.replace(tzinfo=UTC)


@contextmanager
def _read_only() -> Iterator[None]:
    """Run what expressions name where they expect it, and fail where they would not see all rows.

    It is rolled back, and with it what they set for the session.
    """
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("SET TRANSACTION READ ONLY")
            cursor.execute("SET LOCAL search_path = public, extensions")
            cursor.execute("SET LOCAL row_security = off")
        yield
        transaction.set_rollback(True)


def _rows(what: str, table: str, columns: Sequence[str]) -> list[Row]:
    """Return rows of texts, one for each id, which comes first."""
    texts = ", ".join(f"({column})::text" for column in columns)
    return _query(what, f"SELECT DISTINCT ON (1) {texts} FROM {table} ORDER BY 1")[1]


def _query(what: str, query: str) -> tuple[list[str], list[Row]]:
    """Return the names of a query's columns, and its rows; it is one statement, whatever it holds."""
    with psycopg.Cursor(connection.connection) as cursor:
        try:
            # What PostgreSQL says of wrong SQL, before it looks at rows, quotes none of them. Binary, since
            # that goes by a protocol that takes one statement only.
            cursor.execute(f"PREPARE adopting AS {query}".encode(), binary=True)
            cursor.execute(b"DEALLOCATE adopting")
        except psycopg.Error as error:
            words = str(error).splitlines()[0]
            raise AdoptingFailed(f"The {what} cannot be read: {words}.") from None
        try:
            cursor.execute(query.encode(), binary=True)
            return [column.name for column in cursor.description or []], cursor.fetchall()
        except psycopg.Error as error:
            code = error.sqlstate or ""
            words = WHY.get(code) or f"PostgreSQL's {type(error).__name__}, {code}"
            raise AdoptingFailed(f"The {what} cannot be read: {words}.") from None


def _uuid(value: str | None, what: str) -> UUID:
    try:
        return UUID(value or "")
    except ValueError:
        words = f"The ids of the {what} are not UUIDs; give an expression that makes them."
        raise AdoptingFailed(words) from None
