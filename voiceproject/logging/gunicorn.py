"""gunicorn's log lines in the service's format, without text from requests."""

import logging
import sys
import threading
from typing import Any

from django.conf import settings
from gunicorn import glogging

from voiceproject.logging import formats


class Logger(glogging.Logger):
    def setup(self, cfg: Any) -> None:
        super().setup(cfg)
        self.error_log.filters = [_hide_request]
        for handler in (*self.error_log.handlers, *self.access_log.handlers):
            handler.setFormatter(formats.FORMATTERS[settings.LOG_FORMAT]())


def _hide_request(record: logging.LogRecord) -> bool:
    """Keep credentials out: lines about requests may quote headers and addresses.

    gunicorn's gthread workers read and process requests in threads, and do everything else in the main one.
    """
    if threading.current_thread() is threading.main_thread():
        return True
    error = sys.exc_info()[0]
    record.msg, record.args = "Request failed: %s", (error.__name__ if error else "unknown",)
    return record.levelno >= logging.WARNING  # the rest is about closed connections
