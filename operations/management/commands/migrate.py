from typing import Any

from django.conf import settings
from django.core.management.base import CommandError
from django.core.management.commands import migrate
from django.db import connections

from operations.checks import check_tables


class Command(migrate.Command):
    """Django's, which makes DATABASE_SCHEMA first, and fails if others reach what it made."""

    def execute(self, *args: Any, **options: Any) -> Any:
        connection = connections[options["database"]]
        if settings.DATABASE_SCHEMA and connection.vendor == "postgresql":
            with connection.cursor() as cursor:
                name = connection.ops.quote_name(settings.DATABASE_SCHEMA)
                cursor.execute(f"CREATE SCHEMA IF NOT EXISTS {name}")
        result = super().execute(*args, **options)
        for fault in check_tables(databases=[options["database"]]):
            raise CommandError(f"{fault.msg}\n{fault.hint}")
        return result
