"""The Celery application: `celery -A voiceproject worker -B`."""

import logging
import os
import signal
from typing import Any

from celery import Celery, bootsteps
from celery.signals import (
    beat_embedded_init,
    beat_init,
    before_task_publish,
    celeryd_init,
    setup_logging,
    task_postrun,
    task_prerun,
)
from celery.worker import request, state
from celery.worker.strategy import default
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

from voiceproject import logs

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "voiceproject.settings")
try:
    settings.configured or settings.DEBUG  # noqa: B018  # reads them
except ImproperlyConfigured as error:
    logs.give_up(error)

logger = logging.getLogger(__name__)

app = Celery("voiceproject")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
app.steps["worker"].add("operations.worker:Pulse")


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
        "max_retries": None, "errback": _log_retry,
        "interval_start": 0, "interval_step": 1, "interval_max": 10,  # seconds
    }  # fmt: skip


# Logs


@setup_logging.connect
def _log_as_django_does(loglevel: int, **_signal: Any) -> None:
    """Keep Django's handlers and level; `--loglevel` can ask for more."""
    root = logging.getLogger()
    root.setLevel(min(root.level, loglevel))


@celeryd_init.connect
@beat_init.connect
def _log_all(**_signal: Any) -> None:
    logs.take_over()


@before_task_publish.connect
def _send_id(headers: dict[str, Any], **_signal: Any) -> None:
    """Send a request's id along; a task that no request starts has its own for one."""
    headers["request_id"] = logs.request_id.get() or headers["id"]


@task_prerun.connect
def _take_id(task: Any, **_signal: Any) -> None:
    logs.request_id.set(task.request.get("request_id"))


@task_postrun.connect
def _forget_id(**_signal: Any) -> None:
    logs.request_id.set(None)


def strategy(task: Any, app: Celery, consumer: Any, **options: Any) -> Any:
    """Return celery's handler of a task's messages, which then logs their arrival with their id."""
    handle = default(task, app, consumer, **options)

    def handle_with_id(message: Any, *args: Any, **kwargs: Any) -> Any:
        with logs.request(message.headers.get("request_id")):
            return handle(message, *args, **kwargs)

    return handle_with_id


class Request(request.Request):
    """A task as the main process sees it, which alone can tell that the task's process died."""

    def on_failure(self, *args: Any, **kwargs: Any) -> Any:
        with logs.request(self.request_dict.get("request_id")):
            return super().on_failure(*args, **kwargs)


app.Task.Strategy = "voiceproject.celery:strategy"
app.Task.Request = "voiceproject.celery:Request"
