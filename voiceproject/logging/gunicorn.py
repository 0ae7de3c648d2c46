"""gunicorn's log lines in the service's format, without text from requests."""

import logging
import sys

from gunicorn import glogging

from voiceproject import settings
from voiceproject.logging import formats


class Logger(glogging.Logger):
    def setup(self, cfg: object) -> None:
        super().setup(cfg)
        self.error_log.filters = [_hide_request]
        for handler in (*self.error_log.handlers, *self.access_log.handlers):
            handler.setFormatter(formats.FORMATTERS[settings.LOG_FORMAT]())


def _hide_request(record: logging.LogRecord) -> bool:
    """Keep credentials out: lines about requests may quote headers and addresses."""
    if record.threadName == "MainThread":  # gthread workers handle requests in other threads
        return True
    error = sys.exc_info()[0]
    record.msg, record.args = "Request failed: %s", (error.__name__ if error else "unknown",)
    return record.levelno >= logging.WARNING  # the rest is about closed connections
