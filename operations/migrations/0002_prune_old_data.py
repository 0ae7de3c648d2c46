"""Rename the daily task where an operator left it unchanged, and drop the response counts."""

from django.db import migrations

OLD_NAME, NAME = "Remove what is old", "Prune old data"
OLD_DESCRIPTION = "Removes runs, failed logins, sessions and previews that nobody needs."
DESCRIPTION = (
    "Removes runs and failed logins older than SYNC_HISTORY_DAYS, expired sessions, and cached"
    " previews of deleted or changed voices."
)
COUNTS = ("answers_2xx", "answers_3xx", "answers_4xx", "answers_429", "answers_5xx", "unanswered")


def rename_task(apps, schema_editor):
    tasks = apps.get_model("django_celery_beat", "PeriodicTask").objects
    tasks.filter(name=OLD_NAME).update(name=NAME)
    tasks.filter(description=OLD_DESCRIPTION).update(description=DESCRIPTION)


class Migration(migrations.Migration):
    dependencies = [("operations", "0001_squashed_0002_daily_prune")]
    operations = [
        migrations.RunPython(rename_task, migrations.RunPython.noop),
        *(migrations.RemoveField(model_name="prunedruns", name=name) for name in COUNTS),
    ]
