"""Create the tables, and schedule the daily prune once, so that an operator can change or delete it."""

from datetime import timedelta

from django.db import migrations, models

TRIGGERS = [
    ("user", "User"),
    ("service", "Service"),
    ("command", "Command"),
    ("schedule", "Schedule"),
    ("admin", "Admin"),
]
STATUSES = [
    ("running", "Running"),
    ("succeeded", "Succeeded"),
    ("failed", "Failed"),
    ("abandoned", "Abandoned"),
]


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
    initial = True
    replaces = [("operations", "0001_initial"), ("operations", "0002_daily_prune")]
    dependencies = [("django_celery_beat", "0019_alter_periodictasks_options")]
    operations = [
        migrations.CreateModel(
            name="Worker",
            fields=[
                ("name", models.TextField(primary_key=True, serialize=False)),
                ("seen_at", models.DateTimeField()),
            ],
            options={"db_table": "voice_sync_workers"},
        ),
        migrations.CreateModel(
            name="PrunedRuns",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        primary_key=True, auto_created=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("trigger", models.TextField(choices=TRIGGERS)),
                ("status", models.TextField(choices=STATUSES)),
                ("runs", models.PositiveBigIntegerField(default=0)),
                ("duration", models.DurationField(default=timedelta)),
                ("retries", models.PositiveBigIntegerField(default=0)),
                ("answers_2xx", models.PositiveBigIntegerField(default=0)),
                ("answers_3xx", models.PositiveBigIntegerField(default=0)),
                ("answers_4xx", models.PositiveBigIntegerField(default=0)),
                ("answers_429", models.PositiveBigIntegerField(default=0)),
                ("answers_5xx", models.PositiveBigIntegerField(default=0)),
                ("unanswered", models.PositiveBigIntegerField(default=0)),
            ],
            options={
                "db_table": "voice_sync_runs_pruned",
                "constraints": [
                    models.UniqueConstraint(
                        fields=("trigger", "status"), name="one_sum_per_outcome"
                    )
                ],
            },
        ),
        migrations.RunPython(schedule_prune, migrations.RunPython.noop),
    ]
