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
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import psycopg
from django.db import connection, transaction
from django.utils import timezone

from agencies.credentials import has_key
from agencies.fields import normal_email
from agencies.models import Agency, User
from operations.checks import api_roles
from voices.models import JSONText, Voice
from voices.records import COLUMNS, UnusableRecord, to_row

VIEW = "public.ultravox_voices"
TABLES = ("r", "p")  # kinds of pg_class
ROLE = "voices_service"
BATCH = 500  # rows a statement
MAX_EMAIL = 254  # characters
VOICE_COLUMNS = (*COLUMNS, "last_synced_at")
SHOWN = [name for name in VOICE_COLUMNS if name != "definition"]

Row = tuple[Any, ...]


class AdoptingFailed(Exception):
    """Say what is wrong, without any value."""


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
    keys: list[Agency] = field(default_factory=list)  # of agencies that were adopted without
    users: list[User] = field(default_factory=list)
    voices: list[Voice] = field(default_factory=list)
    here: dict[str, int] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def find(source: Source) -> Found:
    """Look at the source, and return what is to be added. Raises AdoptingFailed and django.db.Error."""
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
    found = Found()
    _find_agencies(rows.get("agencies", []), found)
    _find_users(rows.get("users", []), found)
    _find_voices(rows.get("voices", []), found)
    found.here = {name: number for name, number in found.here.items() if name in rows}
    return found


def apply(found: Found, *, view: bool) -> None:
    """Add it, and make the view, all or nothing. Raises AdoptingFailed and django.db.Error."""
    with transaction.atomic():
        Agency.objects.bulk_create(found.agencies, batch_size=BATCH, ignore_conflicts=True)
        for agency in found.keys:
            agency.save()
        User.objects.bulk_create(found.users, batch_size=BATCH, ignore_conflicts=True)
        Voice.objects.bulk_create(found.voices, batch_size=BATCH, ignore_conflicts=True)
        if view:
            _make_view()


def check_view() -> None:
    """Raise AdoptingFailed if the view cannot take the place of what is there."""
    schema = own_schema()
    if schema == "public":
        raise AdoptingFailed("Set DATABASE_SCHEMA: the view takes the table's place in public.")
    kind, is_ours, has_before = _one(
        "SELECT (SELECT relkind::text FROM pg_class WHERE oid = to_regclass(%(view)s)),"
        " EXISTS (SELECT 1 FROM pg_depend d JOIN pg_rewrite r ON r.oid = d.objid"
        " WHERE r.ev_class = to_regclass(%(view)s) AND d.refobjid = to_regclass(%(ours)s)),"
        " to_regclass(%(before)s) IS NOT NULL",
        {"view": VIEW, "ours": f"{schema}.ultravox_voices", "before": f"{VIEW}_before"},
    )
    if kind in TABLES and has_before:
        raise AdoptingFailed(f"There is a {VIEW}_before already: rename it.")
    if kind and kind not in TABLES and not is_ours:
        raise AdoptingFailed(f"{VIEW} is a view of others: rename it.")


def own_schema() -> str:
    """Return the schema that our tables are in. Raises django.db.Error."""
    return str(_one("SELECT current_schema()")[0])


def role_sql() -> str:
    """Return the SQL that makes a role for the service, whose search path needs no DATABASE_SCHEMA.

    A pooler in transaction mode takes no options at the start, and hands on to others what is SET.
    """
    quoted = connection.ops.quote_name
    schema, database = quoted(own_schema()), quoted(connection.settings_dict["NAME"])
    rights = {"TABLES": "SELECT, INSERT, UPDATE, DELETE", "SEQUENCES": "USAGE"}
    lines = [
        f"CREATE ROLE {ROLE} LOGIN PASSWORD '...';",
        f"ALTER ROLE {ROLE} SET search_path = {schema};",
        f"GRANT TEMPORARY ON DATABASE {database} TO {ROLE};",
        f"GRANT USAGE ON SCHEMA {schema} TO {ROLE};",
    ]
    for kind, what in rights.items():
        lines += [
            f"GRANT {what} ON ALL {kind} IN SCHEMA {schema} TO {ROLE};",
            f"ALTER DEFAULT PRIVILEGES IN SCHEMA {schema} GRANT {what} ON {kind} TO {ROLE};",
        ]
    return "\n".join(lines)


def _make_view() -> None:
    """Leave a view of public voices where Supabase's clients look for the table.

    The table is renamed, and closed to them. By OFFSET nobody can write through the view, whomever default
    privileges open it to.
    """
    check_view()
    schema = connection.ops.quote_name(own_schema())
    roles = ", ".join(api_roles())
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL lock_timeout = '3s'")  # readers wait behind who waits for a table
        cursor.execute("SELECT relkind::text FROM pg_class WHERE oid = to_regclass(%s)", [VIEW])
        if (cursor.fetchone() or [""])[0] in TABLES:
            cursor.execute(
                f"REVOKE ALL ON {VIEW} FROM {', '.join(filter(None, ('PUBLIC', roles)))}"
            )
            cursor.execute(f"ALTER TABLE {VIEW} RENAME TO ultravox_voices_before")
        cursor.execute(
            f"CREATE OR REPLACE VIEW {VIEW} WITH (security_barrier) AS SELECT {', '.join(SHOWN)}"
            f" FROM {schema}.ultravox_voices WHERE ownership = 'public' OFFSET 0"
        )
        if roles:
            cursor.execute(f"REVOKE ALL ON {VIEW} FROM {roles}")
            cursor.execute(f"GRANT SELECT ON {VIEW} TO {roles}")
        cursor.execute("NOTIFY pgrst, 'reload schema'")


def _find_agencies(rows: list[Row], found: Found) -> None:
    here = {agency.pk: agency for agency in Agency.objects.all()}
    blank = 0
    for given_id, name, given_key in rows:
        id, key = _uuid(given_id, "agencies"), (given_key or "").strip()
        agency = here.get(id)
        if agency is None:
            found.agencies.append(Agency(pk=id, name=name or "", ultravox_api_key=key))
            blank += not key
        elif key and not has_key(agency) and _is_untouched(agency):
            agency.ultravox_api_key = key
            found.keys.append(agency)
    found.here["agencies"] = len(rows) - len(found.agencies)
    if blank:
        found.notes.append(f"{blank} agencies come without a key")
    if found.keys:
        found.notes.append(f"{len(found.keys)} agencies that came without a key have one now")


def _is_untouched(agency: Agency) -> bool:
    """Return whether nobody has changed it since it was made."""
    return agency.updated_at - agency.created_at < timedelta(seconds=10)


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
            skipped["have no e-mail address, or a longer one than can be, and are left out"] += 1
        elif email in taken:
            skipped["have the e-mail address of another user, and are left out"] += 1
        else:
            if agency not in agencies:
                skipped["belong to no agency that is known here"] += 1
                agency = None
            taken.add(email)
            user = User(pk=id, email=email, agency_id=agency)
            user.set_unusable_password()
            found.users.append(user)
    found.here["users"] = skipped.pop("here", 0)
    found.notes += [f"{number} users {what}" for what, number in skipped.items()]


def _find_voices(rows: list[Row], found: Found) -> None:
    """Take voices as if Ultravox had sent them, but for their time."""
    here = set(Voice.objects.values_list("pk", flat=True))
    odd = 0
    for *values, synced_at in rows:
        record = dict(zip(COLUMNS.values(), values, strict=True))
        try:
            record["definition"] = json.loads(record["definition"] or "null")
            row = to_row(record)
        except (UnusableRecord, ValueError, RecursionError):
            odd += 1
            continue
        if row[0] not in here:
            columns: dict[str, Any] = dict(zip(COLUMNS, row, strict=True))
            columns["definition"] = row[-1] and JSONText(row[-1])
            at = datetime.fromisoformat(synced_at) if synced_at else timezone.now()
            found.voices.append(Voice(**columns, last_synced_at=at))
    found.here["voices"] = len(rows) - len(found.voices) - odd
    if odd:
        found.notes.append(f"{odd} voices cannot be stored, and are left out")


@contextmanager
def _read_only() -> Iterator[None]:
    """Run what expressions name where they expect it, and fail where they would not see all rows."""
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("SET TRANSACTION READ ONLY")
            cursor.execute("SET LOCAL search_path = public, extensions")
            cursor.execute("SET LOCAL row_security = off")
        yield


def _rows(what: str, table: str, columns: Sequence[str]) -> list[Row]:
    """Return rows of texts, the same each time."""
    texts = ", ".join(f"({column})::text" for column in columns)
    return _query(what, f"SELECT {texts} FROM {table} ORDER BY 1")[1]


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
            words = f"{type(error).__name__}, {error.sqlstate}"
            raise AdoptingFailed(f"The {what} cannot be read: PostgreSQL's {words}.") from None


def _one(query: str, values: Any = None) -> Row:
    with connection.cursor() as cursor:
        cursor.execute(query, values)
        return tuple(cursor.fetchone())


def _uuid(value: str | None, what: str) -> UUID:
    try:
        return UUID(value or "")
    except ValueError:
        words = f"The ids of the {what} are no UUIDs; give an expression that makes them."
        raise AdoptingFailed(words) from None
