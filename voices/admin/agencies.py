from datetime import datetime

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest

from agencies.admin import AgencyAdmin
from agencies.credentials import has_key
from agencies.models import Agency
from voiceproject.errors import ServiceError
from voices import keys
from voices.ultravox import KeyRejected, UltravoxError


@admin.register(Agency)
class AgencyWithKeyAdmin(AgencyAdmin):
    """Tell whether agencies' keys work, as far as the history of syncs knows, and try them."""

    list_display = ("name", "stored_key", "key_state", "key_tried_at", "updated_at")
    readonly_fields = ["key_state", "key_tried_at", *AgencyAdmin.readonly_fields]
    fields = (
        "name", "stored_key", "key_state", "key_tried_at", "new_key", "remove_key", "id",
        "created_at", "updated_at",
    )  # fmt: skip
    actions = ("test_key",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Agency]:
        return keys.with_trial(super().get_queryset(request))

    @admin.display(description="state of the key")
    def key_state(self, agency: Agency) -> str | None:
        if not has_key(agency):
            return None
        if self.key_tried_at(agency) is None:
            return "Not tried yet"
        return "Refused" if agency.key_refused else "Works"  # type: ignore[attr-defined]

    @admin.display(description="last tried")
    def key_tried_at(self, agency: Agency) -> datetime | None:
        """Return when a sync tried this key; one before the agency was changed may have tried another."""
        tried_at: datetime | None = getattr(agency, "tried_at", None)
        return tried_at if tried_at and tried_at > agency.updated_at else None

    @admin.action(description="Test the key of the selected agencies", permissions=["change"])
    def test_key(self, request: HttpRequest, agencies: QuerySet[Agency]) -> None:
        """Try keys one by one, until Ultravox does not answer: each waits for it as long as a request may."""
        for agency in agencies:
            try:
                keys.try_key(agency)
            except ServiceError as error:
                messages.error(request, f"{agency}: {error.message}")
                if isinstance(error, UltravoxError) and not isinstance(error, KeyRejected):
                    return
            else:
                messages.success(request, f"{agency}: the key works.")
