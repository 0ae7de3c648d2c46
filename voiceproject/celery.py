"""The Celery application: `celery -A voiceproject worker -B`."""

import os
from pathlib import Path

from celery import Celery
from django.conf import settings

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "voiceproject.settings")

app = Celery("voiceproject")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()

# The embedded broker does not make its folders.
for name in ("data_folder_in", "control_folder"):
    if folder := settings.CELERY_BROKER_TRANSPORT_OPTIONS.get(name):
        Path(folder).mkdir(parents=True, exist_ok=True)
