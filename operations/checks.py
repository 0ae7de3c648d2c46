"""Checks of a shared PostgreSQL database, such as Supabase's: conflicting names, and access to tables.

Supabase's default privileges give `anon` and `authenticated` access to each new table in `public`.
"""

from collections.abc import Iterator

import django.db
from django.apps import apps
from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, register
from django.db import connection
from django.db.migrations.recorder import MigrationRecorder

from operations.supabase import API_ROLES, current_schema, existing_api_roles, rows

SCHEMA_HINT = "Set DATABASE_SCHEMA to a new name, such as voices. `migrate` creates that schema."
EXISTING = """
    SELECT relname FROM pg_class
    WHERE relnamespace = to_regnamespace(current_schema()) AND relname = ANY(%s) ORDER BY relname
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
OPEN_BY_DEFAULT = """
    SELECT DISTINCT d.defaclnamespace = 0 FROM pg_default_acl d
    CROSS JOIN aclexplode(d.defaclacl) a
    JOIN pg_roles r ON r.rolname = ANY(%s) AND (a.grantee = 0 OR pg_has_role(r.oid, a.grantee, 'USAGE'))
    LEFT JOIN pg_namespace n ON n.oid = d.defaclnamespace
    WHERE d.defaclobjtype = 'r' AND d.defaclrole = (SELECT oid FROM pg_roles WHERE rolname = current_user)
    AND (d.defaclnamespace = 0 OR n.nspname = current_schema())
    AND has_schema_privilege(r.oid, (SELECT oid FROM pg_namespace WHERE nspname = current_schema()), 'USAGE')
"""


@register(Tags.database)
def check_shared_database(databases: object = None, **_: object) -> list[CheckMessage]:
    if not databases or connection.vendor != "postgresql":
        return []
    try:
        return list(_schema_faults() or _access_faults())
    except django.db.Error:
        return []  # voices.E003 reports it


def _schema_faults() -> list[CheckMessage]:
    schema = current_schema()
    if settings.DATABASE_SCHEMA and schema not in (None, settings.DATABASE_SCHEMA):
        message = f"A pooler dropped DATABASE_SCHEMA: the connection uses the schema {schema}."
        hint = "Connect to PostgreSQL directly (docs/adopting.md)."
        return [Error(message, hint=hint, id="operations.E004")]
    migrated = {app for app, _ in MigrationRecorder(connection).applied_migrations()}
    if "agencies" not in migrated and not migrated <= apps.app_configs.keys():
        migrated = set()  # these are the migrations of another project
    missing = [table for table, app in _tables().items() if app not in migrated]
    if conflicts := [name for (name,) in rows(EXISTING, missing)]:
        message = f"Another project has tables with these names: {', '.join(conflicts)}."
        hint = f"{SCHEMA_HINT} `adopt_supabase` copies their rows (docs/adopting.md)."
        return [Error(message, hint=hint, id="operations.E001")]
    return []


def _access_faults() -> Iterator[CheckMessage]:
    roles = existing_api_roles()
    if not roles:
        return
    schema = connection.ops.quote_name(str(current_schema()))
    public = ", ".join(["PUBLIC", *roles])
    exposed = [name for (name,) in rows(EXPOSED, API_ROLES, [*_tables(), "django_migrations"])]
    if exposed:
        message = f"Supabase's API can access these tables: {', '.join(exposed)}."
        names = ", ".join(f'{schema}."{name}"' for name in exposed)
        hint = f"Run: REVOKE ALL ON {names} FROM {public};"
        yield Error(message, hint=hint, id="operations.E002")
    for (is_global,) in rows(OPEN_BY_DEFAULT, API_ROLES):
        message = "Default privileges would give Supabase's API access to each new table."
        where = "" if is_global else f" IN SCHEMA {schema}"
        revoke = f"ALTER DEFAULT PRIVILEGES{where} REVOKE ALL ON TABLES FROM {public};"
        yield Error(message, hint=f"{SCHEMA_HINT} Or run: {revoke}", id="operations.E003")


def _tables() -> dict[str, str]:
    """Return the app of each of this service's tables."""
    models = [model._meta for model in apps.get_models(include_auto_created=True)]
    return {model.db_table: model.app_label for model in models if model.managed}
