import time
from typing import Any

from django.conf import settings
from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.formats import date_format
from django.utils.timezone import localtime

from agencies.admin import AgencyAdmin
from agencies.credentials import has_key
from agencies.models import Agency
from voiceproject.errors import KeyRejected, ServiceError, UltravoxError
from voices import keys


@admin.register(Agency)
class AgencyWithKeyAdmin(AgencyAdmin):
    """Tell whether agencies' keys work, as far as the history of syncs knows, and try them."""

    list_display = ("name", "stored_key", "key_state", "key_tried_at", "updated_at")
    readonly_fields = ["key_state", "key_tried_at", *AgencyAdmin.readonly_fields]
    actions = ("test_key",)

    def get_fields(self, request: HttpRequest, obj: Agency | None = None) -> Any:
        if obj is None:
            return ("name", "new_key")
        return (
            "name",
            "stored_key",
            "key_state",
            "key_tried_at",
            "new_key",
            "remove_key",
            "id",
            "created_at",
            "updated_at",
        )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Agency]:
        return keys.with_trial(super().get_queryset(request))

    @admin.display(description="key, to the last sync")
    def key_state(self, agency: Agency) -> str | None:
        if not has_key(agency):
            return None
        if agency.tried_at is None:  # type: ignore[attr-defined]
            return "Not tried yet"
        return "Refused" if agency.key_refused else "Works"  # type: ignore[attr-defined]

    @admin.display(description="last sync with it")
    def key_tried_at(self, agency: Agency) -> str | None:
        tried_at = agency.tried_at  # type: ignore[attr-defined]
        return tried_at and date_format(localtime(tried_at), "DATETIME_FORMAT")

    @admin.action(description="Test the key of the selected agencies", permissions=["change"])
    def test_key(self, request: HttpRequest, agencies: QuerySet[Agency]) -> None:
        """Try keys one by one, until Ultravox does not answer, or a request's time is over."""
        deadline = time.monotonic() + settings.ULTRAVOX_DEADLINE
        for agency in agencies:
            try:
                keys.try_key(agency, deadline=deadline)
            except ServiceError as error:
                messages.error(request, f"{agency}: {error.message}")
                if isinstance(error, UltravoxError) and not isinstance(error, KeyRejected):
                    return
            else:
                messages.success(request, f"{agency}: the key works.")
