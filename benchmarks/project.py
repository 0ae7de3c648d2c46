"""The project: its service function, in a process that is up."""

from collections.abc import Callable

import django
from django.db import connection


def prepare() -> Callable[[], object]:
    """Return the sync, on a connection that is open."""
    django.setup()
    connection.ensure_connection()

    from voices.models import SyncRun
    from voices.sync import sync_voices

    return lambda: sync_voices(trigger=SyncRun.Trigger.COMMAND)
