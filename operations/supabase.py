"""What this service leaves in a Supabase project: a view for clients that read its table, and a role.

Both are made by whoever owns the tables, once (docs/adopting.md).
"""

# ruff: noqa: S608  # SQL of names in this file, and of our schema's

import secrets

from django.db import connection

from operations import checks
from voices.records import COLUMNS

VIEW = "public.ultravox_voices"
TABLES = ("r", "p")  # kinds of pg_class
ROLE = "voices_service"
VOICE_COLUMNS = (*COLUMNS, "last_synced_at")
SHOWN = [name for name in VOICE_COLUMNS if name != "definition"]


class AdoptingFailed(Exception):
    """Say what is wrong, without any value."""


def role_sql() -> str:
    """Return the SQL that makes a role for the service, whose search path needs no DATABASE_SCHEMA.

    A pooler in transaction mode takes no options at the start, and hands on to others what is SET.
    """
    schema, database = _schema(), connection.ops.quote_name(connection.settings_dict["NAME"])
    rights = {"TABLES": "SELECT, INSERT, UPDATE, DELETE", "SEQUENCES": "USAGE"}
    [[is_new]] = checks.rows("SELECT to_regrole(%s) IS NULL", ROLE)
    password = secrets.token_urlsafe(24)
    lines = [f"CREATE ROLE {ROLE} LOGIN PASSWORD '{password}';"] if is_new else []
    lines += [
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


def make_view() -> None:
    """Leave a view of public voices where Supabase's clients look for the table.

    The table is renamed, and closed to them. By OFFSET nobody can write through the view, whomever default
    privileges open it to. Who reads a view that is there already is not changed. Raises AdoptingFailed and
    django.db.Error.
    """
    schema = _schema()
    roles = checks.api_roles()
    them = ", ".join(["PUBLIC", *roles])
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL lock_timeout = '3s'")  # readers wait behind who waits for a table
        if _is_over_a_table():
            cursor.execute(f"REVOKE ALL ON {VIEW} FROM {them}")
            cursor.execute(f"ALTER TABLE {VIEW} RENAME TO ultravox_voices_before")
        [[is_new]] = checks.rows("SELECT to_regclass(%s) IS NULL", VIEW)
        cursor.execute(
            f"CREATE OR REPLACE VIEW {VIEW} WITH (security_barrier) AS SELECT {', '.join(SHOWN)}"
            f" FROM {schema}.ultravox_voices WHERE ownership = 'public' OFFSET 0"
        )
        if is_new:
            cursor.execute(f"REVOKE ALL ON {VIEW} FROM {them}")
        if is_new and roles:
            cursor.execute(f"GRANT SELECT ON {VIEW} TO {', '.join(roles)}")
        cursor.execute("NOTIFY pgrst, 'reload schema'")


def notes_on_view() -> list[str]:
    """Tell of foreign keys and views that stay with the table that the view replaces.

    Raises AdoptingFailed if the view cannot go there, and django.db.Error.
    """
    if not _is_over_a_table():
        return []
    staying = checks.rows(
        "SELECT conrelid::regclass || '.' || conname FROM pg_constraint"
        " WHERE contype = 'f' AND confrelid = to_regclass(%s)"
        " UNION SELECT r.ev_class::regclass::text FROM pg_depend d JOIN pg_rewrite r ON r.oid = d.objid"
        " WHERE d.classid = 'pg_rewrite'::regclass AND d.refobjid = to_regclass(%s) ORDER BY 1",
        *(VIEW, VIEW),
    )
    names = ", ".join(name for (name,) in staying)
    return [f"these still refer to the old table, which no sync fills: {names}"] if names else []


def _is_over_a_table() -> bool:
    """Return whether a table is where the view goes. Raises AdoptingFailed if the view cannot go there."""
    if checks.own_schema() == "public":
        raise AdoptingFailed("Set DATABASE_SCHEMA: the view takes the table's place in public.")
    [[kind, is_ours, has_before]] = checks.rows(
        "SELECT (SELECT relkind::text FROM pg_class WHERE oid = to_regclass(%s)),"
        " EXISTS (SELECT 1 FROM pg_depend d JOIN pg_rewrite r ON r.oid = d.objid"
        " WHERE r.ev_class = to_regclass(%s) AND d.refobjid = to_regclass('ultravox_voices')),"
        " to_regclass(%s) IS NOT NULL",
        *(VIEW, VIEW, f"{VIEW}_before"),
    )
    is_table = kind in TABLES
    if is_table and has_before:
        raise AdoptingFailed(f"There is a {VIEW}_before already: rename it.")
    if kind and not is_table and not is_ours:
        raise AdoptingFailed(f"{VIEW} is a view of others: rename it.")
    return is_table


def _schema() -> str:
    """Return the quoted name of our tables' schema, which there is once they are."""
    return connection.ops.quote_name(str(checks.own_schema()))
