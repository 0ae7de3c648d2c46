import logging
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import Error as DatabaseError
from tqdm import tqdm

from agencies.models import Agency
from voiceproject.database import save_failed
from voiceproject.errors import ServiceError
from voices.models import SyncRun
from voices.sync import sync_voices


class Command(BaseCommand):
    help = "Sync Ultravox's voices into the table that all agencies share."
    requires_system_checks = ()  # they load the whole web stack; `check` and `migrate` run them

    def add_arguments(self, parser: CommandParser) -> None:
        words = "sync with this agency's key only, not with any"
        parser.add_argument("--agency", metavar="ID", help=words)

    def handle(self, *args: Any, agency: str | None, verbosity: int, **options: Any) -> None:
        bar = tqdm(
            disable=not sys.stderr.isatty(),
            leave=False,
            bar_format="Voices: {n_fmt}/{total_fmt} |{bar}| {elapsed}{postfix}",
        )

        def show(run: SyncRun) -> None:
            bar.total, bar.n = run.total or bar.total, run.voices
            bar.set_postfix_str(f"page {run.pages}")  # and redraw, for each page
            if verbosity >= 2:
                of = "" if run.total is None else f" of {run.total}"
                self.stdout.write(f"Page {run.pages}: {run.voices} voices{of} so far")

        try:
            with bar, _as_a_command(verbosity):
                run = sync_voices(
                    trigger=SyncRun.Trigger.COMMAND,
                    agency=None if agency is None else _agency(agency),
                    progress=show,
                )
        except KeyboardInterrupt:
            raise CommandError("Interrupted; nothing was changed.", returncode=130) from None
        except ServiceError as error:
            raise CommandError(error.message) from error
        self.stdout.write(run.message)
        if run.skipped:
            self.stderr.write(f"Skipped {run.skipped} records that cannot be stored")


def _agency(agency_id: str) -> Agency:
    try:
        return Agency.objects.get(pk=agency_id)
    except (Agency.DoesNotExist, ValidationError) as error:
        raise CommandError(f"There is no agency with the id {agency_id!r}.") from error
    except DatabaseError as error:
        raise CommandError(save_failed(error).message) from error


@contextmanager
def _as_a_command(verbosity: int) -> Iterator[None]:
    """Meanwhile, let SIGTERM end the sync as Ctrl-C does, and let a failure be one line.

    In a program's other threads, signals and the level of its logs are not the command's.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    logger = logging.getLogger("voices")
    level = logger.level
    handler = signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    if verbosity < 2:
        logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
        signal.signal(signal.SIGTERM, handler)
