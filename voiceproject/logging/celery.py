"""Celery's log lines: the service's format, and the id of the request or scheduled task."""

import logging
from typing import Any

from celery import signals

from voiceproject.logging import formats


@signals.setup_logging.connect
def _keep_django_logging(loglevel: int, **_: Any) -> None:
    """Keep Django's handlers and level; `--loglevel` can only lower the level."""
    root = logging.getLogger()
    root.setLevel(min(root.level, loglevel))


@signals.celeryd_init.connect
@signals.beat_init.connect
def _log_uncaught_errors(**_: Any) -> None:
    formats.log_uncaught_errors()


@signals.before_task_publish.connect
def _send_request_id(headers: dict[str, object], **_: Any) -> None:
    headers["request_id"] = formats.request_id.get() or headers["id"]


@signals.task_prerun.connect
def _set_request_id(task: Any, task_id: str, **_: Any) -> None:
    """Set the id that came with the task. An eager task has its request's id, or its own."""
    request_id = task.request.get("request_id") or formats.request_id.get() or task_id
    task.request.request_id_token = formats.request_id.set(request_id)


@signals.task_postrun.connect
def _reset_request_id(task: Any, **_: object) -> None:
    formats.request_id.reset(task.request.request_id_token)
