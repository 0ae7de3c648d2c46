"""Schedule the sync, once: what an operator changes about it, or deletes, stays that way."""

from django.db import migrations

EVERY = 6  # hours


def schedule_sync(apps, schema_editor):
    interval_model = apps.get_model("django_celery_beat", "IntervalSchedule")
    task_model = apps.get_model("django_celery_beat", "PeriodicTask")
    interval, _ = interval_model.objects.get_or_create(every=EVERY, period="hours")
    task_model.objects.get_or_create(
        name="Sync voices from Ultravox",
        defaults={
            "task": "voices.sync_voices",
            "interval": interval,
            # Syncs that no worker ran in that time do not pile up: the next one is due by then.
            "expire_seconds": EVERY * 3600,
            "description": "Mirrors Ultravox's voices into the table that all agencies share.",
        },
    )


class Migration(migrations.Migration):
    dependencies = [
        ("voices", "0001_initial"),
        ("django_celery_beat", "0019_alter_periodictasks_options"),
    ]
    operations = [migrations.RunPython(schedule_sync, migrations.RunPython.noop)]
