"""Voices, the history of syncs, the schedule and the group of staff who view them."""

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

HOURS = 6  # between scheduled syncs
ANSWERS = ("2xx", "3xx", "4xx", "429", "5xx")


def schedule_sync(apps, schema_editor):
    """Schedule the sync once, so that an operator's changes to it stay."""
    interval_model = apps.get_model("django_celery_beat", "IntervalSchedule")
    task_model = apps.get_model("django_celery_beat", "PeriodicTask")
    interval, _ = interval_model.objects.get_or_create(every=HOURS, period="hours")
    task_model.objects.get_or_create(
        name="Sync voices from Ultravox",
        defaults={
            "task": "voices.sync_voices",
            "interval": interval,
            # Syncs that no worker ran in that time do not pile up: the next one is due by then.
            "expire_seconds": HOURS * 3600,
            "description": "Mirrors Ultravox's voices into the table that all agencies share.",
        },
    )


def create_group(apps, schema_editor):
    """Create the group of staff who view voices and syncs; operators choose its members."""
    group, _ = apps.get_model("auth", "Group").objects.get_or_create(name="Voices staff")
    for model, name in (("voice", "voice"), ("syncrun", "sync run")):
        # Django creates permissions after all migrations, and finds these.
        kind, _ = apps.get_model("contenttypes", "ContentType").objects.get_or_create(
            app_label="voices", model=model
        )
        permission, _ = apps.get_model("auth", "Permission").objects.get_or_create(
            content_type=kind, codename=f"view_{model}", defaults={"name": f"Can view {name}"}
        )
        group.permissions.add(permission)


class Migration(migrations.Migration):
    replaces = [
        ("voices", "0001_initial"),
        ("voices", "0002_schedule"),
        ("voices", "0003_voices_staff"),
        ("voices", "0004_syncrun_task_id"),
        ("voices", "0005_reading"),
        ("voices", "0006_search_text"),
        ("voices", "0007_operation"),
    ]
    dependencies = [
        ("agencies", "0001_squashed_0002_email_address"),
        ("auth", "0012_alter_user_first_name_max_length"),
        ("contenttypes", "0002_remove_content_type_name"),
        ("django_celery_beat", "0019_alter_periodictasks_options"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]
    operations = [
        migrations.CreateModel(
            name="Voice",
            fields=[
                ("id", models.TextField(primary_key=True, serialize=False)),
                ("name", models.TextField()),
                ("description", models.TextField(blank=True, null=True)),
                (
                    "language_label",
                    models.TextField(blank=True, null=True, verbose_name="language"),
                ),
                (
                    "primary_language",
                    models.TextField(blank=True, null=True, verbose_name="language code"),
                ),
                ("ownership", models.TextField(blank=True, null=True)),
                ("billing_style", models.TextField(blank=True, null=True, verbose_name="billing")),
                ("provider", models.TextField(blank=True, null=True)),
                (
                    "preview_url",
                    models.TextField(blank=True, null=True, verbose_name="preview URL"),
                ),
                ("definition", models.JSONField(blank=True, null=True)),
                ("last_synced_at", models.DateTimeField()),
                ("sort_name", models.TextField(editable=False, null=True)),
                ("search_text", models.TextField(editable=False, null=True)),
            ],
            options={
                "db_table": "ultravox_voices",
                "ordering": ("name", "id"),
                "indexes": [
                    models.Index(fields=["sort_name"], name="voices_by_name"),
                    models.Index(
                        fields=["id"],
                        condition=models.Q(search_text=None),
                        name="voices_without_search_text",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="SyncRun",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "trigger",
                    models.TextField(
                        choices=[
                            ("user", "User"),
                            ("service", "Service"),
                            ("command", "Command"),
                            ("schedule", "Schedule"),
                            ("admin", "Admin"),
                        ]
                    ),
                ),
                (
                    "status",
                    models.TextField(
                        choices=[
                            ("running", "Running"),
                            ("succeeded", "Succeeded"),
                            ("failed", "Failed"),
                            ("abandoned", "Abandoned"),
                        ],
                        default="running",
                    ),
                ),
                ("started_at", models.DateTimeField()),
                ("heartbeat_at", models.DateTimeField(help_text="When its process last reported.")),
                ("finished_at", models.DateTimeField(null=True)),
                ("pages", models.PositiveIntegerField(default=0)),
                (
                    "voices",
                    models.PositiveIntegerField(
                        default=0, db_default=0, help_text="Distinct voices received."
                    ),
                ),
                (
                    "total",
                    models.PositiveIntegerField(
                        null=True, help_text="The number of voices that Ultravox reported."
                    ),
                ),
                ("synced", models.PositiveIntegerField(default=0)),
                ("skipped", models.PositiveIntegerField(default=0)),
                ("error_code", models.TextField(blank=True, default="")),
                ("error_message", models.TextField(blank=True, default="")),
                ("retries", models.PositiveIntegerField(default=0, db_default=0)),
                *(
                    (f"answers_{status}", models.PositiveIntegerField(default=0, db_default=0))
                    for status in ANSWERS
                ),
                ("unanswered", models.PositiveIntegerField(default=0, db_default=0)),
                (
                    "task_id",
                    models.TextField(
                        null=True, help_text="The id of the Celery task that started it."
                    ),
                ),
                (
                    "key_refused",
                    models.BooleanField(
                        default=False,
                        help_text="It failed because of this agency's key; another key may work.",
                    ),
                ),
                (
                    "agency",
                    models.ForeignKey(
                        help_text="The agency whose Ultravox key was used.",
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        to="agencies.agency",
                    ),
                ),
                (
                    "user",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={
                "db_table": "voice_sync_runs",
                "ordering": ("-started_at", "-id"),
                "indexes": [
                    models.Index(fields=["-started_at", "-id"], name="newest_runs_first"),
                    models.Index(
                        fields=["-finished_at"],
                        condition=models.Q(status="succeeded"),
                        name="newest_successes_first",
                    ),
                    models.Index(
                        fields=["agency", "-finished_at"],
                        condition=models.Q(status="succeeded"),
                        name="newest_success_of_agency",
                    ),
                ],
                "constraints": [
                    models.UniqueConstraint(
                        condition=models.Q(status="running"),
                        fields=("agency",),
                        name="one_open_run_per_agency",
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="AgencyVoice",
            fields=[
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "agency_id",
                        "voice_id",
                        blank=True,
                        editable=False,
                        primary_key=True,
                        serialize=False,
                    ),
                ),
                (
                    "agency",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        to="agencies.agency",
                    ),
                ),
                (
                    "voice",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        to="voices.voice",
                    ),
                ),
                ("last_seen_at", models.DateTimeField()),
            ],
            options={
                "db_table": "agency_voices",
                "indexes": [models.Index(fields=["voice"], name="agencies_of_a_voice")],
            },
        ),
        migrations.CreateModel(
            name="Alarm",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("failures", models.PositiveIntegerField(default=0)),
                ("is_raised", models.BooleanField(default=False)),
            ],
            options={"db_table": "voice_sync_alarm"},
        ),
        migrations.RunPython(schedule_sync, migrations.RunPython.noop),
        migrations.RunPython(create_group, migrations.RunPython.noop),
    ]
