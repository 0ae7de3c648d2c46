"""The admin site: its title, and the names of its apps."""

from django.apps import apps
from django.contrib import admin
from django.contrib.admin.apps import SimpleAdminConfig

APP_NAMES = {"django_celery_beat": "Schedule", "axes": "Logins", "auth": "Groups"}


class AdminSite(admin.AdminSite):
    site_header = site_title = "Voices"
    index_title = "Administration"


class AdminConfig(SimpleAdminConfig):
    default_site = "voiceproject.admin.AdminSite"

    def ready(self) -> None:
        super().ready()
        for label, name in APP_NAMES.items():
            apps.get_app_config(label).verbose_name = name
