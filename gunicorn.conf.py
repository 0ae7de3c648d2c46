"""The web server, behind nginx: `gunicorn --config gunicorn.conf.py`. Command-line options win."""

import logging.config
import os

from django.core.exceptions import ImproperlyConfigured

from voiceproject.logging import formats

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "voiceproject.settings")
try:
    from voiceproject import settings
except ImproperlyConfigured as error:
    formats.exit_with(error)

wsgi_app = "voiceproject.wsgi"
bind = f"127.0.0.1:{os.environ.get('PORT', '8000')}"
workers = int(os.environ.get("WEB_CONCURRENCY", "2"))
worker_class = "gthread"
threads = settings.WEB_THREADS
timeout = 60
# Longer than nginx keeps a connection, so that nginx never uses one that gunicorn is closing.
keepalive = 75
graceful_timeout = settings.STOP_SECONDS
# Above nginx's limits: nginx reports errors in JSON, gunicorn in HTML.
limit_request_line = 0
limit_request_fields = 32768
limit_request_field_size = 66 * 1024
forwarded_allow_ips = ""  # Django reads X-Forwarded-Proto, depending on DJANGO_TRUSTED_PROXIES
control_socket_disable = True
# Without queries, which may contain signatures. Off unless --access-logfile is given.
access_log_format = '%(h)s %(t)s "%(m)s %(U)s %(H)s" %(s)s %(b)s'
logger_class = "voiceproject.logging.gunicorn.Logger"
logging.config.dictConfig(settings.LOGGING)
formats.log_uncaught_errors()
