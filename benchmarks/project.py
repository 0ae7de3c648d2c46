"""The project: its service function, in a process that is already running."""

import django
from django.db import connection

from benchmarks.floor import Sync


def prepare() -> Sync:
    """Return the sync, on an open connection."""
    django.setup()
    connection.ensure_connection()

    from voices.models import SyncRun
    from voices.sync import sync_voices

    return lambda: sync_voices(trigger=SyncRun.Trigger.COMMAND)
