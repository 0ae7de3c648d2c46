"""The Celery application: `celery -A voiceproject beat`, and with a broker `worker` as well."""

import os
import signal

from celery import Celery
from celery.signals import beat_init
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

from voiceproject.logging import celery as celery_logging  # noqa: F401  # connects to celery's signals
from voiceproject.logging import formats

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "voiceproject.settings")
try:
    settings.DEBUG  # noqa: B018  # loads the settings
except ImproperlyConfigured as error:
    formats.exit_with(error)

app = Celery("voiceproject")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
app.steps["consumer"].add("operations.worker:Heartbeat")


@beat_init.connect
def _configure_beat(**_: object) -> None:
    # While the broker is down, beat waits. By default it drops the task until the next time it is due.
    app.conf.task_publish_retry_policy = {"max_retries": None}
    # Celery's handler queries the database, even if the signal interrupts a query of a sync.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.default_int_handler)
