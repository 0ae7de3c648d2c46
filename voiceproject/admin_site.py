from typing import Any

from django.contrib import admin
from django.http import HttpRequest

# What staff come for first; models that are not named come last.
ORDER = (
    "Voice", "SyncRun", "Agency", "User", "PeriodicTask", "IntervalSchedule", "CrontabSchedule",
    "ClockedSchedule", "SolarSchedule", "AccessAttempt", "AccessLog", "Group",
)  # fmt: skip


class AdminSite(admin.AdminSite):
    site_header = site_title = "Voices"
    index_title = "Administration"

    def get_app_list(self, request: HttpRequest, app_label: str | None = None) -> list[Any]:
        found = super().get_app_list(request, app_label)
        for application in found:
            application["models"].sort(key=_place)
        return sorted(found, key=lambda application: _place(application["models"][0]))


def _place(model: dict[str, Any]) -> int:
    name = model["object_name"]
    return ORDER.index(name) if name in ORDER else len(ORDER)
