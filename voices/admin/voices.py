import json
from collections.abc import Callable, Iterator
from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.forms.widgets import Script
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import URLPattern, path
from django.utils.html import format_html
from django.utils.safestring import SafeString

from voiceproject.errors import ServiceError
from voices import search, visibility
from voices.admin.read_only import ReadOnlyAdmin
from voices.api.links import preview_links
from voices.api.serializers import MAX_SEARCH
from voices.labels import label
from voices.masking import mask
from voices.models import SyncRun, Voice
from voices.sync import sync_voices

LABELS = ("language", "provider_label", "visibility", "billing", "available")


class LabelFilter(admin.AllValuesFieldListFilter):
    """Filter by a column's values, shown by their labels."""

    def choices(self, changelist: Any) -> Iterator[Any]:
        choices = super().choices(changelist)
        yield next(choices)  # "All"
        for choice in choices:
            text, count = str(choice["display"]), ""
            if changelist.add_facets:
                text, _, count = text.rpartition(" ")
            value = None if text == self.empty_value_display else text
            yield choice | {"display": f"{label(str(self.field_path), value)} {count}".strip()}


@admin.register(Voice)
class VoiceAdmin(ReadOnlyAdmin):
    list_display_links = ("display_name",)
    list_filter = [
        (name, LabelFilter)
        for name in ("provider", "primary_language", "ownership", "billing_style")
    ]
    search_fields = ("search_text",)  # shows the search box; get_search_results does the search
    search_help_text = "Search by name, description, language, provider or ID"
    list_per_page = 100
    show_full_result_count = False
    change_list_template = "voices/admin_voices.html"

    class Media:
        js = [Script("voices/voice-picker.js", type="module")]

    def get_list_display(self, request: HttpRequest) -> Any:
        return (preview_column(request), "display_name", *LABELS)

    def get_fields(self, request: HttpRequest, obj: Voice | None = None) -> Any:
        return (
            preview_column(request),
            "id",
            "name",
            "description",
            "primary_language",
            *LABELS,
            "preview_url",
            "masked_definition",
            "last_synced_at",
        )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Voice]:
        voices = super().get_queryset(request) & visibility.visible_to(request.user)  # type: ignore[arg-type]
        return voices.annotate(is_listed=visibility.listed(request.user))  # type: ignore[arg-type]

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Voice], search_term: str
    ) -> tuple[QuerySet[Voice], bool]:
        if len(search_term) > MAX_SEARCH:
            return queryset.none(), False
        return search.search(queryset, search_term), False

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest) -> bool:
        """Reject URL filters on the definition, which could be used to guess its secrets."""
        is_secret = lookup.startswith("definition")
        return not is_secret and super().lookup_allowed(lookup, value, request)

    @admin.display(description="name", ordering="name")
    def display_name(self, voice: Voice) -> str:
        return str(voice)

    @admin.display(ordering="primary_language")
    def language(self, voice: Voice) -> str:
        return voice.language_label or label("primary_language", voice.primary_language)

    @admin.display(description="provider", ordering="provider")
    def provider_label(self, voice: Voice) -> str:
        return label("provider", voice.provider)

    @admin.display(ordering="ownership")
    def visibility(self, voice: Voice) -> str:
        return label("ownership", voice.ownership)

    @admin.display(ordering="billing_style")
    def billing(self, voice: Voice) -> str:
        return label("billing_style", voice.billing_style)

    @admin.display(boolean=True, ordering="is_listed")
    def available(self, voice: Voice) -> bool:
        return bool(voice.is_listed)  # type: ignore[attr-defined]

    @admin.display(description="definition")
    def masked_definition(self, voice: Voice) -> SafeString:
        text = json.dumps(mask(voice.definition), indent=2, ensure_ascii=False)
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
            messages.success(request, run.message)
            if run.skipped:
                skipped = f"{run.skipped} voices were skipped because Ultravox sent invalid data."
                messages.warning(request, skipped)
        return redirect("admin:voices_voice_changelist")


def preview_column(request: HttpRequest) -> Callable[[Voice], SafeString | None]:
    """Return a column with the picker's play button, for voices that have a preview."""
    link = preview_links(request)  # type: ignore[arg-type]

    @admin.display(description="preview")
    def play(voice: Voice) -> SafeString | None:
        if (url := link(voice.pk, voice.preview_url)) is None:
            return None
        return format_html('<voice-play name="{}" src="{}"></voice-play>', voice, url)

    return play
