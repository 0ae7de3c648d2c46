import django.db.models.deletion
from django.db import migrations, models

import voices.models


class Migration(migrations.Migration):
    dependencies = [("voices", "0004_syncrun_task_id")]
    operations = [
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
        migrations.AddField(
            model_name="syncrun",
            name="voices",
            field=models.PositiveIntegerField(default=0, db_default=0, help_text="So far."),
        ),
        migrations.AddField(
            model_name="syncrun",
            name="total",
            field=models.PositiveIntegerField(null=True, help_text="As Ultravox gave it."),
        ),
        migrations.AddIndex(
            model_name="syncrun",
            index=models.Index(
                fields=["-finished_at"],
                condition=models.Q(status="succeeded"),
                name="newest_successes_first",
            ),
        ),
        migrations.AddIndex(
            model_name="syncrun",
            index=models.Index(
                fields=["agency", "-finished_at"],
                condition=models.Q(status="succeeded"),
                name="newest_success_of_agency",
            ),
        ),
        migrations.AddField(
            model_name="voice",
            name="sort_name",
            field=voices.models.FoldedField(null=True, editable=False),
        ),
        migrations.AddField(
            model_name="voice",
            name="search_text",
            field=voices.models.FoldedField(null=True, editable=False),
        ),
        migrations.AddIndex(
            model_name="voice", index=models.Index(fields=["sort_name"], name="voices_by_name")
        ),
        migrations.AddIndex(
            model_name="voice",
            index=models.Index(
                fields=["id"],
                condition=models.Q(search_text=None),
                name="voices_without_search_text",
            ),
        ),
    ]
