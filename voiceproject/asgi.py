"""The ASGI entry point, for servers that speak nothing else."""

import os

from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "voiceproject.settings")
application = get_asgi_application()

# The admin's "run selected tasks" sends through the current Celery application.
import voiceproject.celery  # noqa: E402, F401
