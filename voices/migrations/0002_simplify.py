"""Drop the trigger and the indexes of the search text, and the counters of Ultravox's responses by status."""

from django.db import migrations

COUNTERS = (
    "answers_2xx",
    "answers_3xx",
    "answers_4xx",
    "answers_429",
    "answers_5xx",
    "unanswered",
)
DROP_TRIGGER = {
    "postgresql": "DROP TRIGGER IF EXISTS voices_forget_search_text ON ultravox_voices;"
    " DROP FUNCTION IF EXISTS voices_forget_search_text();",
    "sqlite": "DROP TRIGGER IF EXISTS voices_forget_search_text;",
}


def drop_trigger(apps, schema_editor):
    schema_editor.execute(DROP_TRIGGER[schema_editor.connection.vendor], params=None)


def clear_search_columns(apps, schema_editor):
    """Forget search texts in the former format; the next sync writes them."""
    apps.get_model("voices", "Voice").objects.update(sort_name=None, search_text=None)


class Migration(migrations.Migration):
    dependencies = [("voices", "0001_squashed_0007_operation")]
    operations = [
        migrations.RunPython(drop_trigger, migrations.RunPython.noop),
        migrations.RunPython(clear_search_columns, migrations.RunPython.noop),
        migrations.RemoveIndex("voice", "voices_by_name"),
        migrations.RemoveIndex("voice", "voices_without_search_text"),
        *(migrations.RemoveField("syncrun", name) for name in COUNTERS),
    ]
