"""Schedule `prune`, once: what an operator changes about it, or deletes, stays that way."""

from django.db import migrations


def schedule_prune(apps, schema_editor):
    interval_model = apps.get_model("django_celery_beat", "IntervalSchedule")
    task_model = apps.get_model("django_celery_beat", "PeriodicTask")
    interval, _ = interval_model.objects.get_or_create(every=1, period="days")
    task_model.objects.get_or_create(
        name="Remove what is old",
        defaults={
            "task": "operations.prune",
            "interval": interval,
            "expire_seconds": 24 * 3600,
            "description": "Removes runs, failed logins, sessions and previews that nobody needs.",
        },
    )


class Migration(migrations.Migration):
    dependencies = [
        ("operations", "0001_initial"),
        ("django_celery_beat", "0019_alter_periodictasks_options"),
    ]
    operations = [migrations.RunPython(schedule_prune, migrations.RunPython.noop)]
