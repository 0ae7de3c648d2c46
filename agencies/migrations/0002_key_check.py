from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("agencies", "0001_squashed_0002_email_address")]
    operations = [
        migrations.AddField(
            model_name="agency",
            name="key_works",
            field=models.BooleanField(editable=False, null=True),
        ),
        migrations.AddField(
            model_name="agency",
            name="key_checked_at",
            field=models.DateTimeField(editable=False, null=True, verbose_name="last used"),
        ),
    ]
