import json
from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import URLPattern, path
from django.utils.html import format_html
from django.utils.safestring import SafeString

from voiceproject.errors import ServiceError
from voices import runs
from voices.masking import masked
from voices.models import SyncRun, Voice
from voices.sync import sync_voices


class _ReadOnlyAdmin(admin.ModelAdmin):
    """Let nobody change rows: only syncs do."""

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    has_add_permission = has_delete_permission = has_change_permission


@admin.register(Voice)
class VoiceAdmin(_ReadOnlyAdmin):
    list_display = (
        "name", "language_label", "primary_language", "provider", "ownership", "billing_style",
        "last_synced_at",
    )  # fmt: skip
    list_filter = ("provider", "primary_language", "ownership", "billing_style")
    search_fields = ("name", "description", "id", "language_label", "primary_language")
    list_per_page = 100
    show_full_result_count = False
    fields = (
        "id", "name", "description", "language_label", "primary_language", "provider",
        "ownership", "billing_style", "preview_url", "definition_without_secrets",
        "last_synced_at",
    )  # fmt: skip
    change_list_template = "voices/admin_voices.html"

    class Media:
        css = {"all": ["voices/admin.css"]}

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest) -> bool:
        """Refuse URL filters that would let somebody guess a definition's secrets."""
        is_secret = lookup.startswith("definition")
        return not is_secret and super().lookup_allowed(lookup, value, request)

    @admin.display(description="definition")
    def definition_without_secrets(self, voice: Voice) -> SafeString:
        text = json.dumps(masked(voice.definition), indent=2, ensure_ascii=False)
        return format_html('<pre class="definition">{}</pre>', text)

    def get_urls(self) -> list[URLPattern]:
        sync = path("sync/", self.admin_site.admin_view(self.sync_now), name="voices_voice_sync")
        return [sync, *super().get_urls()]

    def sync_now(self, request: HttpRequest) -> HttpResponse:
        """Sync with any agency's key, and report the outcome above the list."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        if request.method != "POST":
            return redirect("admin:voices_voice_changelist")
        try:
            run = sync_voices(trigger=SyncRun.Trigger.ADMIN, user=request.user)  # type: ignore[arg-type]
        except ServiceError as error:
            messages.error(request, error.message)
        else:
            skipped = f" ({run.skipped} records cannot be stored)" if run.skipped else ""
            messages.success(request, run.message + skipped)
        return redirect("admin:voices_voice_changelist")


@admin.register(SyncRun)
class SyncRunAdmin(_ReadOnlyAdmin):
    list_display = (
        "started_at", "trigger", "agency", "user", "state", "seconds", "pages", "synced",
        "skipped", "error_message",
    )  # fmt: skip
    list_filter = ("status", "trigger", "agency")
    list_select_related = ("agency", "user")
    date_hierarchy = "started_at"
    fields = (
        "trigger", "agency", "user", "state", "started_at", "finished_at", "seconds", "pages",
        "synced", "skipped", "error_code", "error_message",
    )  # fmt: skip

    def get_queryset(self, request: HttpRequest) -> QuerySet[SyncRun]:
        return super().get_queryset(request).annotate(dead=runs.is_dead())

    @admin.display(description="status")
    def state(self, run: SyncRun) -> str:
        status = SyncRun.Status.ABANDONED if run.dead else run.status  # type: ignore[attr-defined]
        return SyncRun.Status(status).label

    @admin.display(description="seconds")
    def seconds(self, run: SyncRun) -> str | None:
        took = run.finished_at and run.finished_at - run.started_at
        return f"{took.total_seconds():.1f}" if took else None
