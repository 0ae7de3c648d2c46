from django.apps import apps
from django.contrib.admin.apps import SimpleAdminConfig

NAMES = {"django_celery_beat": "Schedule", "axes": "Logins", "auth": "Groups"}


class AdminConfig(SimpleAdminConfig):
    """The admin with a site of our own, and applications called by what is in them."""

    default_site = "voiceproject.admin_site.AdminSite"

    def ready(self) -> None:
        super().ready()
        for label, name in NAMES.items():
            apps.get_app_config(label).verbose_name = name
