"""Celery's lines in the form of all others, with the id of the request that a task belongs to."""

import logging
from typing import Any

from celery import Celery
from celery.signals import (
    beat_init,
    before_task_publish,
    celeryd_init,
    setup_logging,
    task_postrun,
    task_prerun,
)
from celery.worker import request
from celery.worker.strategy import default

from voiceproject.logging import formats


@setup_logging.connect
def _log_as_django_does(loglevel: int, **_signal: Any) -> None:
    """Keep Django's handlers and level; `--loglevel` can ask for more."""
    root = logging.getLogger()
    root.setLevel(min(root.level, loglevel))


@celeryd_init.connect
@beat_init.connect
def _log_all(**_signal: Any) -> None:
    formats.take_over()


@before_task_publish.connect
def _send_id(headers: dict[str, Any], **_signal: Any) -> None:
    """Send a request's id along; a task that no request starts has its own for one."""
    headers["request_id"] = formats.request_id.get() or headers["id"]


@task_prerun.connect
def _take_id(task: Any, **_signal: Any) -> None:
    formats.request_id.set(task.request.get("request_id"))


@task_postrun.connect
def _forget_id(**_signal: Any) -> None:
    formats.request_id.set(None)


def strategy(task: Any, app: Celery, consumer: Any, **options: Any) -> Any:
    """Return celery's handler of a task's messages, which then logs their arrival with their id."""
    handle = default(task, app, consumer, **options)

    def handle_with_id(message: Any, *args: Any, **kwargs: Any) -> Any:
        with formats.request(message.headers.get("request_id")):
            return handle(message, *args, **kwargs)

    return handle_with_id


class Request(request.Request):
    """A task as the main process sees it, which alone can tell that the task's process died."""

    def on_failure(self, *args: Any, **kwargs: Any) -> Any:
        with formats.request(self.request_dict.get("request_id")):
            return super().on_failure(*args, **kwargs)
