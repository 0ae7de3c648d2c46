"""The Celery application: `celery -A voiceproject worker -B`."""

import logging
import os
import signal
from typing import Any

from celery import Celery, bootsteps
from celery.signals import beat_embedded_init, beat_init
from celery.worker import state
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

from voiceproject.logging import celery as celery_logging  # noqa: F401  # connects to celery's signals
from voiceproject.logging import formats

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "voiceproject.settings")
try:
    settings.DEBUG  # noqa: B018  # reads them
except ImproperlyConfigured as error:
    formats.give_up(error)

logger = logging.getLogger(__name__)

app = Celery("voiceproject")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
app.steps["consumer"].add("operations.worker:Pulse")
app.Task.Strategy = "voiceproject.logging.celery:strategy"
app.Task.Request = "voiceproject.logging.celery:Request"


@app.steps["worker"].add
class BeatWatch(bootsteps.StartStopStep):
    """End the worker, when its embedded beat ends, for whoever restarts it: syncs would just stay away."""

    requires = ("celery.worker.components:Beat", "celery.worker.components:Timer")

    def __init__(self, parent: Any, beat: bool = False, **options: Any) -> None:
        super().__init__(parent, **options)
        self.enabled = beat

    def start(self, parent: Any) -> None:
        parent.timer.call_repeatedly(2.0, self._look, (parent.beat,))

    def _look(self, beat: Any) -> None:
        if not beat.is_alive() and state.should_stop is None and state.should_terminate is None:
            logger.critical("Beat has ended: so does this worker, since nothing would be scheduled")
            state.should_stop = 1


def _log_retry(error: Exception, interval: float) -> None:
    logger.warning("The broker cannot be reached (%s); beat tries again in %d s", error, interval)


@beat_init.connect
def _end_by_an_interrupt(**_signal: Any) -> None:
    """End beat as Ctrl-C ends a program: celery's handler queries the database, perhaps within a query."""
    if signal.getsignal(signal.SIGTERM) != signal.SIG_DFL:  # else embedded
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.default_int_handler)


@beat_init.connect
@beat_embedded_init.connect
def _send_until_sent(**_signal: Any) -> None:
    """Let beat wait for a broker that is down: it would give up, leaving the sync to its next turn."""
    app.conf.task_publish_retry_policy = {
        "max_retries": None,
        "errback": _log_retry,
        "interval_start": 0,
        "interval_step": 1,
        "interval_max": 10,  # seconds
    }
