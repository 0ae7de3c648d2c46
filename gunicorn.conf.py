"""The web server, behind nginx: `gunicorn --config gunicorn.conf.py`. Options on the command line win."""

import logging
import logging.config
import os
import re
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from gunicorn import glogging

from voiceproject.logging import formats

try:
    from voiceproject import settings
except ImproperlyConfigured as error:
    formats.give_up(error)

wsgi_app = "voiceproject.wsgi"
bind = f"127.0.0.1:{os.environ.get('PORT', '8000')}"
workers = int(os.environ.get("WEB_CONCURRENCY", "2"))
# A request that waits for Ultravox, or for another that does, holds a thread until its deadline:
# voices/sync.py lets 24 do so, voices/previews.py 20, and the others are left for everything else.
worker_class = "gthread"
threads = 48
timeout = 60
keepalive = 75  # longer than nginx keeps a connection: it never sends on one that is being closed
# On SIGTERM, syncs under way end before the workers do.
graceful_timeout = int(settings.ULTRAVOX_DEADLINE) + 30
# nginx limits all headers together, and refuses in JSON. What it lets pass is not refused here, in HTML.
limit_request_line = 0
limit_request_fields = 32768
limit_request_field_size = 66 * 1024
# Django reads X-Forwarded-Proto, where DJANGO_TRUSTED_PROXIES says so; nobody sets SCRIPT_NAME.
forwarded_allow_ips = ""
control_socket_disable = True
# Where there is an access log, it is without queries, which may be signatures.
access_log_format = '%(h)s %(t)s "%(m)s %(U)s %(H)s" %(s)s %(b)s'
logging.config.dictConfig(settings.LOGGING)
formats.take_over()


QUOTING = re.compile(
    r"Invalid request from ip=\S*(?=: )|Error handling request|Ignored premature client disconnection"
)


def leave_out_quotes(record: logging.LogRecord) -> bool:
    """Keep headers and queries, which may be credentials, out of the error log."""
    if quoting := QUOTING.match(str(record.msg)):
        record.msg, record.args = quoting[0], ()
    return True


logging.getLogger("gunicorn.error").filters = [leave_out_quotes]


class logger_class(glogging.Logger):  # noqa: N801  # the setting's name
    """Write lines in the form of all others."""

    def setup(self, cfg: Any) -> None:
        super().setup(cfg)
        for handler in (*self.error_log.handlers, *self.access_log.handlers):
            handler.setFormatter(formats.FORMATTERS[settings.LOG_FORMAT]())
