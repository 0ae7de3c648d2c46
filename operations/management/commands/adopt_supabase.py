from typing import Any

import django.db
from django.core.checks import Tags
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import connection, transaction

from operations import adoption, supabase
from voiceproject.database import explain

# The default and the description of each option.
OPTIONS = {
    "agencies": ("", "table of agencies, such as public.agencies"),
    "agency_id": ("id", "column or SQL expression: the agency's id, a UUID"),
    "agency_name": ("name", "column or SQL expression: the agency's name"),
    "agency_key": ("NULL", "column or SQL expression: the Ultravox API key, in plain text"),
    "users": ("", "table of users, such as auth.users"),
    "user_id": ("id", "column or SQL expression: the `sub` claim of the user's Supabase tokens"),
    "user_email": ("email", "column or SQL expression: the user's email address"),
    "user_agency": ("NULL", "column or SQL expression: the id of the user's agency"),
    "voices": ("", "table of voices, such as public.ultravox_voices"),
}


class Command(BaseCommand):
    help = (
        "Copy agencies, users and voices from the Supabase project in DATABASE_URL to this service's tables."
        " Existing rows stay as they are. Without --apply, only report what would be added. See"
        " docs/adopting.md."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        for name, (default, help) in OPTIONS.items():
            option = f"--{name.replace('_', '-')}"
            parser.add_argument(option, metavar="SQL", default=default, help=help)
        view = f"replace the table {supabase.VIEW} by a view of this service's public voices"
        parser.add_argument("--view", action="store_true", help=view)
        parser.add_argument("--apply", action="store_true", help="add the rows and the view")

    def handle(self, *args: Any, view: bool, apply: bool, **options: Any) -> None:
        if connection.vendor != "postgresql":
            raise CommandError("Set DATABASE_URL to the Supabase project's database.")
        try:
            self.check(tags=[Tags.database], databases=["default"])
            dependents = supabase.dependents() if view else []
            additions = adoption.find_additions(options)
            if apply:
                with transaction.atomic():
                    adoption.add(additions)
                    if view:
                        supabase.create_view()
        except django.db.Error as error:
            raise CommandError(explain(error)) from error
        verb = "Added" if apply else "Would add"
        for kind, existing in additions.existing.items():
            added = len(getattr(additions, kind))
            self.stdout.write(f"{verb} {kind}: {added}; existing: {existing}")
        for note in additions.notes:
            self.stdout.write(f"Note: {note}")
        if view:
            self.stdout.write(f"{'Created' if apply else 'Would create'} the view {supabase.VIEW}")
        if dependents:
            names = ", ".join(dependents)
            self.stdout.write(f"Note: these refer to the old table, which no sync updates: {names}")
        if not apply:
            self.stdout.write("Nothing was changed. To make these changes, add --apply.")
