"""Give existing voices their search text, and forget it where somebody else changes what it is made of.

Without the trigger, a voice that another program renames would be found by its old name only. On SQLite a
later migration that makes this table anew drops the trigger, and has to make it again: a test tells.
"""

# ruff: noqa: S608  # statements are built only from names in this file

from django.db import migrations

from voices.folding import folded

BATCH = 500  # voices
SEARCHED = ("name", "description", "language_label", "primary_language", "provider")


def _changed(differs):
    """Return a condition: a searched column changed, and the search text did not."""
    changes = " OR ".join(f"NEW.{name} {differs} OLD.{name}" for name in SEARCHED)
    return f"({changes}) AND NOT (NEW.search_text {differs} OLD.search_text)"


CREATE = {
    "postgresql": f"""
        CREATE FUNCTION voices_forget_search_text() RETURNS trigger LANGUAGE plpgsql AS
            $$ BEGIN NEW.sort_name = NULL; NEW.search_text = NULL; RETURN NEW; END $$;
        CREATE TRIGGER voices_forget_search_text BEFORE UPDATE ON ultravox_voices FOR EACH ROW
            WHEN ({_changed("IS DISTINCT FROM")}) EXECUTE FUNCTION voices_forget_search_text();
    """,
    "sqlite": f"""
        CREATE TRIGGER voices_forget_search_text AFTER UPDATE OF {", ".join(SEARCHED)} ON ultravox_voices
            WHEN {_changed("IS NOT")}
            BEGIN UPDATE ultravox_voices SET sort_name = NULL, search_text = NULL WHERE id = NEW.id; END;
    """,
}
DROP = {
    "postgresql": "DROP TRIGGER voices_forget_search_text ON ultravox_voices;"
    " DROP FUNCTION voices_forget_search_text();",
    "sqlite": "DROP TRIGGER voices_forget_search_text;",
}


def fill(apps, schema_editor):
    model = apps.get_model("voices", "Voice")
    while voices := list(model.objects.filter(search_text=None).order_by("pk")[:BATCH]):
        for voice in voices:
            voice.sort_name, voice.search_text = folded(
                voice.pk, *(getattr(voice, name) for name in SEARCHED)
            )
        model.objects.bulk_update(voices, ["sort_name", "search_text"])


def create_trigger(apps, schema_editor):
    schema_editor.execute(CREATE[schema_editor.connection.vendor], params=None)


def drop_trigger(apps, schema_editor):
    schema_editor.execute(DROP[schema_editor.connection.vendor], params=None)


class Migration(migrations.Migration):
    dependencies = [("voices", "0005_reading")]
    operations = [
        migrations.RunPython(create_trigger, drop_trigger),
        migrations.RunPython(fill, migrations.RunPython.noop),
    ]
