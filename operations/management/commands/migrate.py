import django.db
from django.conf import settings
from django.core.management.base import CommandError
from django.core.management.commands import migrate
from django.db import connection

from voiceproject.database import advice_on


class Command(migrate.Command):
    """Django's command, which also creates DATABASE_SCHEMA, and explains database errors."""

    def handle(self, *args: object, **options: object) -> None:
        try:
            if not (options["plan"] or options["check_unapplied"]):
                _create_schema()
            super().handle(*args, **options)
        except django.db.Error as error:
            if advice := advice_on(error):
                raise CommandError(advice) from error
            raise


def _create_schema() -> None:
    if not settings.DATABASE_SCHEMA or connection.vendor != "postgresql":
        return
    with connection.cursor() as cursor:
        # Not `IF NOT EXISTS`, which requires the privilege even if the schema exists.
        cursor.execute("SELECT to_regnamespace(%s) IS NULL", [settings.DATABASE_SCHEMA])
        if cursor.fetchone()[0]:
            cursor.execute(f"CREATE SCHEMA {connection.ops.quote_name(settings.DATABASE_SCHEMA)}")
