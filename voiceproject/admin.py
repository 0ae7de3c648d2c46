"""The admin site: its title, and the names and order of its apps."""

from typing import Any

from django.apps import apps
from django.contrib import admin
from django.contrib.admin.apps import SimpleAdminConfig
from django.http import HttpRequest

APP_ORDER = ("voices", "agencies", "django_celery_beat", "axes", "auth")
APP_NAMES = {"django_celery_beat": "Schedule", "axes": "Logins", "auth": "Groups"}


class AdminSite(admin.AdminSite):
    site_header = site_title = "Voices"
    index_title = "Administration"

    def get_app_list(self, request: HttpRequest, app_label: str | None = None) -> list[Any]:
        app_list = super().get_app_list(request, app_label)
        return sorted(app_list, key=lambda app: APP_ORDER.index(app["app_label"]))


class AdminConfig(SimpleAdminConfig):
    default_site = "voiceproject.admin.AdminSite"

    def ready(self) -> None:
        super().ready()
        for label, name in APP_NAMES.items():
            apps.get_app_config(label).verbose_name = name
