"""The web server: `gunicorn --config gunicorn.conf.py`. Options on the command line win."""

import os

from voiceproject import settings

wsgi_app = "voiceproject.wsgi"
bind = f"127.0.0.1:{os.environ.get('PORT', '8000')}"
workers = int(os.environ.get("WEB_CONCURRENCY", "2"))
# A request that syncs, or waits for a sync under way, holds a thread until its deadline.
worker_class = "voiceproject.server.Worker"
threads = 32
timeout = 60
# A token may be longer than gunicorn's 8,190 bytes; the worker limits all headers together.
limit_request_field_size = 64 * 1024
# Django reads X-Forwarded-Proto, where DJANGO_TRUSTED_PROXIES says so; nobody sets SCRIPT_NAME.
forwarded_allow_ips = ""
# On SIGTERM, syncs under way end before the workers do.
graceful_timeout = int(settings.ULTRAVOX_DEADLINE) + 30
control_socket_disable = True
