from typing import Any

from voiceproject.celery import app
from voiceproject.errors import ServiceError
from voices import alerts, sync
from voices.models import SyncRun


@app.task(bind=True, name="voices.sync_voices", throws=(ServiceError,))
def sync_voices(self: Any) -> None:
    """Sync Ultravox's voices with any agency's key, and report the outcome."""
    try:
        sync.sync_voices(trigger=SyncRun.Trigger.SCHEDULE, task_id=self.request.id)
    except Exception as error:
        alerts.report(error)
        raise
    alerts.report(None)
