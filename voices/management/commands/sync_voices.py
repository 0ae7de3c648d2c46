import logging
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import django.db
from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser
from tqdm import tqdm

from agencies.models import Agency
from voiceproject.database import explain
from voiceproject.errors import ServiceError
from voices.models import SyncRun
from voices.sync import sync_voices


class Command(BaseCommand):
    help = "Sync the voices of Ultravox into the table that all agencies share."
    requires_system_checks = ()  # they load the whole web stack; `check` and `migrate` run them

    def add_arguments(self, parser: CommandParser) -> None:
        help = "use only this agency's key; without it, any agency's"
        parser.add_argument("--agency", metavar="ID", help=help)

    def handle(self, *args: object, agency: str | None, verbosity: int, **options: object) -> None:
        bar = tqdm(
            disable=not sys.stderr.isatty(),
            leave=False,
            bar_format="Voices: {n_fmt}/{total_fmt} |{bar}| {elapsed}{postfix}",
        )

        def show(run: SyncRun) -> None:
            bar.total, bar.n = run.total or bar.total, run.voices
            bar.set_postfix_str(f"page {run.pages}")  # draws the bar as well
            if verbosity >= 2:
                total = "" if run.total is None else f" of {run.total}"
                self.stdout.write(f"Page {run.pages}: {run.voices}{total} voices")

        try:
            with bar, _command_signals_and_logs(verbosity):
                run = sync_voices(
                    trigger=SyncRun.Trigger.COMMAND,
                    agency=None if agency is None else _find_agency(agency),
                    progress=show,
                )
        except KeyboardInterrupt:
            raise CommandError("Interrupted. Nothing was changed.", returncode=130) from None
        except ServiceError as error:
            raise CommandError(error.message) from error
        self.stdout.write(run.message)
        if run.skipped:
            self.stderr.write(f"Skipped {run.skipped} records that cannot be stored")


def _find_agency(agency_id: str) -> Agency:
    try:
        return Agency.objects.get(pk=agency_id)
    except (Agency.DoesNotExist, ValidationError) as error:
        raise CommandError(f"There is no agency with the id {agency_id!r}.") from error
    except django.db.Error as error:
        raise CommandError(explain(error)) from error


@contextmanager
def _command_signals_and_logs(verbosity: int) -> Iterator[None]:
    """Let SIGTERM end the sync as Ctrl-C does, and log errors only.

    `call_command` from another thread changes neither, because both belong to the whole program.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handler = signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    logging.disable(logging.WARNING if verbosity < 2 else logging.NOTSET)
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)
        signal.signal(signal.SIGTERM, handler)
