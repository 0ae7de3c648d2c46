"""The web server, behind nginx: `gunicorn --config gunicorn.conf.py`. Options on the command line win."""

import logging.config
import os

from django.core.exceptions import ImproperlyConfigured

from voiceproject.logging import formats

try:
    from voiceproject import settings
except ImproperlyConfigured as error:
    formats.exit_with(error)

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
logger_class = "voiceproject.logging.gunicorn.Logger"
logging.config.dictConfig(settings.LOGGING)
formats.log_uncaught_errors()
