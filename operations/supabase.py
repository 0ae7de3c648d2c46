"""The roles of Supabase's API, and the view that replaces its table of voices (docs/adopting.md).

Supabase's API gives the roles `anon` and `authenticated` to callers that have the project's public key.
Source: https://supabase.com/docs/guides/database/postgres/row-level-security
"""

# ruff: noqa: S608  # SQL that only contains names from this file and the schema's

from typing import Any

from django.core.management.base import CommandError
from django.db import connection

API_ROLES = ["anon", "authenticated"]
VIEW = "public.ultravox_voices"
# PostgreSQL adds columns to an existing view at the end only: append new ones. Anyone can read them.
VIEW_COLUMNS = (
    "id",
    "name",
    "description",
    "language_label",
    "primary_language",
    "ownership",
    "billing_style",
    "provider",
    "preview_url",
    "last_synced_at",
)


def rows(query: str, *values: str | list[str]) -> list[tuple[Any, ...]]:
    """Return a query's rows. Raises django.db.Error."""
    with connection.cursor() as cursor:
        cursor.execute(query, values)
        return list(cursor.fetchall())


def existing_api_roles() -> list[str]:
    query = "SELECT rolname FROM pg_roles WHERE rolname = ANY(%s)"
    return [name for (name,) in rows(query, API_ROLES)]


def current_schema() -> str | None:
    """Return the schema of this service's tables, or None if it does not exist yet."""
    [[schema]] = rows("SELECT current_schema()")
    return schema


def create_view() -> None:
    """Replace Supabase's table of voices with a read-only view of the public voices.

    Renames the table, and revokes access to it. Leaves the privileges of an existing view unchanged.
    Requires a transaction. Raises django.db.Error.
    """
    roles = existing_api_roles()
    public = ", ".join(["PUBLIC", *roles])
    schema = connection.ops.quote_name(str(current_schema()))
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL lock_timeout = '3s'")  # while it waits, all readers wait
        if is_table():
            cursor.execute(f"REVOKE ALL ON {VIEW} FROM {public}")
            cursor.execute(f"ALTER TABLE {VIEW} RENAME TO ultravox_voices_before")
        [[is_new]] = rows("SELECT to_regclass(%s) IS NULL", VIEW)
        # OFFSET makes the view read-only, whatever the default privileges.
        cursor.execute(
            f"CREATE OR REPLACE VIEW {VIEW} WITH (security_barrier) AS"
            f" SELECT {', '.join(VIEW_COLUMNS)} FROM {schema}.ultravox_voices"
            " WHERE ownership = 'public' OFFSET 0"
        )
        if is_new:
            cursor.execute(f"REVOKE ALL ON {VIEW} FROM {public}")
        if is_new and roles:
            cursor.execute(f"GRANT SELECT ON {VIEW} TO {', '.join(roles)}")
        cursor.execute("NOTIFY pgrst, 'reload schema'")


def dependents() -> list[str]:
    """Return the foreign keys and views that refer to Supabase's table of voices."""
    names = rows(
        "SELECT conrelid::regclass || '.' || conname FROM pg_constraint"
        " WHERE contype = 'f' AND confrelid = to_regclass(%s)"
        " UNION SELECT ev_class::regclass::text FROM pg_depend JOIN pg_rewrite r ON r.oid = objid"
        " WHERE classid = 'pg_rewrite'::regclass AND refobjid = to_regclass(%s) ORDER BY 1",
        *(VIEW, VIEW),
    )
    return [name for (name,) in names] if is_table() else []


def is_table() -> bool:
    """Return whether a table still has the view's name. Raises CommandError if it is this service's table."""
    if current_schema() == "public":
        raise CommandError("Set DATABASE_SCHEMA: the view needs the table's name in public.")
    query = "SELECT EXISTS (SELECT 1 FROM pg_class WHERE oid = to_regclass(%s) AND relkind IN ('r', 'p'))"
    [[exists]] = rows(query, VIEW)
    return exists
