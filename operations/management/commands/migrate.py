from typing import Any

import django.db
from django.conf import settings
from django.core.checks import Tags
from django.core.management.base import CommandError
from django.core.management.commands import migrate
from django.db import connections

from voiceproject.database import advice_on, explain


class Command(migrate.Command):
    """Django's, which makes DATABASE_SCHEMA first, and fails if others reach what it made."""

    def execute(self, *args: Any, **options: Any) -> Any:
        if settings.DATABASE_SCHEMA and not (options["plan"] or options["check_unapplied"]):
            try:
                self._make_schema(connections[options["database"]])
            except django.db.Error as error:
                raise CommandError(explain(error)) from error
        try:
            result = super().execute(*args, **options)
        except django.db.Error as error:
            if words := advice_on(error):
                raise CommandError(words) from error
            raise
        self.check(tags=[Tags.database], databases=[options["database"]])
        return result

    def _make_schema(self, connection: Any) -> None:
        """Make it unless it is there, perhaps made by somebody who may."""
        if connection.vendor != "postgresql":
            return
        name = settings.DATABASE_SCHEMA
        with connection.cursor() as cursor:
            cursor.execute("SELECT to_regnamespace(%s) IS NULL", [name])
            if cursor.fetchone()[0]:
                cursor.execute(f"CREATE SCHEMA {connection.ops.quote_name(name)}")
