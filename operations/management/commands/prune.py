from typing import Any

import django.db
from django.core.management.base import BaseCommand, CommandError

from operations import prune
from voiceproject.database_errors import in_words


class Command(BaseCommand):
    help = "Remove runs and failed logins of before SYNC_HISTORY_DAYS, ended sessions, and unused previews."

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            removed = prune.prune()
        except django.db.Error as error:
            raise CommandError(in_words(error)) from error
        self.stdout.write(f"Removed {prune.in_words(removed)}")
