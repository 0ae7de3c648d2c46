from django.contrib import admin
from django_celery_beat.admin import PeriodicTaskAdmin
from django_celery_beat.models import PeriodicTask

admin.site.unregister(PeriodicTask)


@admin.register(PeriodicTask)
class TaskAdmin(PeriodicTaskAdmin):
    list_display = ("name", "enabled", "scheduler", "last_run_at")
    list_filter = ("enabled",)
