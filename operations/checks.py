"""Checks of a PostgreSQL that others share, such as Supabase's: whose tables there are, and who reaches ours.

Supabase's API shows the schema `public` to whoever has the public key, as the role `anon` or
`authenticated`, and its default privileges open each new table there to both.
Source: https://supabase.com/docs/guides/database/postgres/row-level-security
"""

from collections.abc import Iterator
from typing import Any

import django.db
from django.apps import apps
from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, register
from django.db import connection
from django.db.migrations.recorder import MigrationRecorder

from voices.models import SyncRun

ROLES = ["anon", "authenticated"]
OWN_SCHEMA = "Set DATABASE_SCHEMA to a new name, such as voices: migrate makes it, and puts all tables there."
NAMED = """
    SELECT relname FROM pg_class
    WHERE relnamespace = to_regnamespace(current_schema()) AND relname = ANY(%s)
"""
EXPOSED = """
    SELECT DISTINCT c.relname FROM pg_class c
    JOIN pg_namespace n ON n.oid = c.relnamespace
    JOIN pg_roles r ON r.rolname = ANY(%s)
    WHERE n.nspname = current_schema() AND c.relkind IN ('r', 'p') AND c.relname = ANY(%s)
    AND has_schema_privilege(r.oid, n.oid, 'USAGE') AND (
        has_table_privilege(r.oid, c.oid, 'SELECT, INSERT, UPDATE, DELETE, TRUNCATE, REFERENCES, TRIGGER')
        OR has_any_column_privilege(r.oid, c.oid, 'SELECT, INSERT, UPDATE, REFERENCES'))
    ORDER BY c.relname
"""
OPENED = """
    SELECT DISTINCT d.defaclnamespace = 0 FROM pg_default_acl d
    CROSS JOIN aclexplode(d.defaclacl) a
    JOIN pg_roles r ON r.rolname = ANY(%s) AND (a.grantee = 0 OR pg_has_role(r.oid, a.grantee, 'USAGE'))
    LEFT JOIN pg_namespace n ON n.oid = d.defaclnamespace
    WHERE d.defaclobjtype = 'r' AND d.defaclrole = (SELECT oid FROM pg_roles WHERE rolname = current_user)
    AND (d.defaclnamespace = 0 OR n.nspname = current_schema())
    AND has_schema_privilege(r.oid, (SELECT oid FROM pg_namespace WHERE nspname = current_schema()), 'USAGE')
"""


@register(Tags.database)
def check_tables(databases: Any = None, **_: Any) -> list[CheckMessage]:
    if not databases or connection.vendor != "postgresql":
        return []
    try:
        return list(_faults())
    except django.db.Error:
        return []  # voiceproject/checks.py tells of it


def api_roles() -> list[str]:
    """Return those of ROLES that there are. Raises django.db.Error."""
    return [name for (name,) in rows("SELECT rolname FROM pg_roles WHERE rolname = ANY(%s)", ROLES)]


def own_schema() -> str | None:
    """Return the schema that our tables are in, None while there is none. Raises django.db.Error."""
    [[name]] = rows("SELECT current_schema()")
    return name


def _faults() -> Iterator[CheckMessage]:
    schema = own_schema()
    if settings.DATABASE_SCHEMA and schema not in (None, settings.DATABASE_SCHEMA):
        words = f"The connection is in the schema {schema}, not in DATABASE_SCHEMA: a pooler dropped it."
        yield Error(
            words,
            hint="Connect to PostgreSQL directly to migrate: docs/adopting.md.",
            id="operations.E004",
        )
        return
    migrated = {app for app, _ in MigrationRecorder(connection).applied_migrations()}
    is_ours = "agencies" in migrated
    if not is_ours and not migrated <= apps.app_configs.keys():
        migrated = set()  # by another project
    models = [model._meta for model in apps.get_models(include_auto_created=True)]
    tables = {model.db_table: model.app_label for model in models if model.managed}
    new = [name for name, app in tables.items() if app not in migrated]
    if foreign := sorted(name for (name,) in rows(NAMED, new)):
        words = f"These are there, and not ours: {', '.join(foreign)}. Nothing was changed."
        hint = (
            f"{OWN_SCHEMA} `manage.py adopt_supabase` takes over what they hold: docs/adopting.md."
        )
        yield Error(words, hint=hint, id="operations.E001")
        return
    if not is_ours and (others := _schemas_of_ours(schema)):
        words = f"The tables of this service are in the schema {others[0]} already."
        hint = f"Set DATABASE_SCHEMA={others[0]}, or leave it out for public, or move them: docs/adopting.md."
        yield Error(words, hint=hint, id="operations.E005")
        return
    if not (roles := api_roles()):
        return
    among = ", ".join(["PUBLIC", *roles])
    exposed = [name for (name,) in rows(EXPOSED, ROLES, [*tables, "django_migrations"])]
    if exposed:
        words = f"Supabase's roles anon or authenticated reach these tables: {', '.join(exposed)}."
        names = ", ".join(f'"{schema}"."{name}"' for name in exposed)
        close = f"REVOKE ALL ON {names} FROM {among};"
        rest = "-- What another role granted, or passes on, must be revoked from that role."
        yield Error(words, hint=f"{close} {rest}", id="operations.E002")
    for (is_everywhere,) in rows(OPENED, ROLES):
        words = "Default privileges open each new table to Supabase's roles anon or authenticated."
        where = "" if is_everywhere else f' IN SCHEMA "{schema}"'
        close = f"ALTER DEFAULT PRIVILEGES{where} REVOKE ALL ON TABLES FROM {among};"
        yield Error(words, hint=close if is_ours else OWN_SCHEMA, id="operations.E003")


def _schemas_of_ours(schema: str | None) -> list[str]:
    """Return those with a table of ours: but beside one that DATABASE_SCHEMA names, only public."""
    query = "SELECT nspname FROM pg_namespace n JOIN pg_class c ON relnamespace = n.oid WHERE relname = %s"
    found = [name for (name,) in rows(query, SyncRun._meta.db_table) if name != schema]
    return [name for name in found if name == "public"] if settings.DATABASE_SCHEMA else found


def rows(query: str, *values: Any) -> list[tuple[Any, ...]]:
    """Return what a query finds. Raises django.db.Error."""
    with connection.cursor() as cursor:
        cursor.execute(query, values)
        return list(cursor.fetchall())
