"""The form of log lines, and what they belong to: a request or task by its id, and a run."""

import json
import logging
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import NoReturn

logger = logging.getLogger(__name__)

request_id: ContextVar[str | None] = ContextVar("request_id", default=None)
run: ContextVar[int | None] = ContextVar("run", default=None)


@contextmanager
def request(given: str | None) -> Iterator[None]:
    """Let the lines of this block have this id."""
    token = request_id.set(given)
    try:
        yield
    finally:
        request_id.reset(token)


class TextFormatter(logging.Formatter):
    """Lines for people, which end with the ids if there are any."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802  # logging's
        ids = {"request": request_id.get(), "run": run.get()}
        told = ", ".join(f"{name} {value}" for name, value in ids.items() if value is not None)
        return super().formatMessage(record) + (f" [{told}]" if told else "")


class JSONFormatter(logging.Formatter):
    """One JSON object a line.

    Of what callers pass as `extra`, only `fields`: Django passes whole requests, whose addresses may be
    signed, celery a task's arguments.
    """

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            "request_id": request_id.get(),
            "run": run.get(),
        }
        if record.exc_info:
            line["trace"] = self.formatException(record.exc_info)
        return json.dumps(line | getattr(record, "fields", {}))


FORMATTERS: dict[str, type[logging.Formatter]] = {"text": TextFormatter, "json": JSONFormatter}


def take_over() -> None:
    """Log what Python would print to standard error: warnings, and what ends a thread or the process."""
    logging.captureWarnings(True)
    sys.excepthook = lambda *error: logger.critical("The process ends", exc_info=error)
    sys.unraisablehook = lambda of: logger.error("Ignored", exc_info=of[:3])  # type: ignore[index]
    threading.excepthook = lambda of: logger.error("A thread ended", exc_info=of[:3])  # type: ignore[arg-type]


def give_up(error: Exception) -> NoReturn:
    """End a process whose settings are wrong, with one line that says so."""
    form = FORMATTERS.get(os.environ.get("LOG_FORMAT", ""), TextFormatter)
    record = logging.LogRecord(__name__, logging.CRITICAL, __file__, 0, str(error), None, None)
    sys.exit(form().format(record))
