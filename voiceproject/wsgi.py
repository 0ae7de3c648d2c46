"""The WSGI entry point: `gunicorn voiceproject.wsgi`."""

import os

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "voiceproject.settings")
application = get_wsgi_application()

# The admin's "run selected tasks" sends through the current Celery application.
import voiceproject.celery  # noqa: E402, F401
