from dataclasses import fields
from typing import Any

import django.db
from django.core.checks import Tags
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import connection

from operations import adopting, supabase
from voiceproject.database import explain

HELP = {
    "agencies": "their table, such as public.agencies",
    "agency_id": "a column of it, or a SQL expression; a UUID",
    "agency_name": "the same, for the name",
    "agency_key": "the same, for the key in plain text, such as public.get_agency_credentials(id)",
    "users": "their table, such as auth.users",
    "user_id": "a column of it, or a SQL expression: the `sub` of their Supabase tokens",
    "user_email": "the same, for the e-mail address",
    "user_agency": "the same, for their agency's id: (SELECT ... FROM public.profiles WHERE ...)",
    "voices": "their table, such as public.ultravox_voices",
}


class Command(BaseCommand):
    help = (
        "Take over agencies, users and voices of a Supabase project from its database, DATABASE_URL. Tells"
        " what it would add, and adds it with --apply. What is here is left as it is. docs/adopting.md"
    )

    def add_arguments(self, parser: CommandParser) -> None:
        for each in fields(adopting.Source):
            option = f"--{each.name.replace('_', '-')}"
            parser.add_argument(option, metavar="SQL", default=each.default, help=HELP[each.name])
        words = "leave a view of the public voices at public.ultravox_voices, for clients that read that"
        parser.add_argument("--view", action="store_true", help=words)
        parser.add_argument("--apply", action="store_true", help="add it")

    def handle(self, *args: Any, view: bool, apply: bool, **options: Any) -> None:
        if connection.vendor != "postgresql":
            raise CommandError("Set DATABASE_URL to the database of the Supabase project.")
        try:
            self.check(tags=[Tags.database], databases=["default"])
            names = [each.name for each in fields(adopting.Source)]
            source = adopting.Source(**{name: options[name] for name in names})
            if (source.agency_key and not source.agencies) or (
                source.user_agency and not source.users
            ):
                raise CommandError("Name the table, too: --agencies or --users.")
            found = adopting.find(source, view=view)
            if apply:
                adopting.apply(found, view=view)
            self._tell(found, view, apply)
            role = supabase.role_sql()
        except supabase.AdoptingFailed as error:
            raise CommandError(f"{error} Nothing was changed.") from error
        except django.db.Error as error:
            raise CommandError(explain(error)) from error
        self.stdout.write(
            "\nFor the service, a role of its own, which needs no DATABASE_SCHEMA, through a pooler, too:\n"
        )
        self.stdout.write(role)

    def _tell(self, found: adopting.Found, view: bool, apply: bool) -> None:
        verb = "Added" if apply else "Would add"
        for name, here in found.here.items():
            self.stdout.write(f"{verb} {name}: {len(getattr(found, name))}; here already: {here}")
        for note in found.notes:
            self.stdout.write(f"Note: {note}")
        if view:
            self.stdout.write(f"{'Made' if apply else 'Would make'} the view {supabase.VIEW}")
        if not apply:
            self.stdout.write("Nothing was changed: add --apply.")
