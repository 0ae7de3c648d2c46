"""Write e-mail addresses in their normal form."""

from django.db import migrations

import agencies.fields


def write_normal_form(apps, schema_editor):
    users = apps.get_model("agencies", "User").objects
    for user in users.order_by("date_joined"):
        normal = agencies.fields.normal_email(user.email)
        if normal == user.email:
            continue
        if users.filter(email=normal).exists():
            words = "cannot log in: another user has that e-mail address. Change it in the admin."
            print(f"\nUser {user.pk} {words}")  # noqa: T201
        else:
            users.filter(pk=user.pk).update(email=normal)


class Migration(migrations.Migration):
    dependencies = [("agencies", "0001_initial")]
    operations = [
        migrations.RunPython(write_normal_form, migrations.RunPython.noop),
        migrations.RemoveConstraint(model_name="user", name="unique_email_in_any_case"),
        migrations.AlterField(
            model_name="user",
            name="email",
            field=agencies.fields.EmailAddressField(
                error_messages={"unique": "There is a user with this e-mail address."},
                max_length=254,
                unique=True,
                verbose_name="e-mail address",
            ),
        ),
    ]
