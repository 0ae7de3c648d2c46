"""Checks of a PostgreSQL that others share, such as Supabase's: whose tables there are, and who reaches ours.

Supabase's API shows the schema `public` to whoever has the public key, as the role `anon` or
`authenticated`, and its default privileges open each new table there to both.
Source: https://supabase.com/docs/guides/database/postgres/row-level-security
"""

from collections.abc import Iterator
from typing import Any

import django.db
from django.apps import apps
from django.core.checks import CheckMessage, Error, Tags, register
from django.db import connection
from django.db.migrations.recorder import MigrationRecorder

ROLES = ("anon", "authenticated")
OWN_SCHEMA = (
    "Set DATABASE_SCHEMA, for example to voices: migrate makes it, and puts all tables there."
)
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
    SELECT count(*) FROM pg_default_acl d
    CROSS JOIN aclexplode(d.defaclacl) a
    JOIN pg_roles r ON r.oid = a.grantee AND r.rolname = ANY(%s)
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


def our_tables() -> set[str]:
    """Return the names of all tables that migrations make."""
    models = apps.get_models(include_auto_created=True)
    return {model._meta.db_table for model in models if model._meta.managed} | {"django_migrations"}


def foreign_tables() -> list[str]:
    """Return the tables by names of ours that our migrations have not made. Raises django.db.Error."""
    migrated = {app for app, _ in MigrationRecorder(connection).applied_migrations()}
    there = set(connection.introspection.table_names())
    models = apps.get_models(include_auto_created=True)
    ours = {model._meta.db_table for model in models if model._meta.app_label not in migrated}
    return sorted(ours & there)


def _faults() -> Iterator[CheckMessage]:
    if foreign := foreign_tables():
        words = f"Tables by these names are there, and not ours: {', '.join(foreign)}. Nothing was changed."
        hint = (
            f"{OWN_SCHEMA} `manage.py adopt_supabase` takes over what they hold: docs/adopting.md."
        )
        yield Error(words, hint=hint, id="operations.E001")
        return
    roles = list(ROLES)
    with connection.cursor() as cursor:
        cursor.execute(EXPOSED, [roles, list(our_tables())])
        exposed = [name for (name,) in cursor.fetchall()]
        cursor.execute(OPENED, [roles])
        [opens] = cursor.fetchone()
    if exposed:
        words = f"Supabase's roles anon or authenticated reach these tables: {', '.join(exposed)}."
        names = ", ".join(f'"{name}"' for name in exposed)
        yield Error(
            words, hint=f"REVOKE ALL ON {names} FROM anon, authenticated;", id="operations.E002"
        )
    if opens:
        words = "Default privileges open each new table to Supabase's roles anon or authenticated."
        yield Error(words, hint=OWN_SCHEMA, id="operations.E003")
