"""What a run's requests came to, and whether administrators know of failures.

With defaults in the database: the release before this one, still at work, names none of the columns.
"""

from django.db import migrations, models

HELP = {"answers_4xx": "Other than 429."}
COUNTS = (
    "retries",
    "answers_2xx",
    "answers_3xx",
    "answers_4xx",
    "answers_429",
    "answers_5xx",
    "unanswered",
)


class Migration(migrations.Migration):
    dependencies = [("voices", "0006_search_text")]
    operations = [
        migrations.CreateModel(
            name="Alarm",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        primary_key=True, auto_created=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("failures", models.PositiveIntegerField(default=0)),
                ("is_raised", models.BooleanField(default=False)),
            ],
            options={"db_table": "voice_sync_alarm"},
        ),
        *(
            migrations.AddField(
                model_name="syncrun",
                name=name,
                field=models.PositiveIntegerField(
                    default=0, db_default=0, help_text=HELP.get(name, "")
                ),
            )
            for name in COUNTS
        ),
    ]
