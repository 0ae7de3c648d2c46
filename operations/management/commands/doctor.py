import django.db
from django.core.management.base import BaseCommand, CommandError

from operations import doctor, health
from voiceproject.database import explain


class Command(BaseCommand):
    help = "Check everything that a sync needs, and explain how to fix each fault."
    requires_system_checks = ()  # doctor runs them

    def handle(self, *args: object, **options: object) -> None:
        faults = 0
        try:
            for subject, status, remedy in doctor.diagnose():
                if remedy:
                    faults += 1
                    line = f"{self.style.ERROR('FAULT')} {subject}: {status} -> {remedy}"
                elif status in health.NO_FAULT:
                    line = f"{self.style.SUCCESS('ok   ')} {subject}: {status}"
                else:
                    line = f"{self.style.WARNING('warn ')} {subject}: {status}"
                self.stdout.write(line)
                self.stdout.flush()
        except django.db.Error as error:
            raise CommandError(explain(error)) from error
        if faults:
            raise CommandError(f"{faults} {'fault' if faults == 1 else 'faults'} found")
