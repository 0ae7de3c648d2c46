"""Take over what a Supabase project has: agencies with their keys, users, voices.

Reads in a READ ONLY transaction, since expressions are the operator's own SQL, and adds what is not here yet.
What is here is left as it is: it may have been changed since.
"""

# ruff: noqa: S608  # SQL of the operator's own, which only reads, and of names in this file

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import django.db
import psycopg
from django.db import connection, transaction

from agencies.fields import normal_email
from agencies.models import Agency, User
from voiceproject.database_errors import state
from voices.models import Voice
from voices.records import COLUMNS

# PostgreSQL's words for these errors name columns and functions, no values. Source: its manual, appendix A.
WRONG_SQL = "42"
VIEW = "public.ultravox_voices"
ROLE = "voices_service"
BATCH = 500  # rows a statement
SHOWN = [name for name in (*COLUMNS, "last_synced_at") if name != "definition"]

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
    users: list[User] = field(default_factory=list)
    voices: list[Voice] = field(default_factory=list)
    here: dict[str, int] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def find(source: Source) -> Found:
    """Look at the source, and return what is to be added. Raises AdoptingFailed."""
    found = Found()
    with _read_only():
        if source.agencies:
            columns = (source.agency_id, source.agency_name, source.agency_key or "NULL")
            _find_agencies(_rows("agencies", source.agencies, columns), found)
        if source.users:
            columns = (source.user_id, source.user_email, source.user_agency or "NULL")
            _find_users(_rows("users", source.users, columns), found)
        if source.voices:
            _find_voices(source.voices, found)
    return found


def apply(found: Found) -> None:
    """Add it, all or nothing. Raises django.db.Error."""
    with transaction.atomic():
        Agency.objects.bulk_create(found.agencies, batch_size=BATCH, ignore_conflicts=True)
        User.objects.bulk_create(found.users, batch_size=BATCH, ignore_conflicts=True)
        Voice.objects.bulk_create(found.voices, batch_size=BATCH, ignore_conflicts=True)


def make_view() -> None:
    """Leave a view of public voices where Supabase's clients look for the table.

    A table of that name is renamed, and kept. Supabase's default privileges would let them write through the
    view into our table. Raises AdoptingFailed and django.db.Error.
    """
    columns, schema = ", ".join(SHOWN), own_schema()
    if schema == "public":
        raise AdoptingFailed("Set DATABASE_SCHEMA: the view takes the table's place in public.")
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT relkind FROM pg_class WHERE oid = to_regclass(%s)", [VIEW])
        if (cursor.fetchone() or [""])[0] in ("r", "p"):
            cursor.execute(f"ALTER TABLE {VIEW} RENAME TO ultravox_voices_before")
        cursor.execute(
            f"CREATE OR REPLACE VIEW {VIEW} WITH (security_barrier) AS SELECT {columns}"
            f" FROM {connection.ops.quote_name(schema)}.ultravox_voices WHERE ownership = 'public'"
        )
        cursor.execute(f"REVOKE ALL ON {VIEW} FROM PUBLIC, anon, authenticated")
        cursor.execute(f"GRANT SELECT ON {VIEW} TO anon, authenticated")
        cursor.execute("NOTIFY pgrst, 'reload schema'")


def own_schema() -> str:
    """Return the schema that our tables are in. Raises django.db.Error."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_schema()")
        return str(cursor.fetchone()[0])


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


def _find_agencies(rows: list[Row], found: Found) -> None:
    here = set(Agency.objects.values_list("pk", flat=True))
    new = {_uuid(id, "agencies"): (name, key) for id, name, key in rows}
    found.here["agencies"] = len(here & new.keys())
    found.agencies = [
        Agency(pk=id, name=str(name or ""), ultravox_api_key=str(key or "").strip())
        for id, (name, key) in new.items()
        if id not in here
    ]
    if blank := sum(not key for id, (_, key) in new.items() if id not in here):
        found.notes.append(f"{blank} agencies come without a key")


def _find_users(rows: list[Row], found: Found) -> None:
    here = set(User.objects.values_list("pk", flat=True))
    taken = set(User.objects.values_list("email", flat=True))
    agencies = {agency.pk for agency in found.agencies}
    agencies |= set(Agency.objects.values_list("pk", flat=True))
    skipped: Counter[str] = Counter()
    for given_id, given_email, given_agency in rows:
        id, email = _uuid(given_id, "users"), normal_email(str(given_email or ""))
        agency = _uuid(given_agency, "users' agencies") if given_agency else None
        if id in here:
            skipped["here"] += 1
        elif not email:
            skipped["have no e-mail address, and are left out"] += 1
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


def _find_voices(table: str, found: Found) -> None:
    """Take the columns that the table shares with ours."""
    there = _query("voices", f"SELECT * FROM {table} LIMIT 0")[0]
    names = [name for name in (*COLUMNS, "last_synced_at") if name in there]
    if not {"id", "name", "last_synced_at"} <= set(names):
        raise AdoptingFailed("The table of voices has no columns id, name and last_synced_at.")
    here = set(Voice.objects.values_list("pk", flat=True))
    rows = [dict(zip(names, row, strict=True)) for row in _rows("voices", table, names)]
    found.voices = [Voice(**row) for row in rows if row["id"] and row["id"] not in here]
    found.here["voices"] = len(rows) - len(found.voices)


@contextmanager
def _read_only() -> Iterator[None]:
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("SET TRANSACTION READ ONLY")
        yield


def _rows(what: str, table: str, columns: Sequence[str]) -> list[Row]:
    return _query(what, f"SELECT {', '.join(columns)} FROM {table}")[1]


def _query(what: str, query: str) -> tuple[list[str], list[Row]]:
    """Return the names of a query's columns, and its rows; it is one statement, whatever it holds."""
    try:
        # Binary, since that goes by a protocol that takes one statement only.
        with connection.wrap_database_errors, psycopg.Cursor(connection.connection) as cursor:
            cursor.execute(query.encode(), binary=True)
            return [column.name for column in cursor.description or []], cursor.fetchall()
    except django.db.Error as error:
        code = state(error)
        words = str(error).splitlines()[0] if code.startswith(WRONG_SQL) else type(error).__name__
        raise AdoptingFailed(f"The {what} cannot be read: {words} ({code}).") from None


def _uuid(value: Any, what: str) -> UUID:
    try:
        return value if isinstance(value, UUID) else UUID(str(value))
    except ValueError:
        words = f"The ids of the {what} are no UUIDs; give an expression that makes them."
        raise AdoptingFailed(words) from None
