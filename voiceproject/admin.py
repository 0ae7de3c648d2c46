"""The admin site: its title, and the names and order of its apps and models."""

from django.apps import apps
from django.contrib import admin
from django.contrib.admin.apps import SimpleAdminConfig
from django.http import HttpRequest

APP_NAMES = {"django_celery_beat": "Schedule", "axes": "Logins", "auth": "Groups"}
# Most used first. Other models come last.
MODEL_ORDER = (
    "Voice",
    "SyncRun",
    "Agency",
    "User",
    "PeriodicTask",
    "IntervalSchedule",
    "CrontabSchedule",
    "ClockedSchedule",
    "SolarSchedule",
    "AccessAttempt",
    "Group",
)


class AdminSite(admin.AdminSite):
    site_header = site_title = "Voices"
    index_title = "Administration"

    def get_app_list(self, request: HttpRequest, app_label: str | None = None) -> list[object]:
        app_list = super().get_app_list(request, app_label)
        for app in app_list:
            app["models"].sort(key=_position)
        return sorted(app_list, key=lambda app: _position(app["models"][0]))


def _position(model: dict[str, object]) -> int:
    name = model["object_name"]
    return MODEL_ORDER.index(name) if name in MODEL_ORDER else len(MODEL_ORDER)


class AdminConfig(SimpleAdminConfig):
    default_site = "voiceproject.admin.AdminSite"

    def ready(self) -> None:
        super().ready()
        for label, name in APP_NAMES.items():
            apps.get_app_config(label).verbose_name = name
