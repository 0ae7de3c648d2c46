import django.db
from django.core.management.base import BaseCommand, CommandError

from operations import prune
from voiceproject.database import explain


class Command(BaseCommand):
    help = (
        "Remove runs and failed logins older than SYNC_HISTORY_DAYS, expired sessions, and previews"
        " of deleted voices."
    )

    def handle(self, *args: object, **options: object) -> None:
        try:
            removed = prune.prune()
        except django.db.Error as error:
            raise CommandError(explain(error)) from error
        self.stdout.write(prune.summary(removed))
