"""Make the group of those who may view voices and syncs, and start one; whom it has is for operators."""

from django.db import migrations


def make_group(apps, schema_editor):
    group, _ = apps.get_model("auth", "Group").objects.get_or_create(name="Voices staff")
    for model, name in (("voice", "voice"), ("syncrun", "sync run")):
        # Django makes permissions after all migrations, and finds these.
        kind, _ = apps.get_model("contenttypes", "ContentType").objects.get_or_create(
            app_label="voices", model=model
        )
        permission, _ = apps.get_model("auth", "Permission").objects.get_or_create(
            content_type=kind, codename=f"view_{model}", defaults={"name": f"Can view {name}"}
        )
        group.permissions.add(permission)


class Migration(migrations.Migration):
    dependencies = [
        ("voices", "0002_schedule"),
        ("auth", "0012_alter_user_first_name_max_length"),
        ("contenttypes", "0002_remove_content_type_name"),
    ]
    operations = [migrations.RunPython(make_group, migrations.RunPython.noop)]
