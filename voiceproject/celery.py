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
app.conf.update(
    broker_url=settings.CELERY_BROKER_URL or "memory://localhost",
    broker_connection_retry_on_startup=True,
    beat_scheduler="django_celery_beat.schedulers:DatabaseScheduler",
    task_ignore_result=True,  # nothing reads results
    result_expires=None,
    worker_prefetch_multiplier=1,
    task_acks_late=True,
    task_reject_on_worker_lost=True,
)
match settings.CELERY_BROKER_URL.partition("://")[0]:
    case "":  # beat runs the tasks itself
        app.conf.task_always_eager = True
    case "redis" | "rediss":
        # After this time, another worker gets an unacknowledged message. It is longer than the longest sync,
        # its write and its report. If the first sync is alive after all, the second one waits for it.
        # Workers look for such messages every 5 seconds; the default is 100.
        app.conf.broker_transport_options = {
            "visibility_timeout": settings.BACKGROUND_DEADLINE + 30,
            "unacked_restore_interval": 5,
            "unacked_restore_throttle": 1,
        }
    case "amqp" | "amqps" | "pyamqp":
        app.conf.task_default_queue_type = "quorum"
        app.conf.broker_transport_options = {"confirm_publish": True}
app.autodiscover_tasks()
app.steps["consumer"].add("operations.worker:Heartbeat")


@beat_init.connect
def _configure_beat(**_: object) -> None:
    # While the broker is down, beat waits. By default it drops the task until the next time it is due.
    app.conf.task_publish_retry_policy = {"max_retries": None}
    # Celery's handler queries the database, even if the signal interrupts a query of a sync.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.default_int_handler)
