"""The format of log lines, and the request or task and the run that they belong to."""

import json
import logging
import os
import sys
import threading
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import NoReturn

logger = logging.getLogger(__name__)

request_id: ContextVar[str | None] = ContextVar("request_id", default=None)
run: ContextVar[int | None] = ContextVar("run", default=None)


class TextFormatter(logging.Formatter):
    """Lines for people. They end with the ids, if there are any."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802  # logging's name
        values = {"request": request_id.get(), "run": run.get()}
        ids = ", ".join(f"{name} {value}" for name, value in values.items() if value is not None)
        return super().formatMessage(record) + (f" [{ids}]" if ids else "")


class JSONFormatter(logging.Formatter):
    """One JSON object per log line.

    A record's extra data is left out except `fields`: Django's is the request, whose address may be signed.
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


def log_uncaught_errors() -> None:
    """Log warnings and uncaught errors, which Python would print to standard error."""
    logging.captureWarnings(True)
    sys.excepthook = lambda *error: logger.critical("Uncaught error", exc_info=error)
    sys.unraisablehook = lambda args: logger.error("Ignored", exc_info=args[:3])  # type: ignore[index]
    threading.excepthook = lambda args: logger.error("A thread ended", exc_info=args[:3])  # type: ignore[arg-type]


def exit_with(error: Exception) -> NoReturn:
    """End the process with one line about its wrong settings, before they configure logging."""
    formatter = FORMATTERS.get(os.environ.get("LOG_FORMAT", ""), TextFormatter)
    record = logging.LogRecord(__name__, logging.CRITICAL, __file__, 0, str(error), None, None)
    sys.exit(formatter().format(record))
