from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("voices", "0003_voices_staff")]
    operations = [
        migrations.AddField(
            model_name="syncrun",
            name="task_id",
            field=models.TextField(null=True, help_text="Celery's, of the task that started it."),
        )
    ]
