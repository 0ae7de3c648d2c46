from typing import Any

import django.db
from django.core.management.base import BaseCommand, CommandError

from operations import doctor
from voiceproject.database import explain


class Command(BaseCommand):
    help = "Look at all that a sync needs, and say what to do about what is at fault."
    requires_system_checks = ()  # they are among what it looks at

    def handle(self, *args: Any, **options: Any) -> None:
        faults = 0
        try:
            for finding in doctor.examine():
                faults += bool(finding.remedy)
                mark = self.style.ERROR("FAULT") if finding.remedy else self.style.SUCCESS("ok   ")
                remedy = finding.remedy and f" -> {finding.remedy}"
                self.stdout.write(f"{mark} {finding.subject}: {finding.found}{remedy}")
                self.stdout.flush()
        except django.db.Error as error:
            raise CommandError(explain(error)) from error
        if faults:
            raise CommandError(f"{faults} {'fault' if faults == 1 else 'faults'} found")
