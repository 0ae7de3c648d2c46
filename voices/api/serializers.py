"""Serializers that validate parameters and describe responses in the OpenAPI description."""

import re
from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from voices import runs
from voices.models import SyncRun, Voice
from voices.records import TEXT_FIELDS
from voices.search import LANGUAGE, NONE, ORDERINGS
from voices.visibility import starter_of, visible_to

MAX_SEARCH = 1000  # characters
MAX_PAGE_SIZE = 200
# Source: RFC 5646, section 2.1: subtags have up to eight letters and digits.
LANGUAGE_TAG = re.compile(r"[A-Za-z]{1,8}(-[A-Za-z0-9]{1,8})*\Z")
NUMBER = re.compile(r"-?[0-9]{1,18}\Z")
VOICE = ("id", *TEXT_FIELDS, "last_synced_at", "listed")


class StatsSerializer(serializers.Serializer):
    synced = serializers.IntegerField(help_text="Distinct voices stored.")
    skipped = serializers.IntegerField(
        required=False, help_text="Records that could not be stored; absent if there are none."
    )


class SyncedSerializer(serializers.Serializer):
    success = serializers.BooleanField(help_text="Always true.")
    message = serializers.CharField()
    stats = StatsSerializer()


class PageQuery(serializers.Serializer):
    """A query string. Unknown parameters are errors, and so are repeated or empty ones."""

    page = serializers.IntegerField(default=1, min_value=1, help_text="From 1.")
    page_size = serializers.IntegerField(default=50, min_value=1, max_value=MAX_PAGE_SIZE)

    def to_internal_value(self, data: Any) -> Any:
        wrong = {}
        for name, values in data.lists():
            field = self.fields.get(name)
            if field is None:
                wrong[name] = ["There is no such parameter."]
            elif not isinstance(field, serializers.ListField) and len(values) > 1:
                wrong[name] = ["It may not be repeated."]
            elif isinstance(field, serializers.IntegerField) and not NUMBER.match(values[0]):
                wrong[name] = ["It is not a whole number."]
            elif isinstance(field, serializers.ChoiceField) and not values[0]:
                wrong[name] = ["It is empty."]
        if wrong:
            raise serializers.ValidationError(wrong)
        return super().to_internal_value(data)

    def validate(self, attrs: dict[str, Any]) -> dict[str, object]:
        """Add `rows`, the slice of rows on the page."""
        start = (attrs["page"] - 1) * attrs["page_size"]
        return attrs | {"rows": slice(start, start + attrs["page_size"])}


class Values(serializers.ListField):
    """A parameter that may be repeated: a voice matches if any value does."""

    child = serializers.CharField(allow_blank=True, trim_whitespace=False)


class VoicesQuery(PageQuery):
    search = serializers.CharField(
        default="",
        allow_blank=True,
        max_length=MAX_SEARCH,
        help_text="Words. Each must begin a word in the voice's name, description, language"
        " label, language code or provider, or be the voice's id. Case and Latin accents do not matter.",
    )
    id = Values(default=list, help_text="The exact id.")
    language = Values(
        source=LANGUAGE,
        required=False,
        help_text="A BCP 47 tag: `en` finds `en` and `en-US`; `-` finds voices without a language.",
    )
    provider = Values(required=False, help_text="The exact value; `-` finds voices without one.")
    ownership = Values(required=False, help_text="The exact value; `-` finds voices without one.")
    billing_style = Values(
        required=False, help_text="The exact value; `-` finds voices without one."
    )
    listed = serializers.ChoiceField(
        ["true", "false"], required=False, help_text="Whether Ultravox still lists the voice."
    )
    ordering = serializers.ChoiceField(
        [sign + name for name in ORDERINGS for sign in ("", "-")],
        default="name",
        help_text="A leading `-` reverses the order. Nulls are last.",
    )

    def validate_language(self, languages: list[str]) -> list[str]:
        """Accept language tags and any other language code in the table."""
        odd = {tag.lower() for tag in languages if tag != NONE and not LANGUAGE_TAG.match(tag)}
        if odd:
            visible = visible_to(self.context["caller"]).exclude(primary_language=None)
            known = visible.values_list("primary_language", flat=True).distinct()
            if odd - {str(language).lower() for language in known}:
                raise serializers.ValidationError("It is not a language tag like en or en-US.")
        return languages

    def validate_listed(self, listed: str) -> list[bool]:
        return [listed == "true"]


class VoiceSerializer(serializers.ModelSerializer):
    listed = serializers.BooleanField(help_text="Whether Ultravox still lists it.")
    preview_url = serializers.URLField(
        allow_null=True,
        help_text="An `<audio>` element can play it for at least an hour. Null if there is no preview.",
    )

    class Meta:
        model = Voice
        fields = VOICE
        extra_kwargs = {name: {"required": True} for name in VOICE}


class VoiceWithDefinitionSerializer(VoiceSerializer):
    definition = serializers.JSONField(
        allow_null=True, help_text="Every value that may be an agency's secret is masked."
    )

    class Meta(VoiceSerializer.Meta):
        fields = (*VOICE, "definition")


class FacetSerializer(serializers.Serializer):
    value = serializers.CharField(allow_null=True, help_text="Null for voices without one.")
    label = serializers.CharField(help_text="Human-readable value.")  # type: ignore[assignment]
    count = serializers.IntegerField()


class ListedFacetSerializer(FacetSerializer):
    value = serializers.BooleanField()  # type: ignore[assignment]


class FacetsSerializer(serializers.Serializer):
    primary_language = FacetSerializer(many=True)
    provider = FacetSerializer(many=True)
    ownership = FacetSerializer(many=True)
    billing_style = FacetSerializer(many=True)
    listed = ListedFacetSerializer(many=True)


class LastSyncSerializer(serializers.Serializer):
    finished_at = serializers.DateTimeField()
    synced = serializers.IntegerField()


class PageSerializer(serializers.Serializer):
    count = serializers.IntegerField()
    next = serializers.URLField(allow_null=True)
    previous = serializers.URLField(allow_null=True)


class VoicesSerializer(PageSerializer):
    results = VoiceSerializer(many=True)
    facets = FacetsSerializer()
    last_sync = LastSyncSerializer(allow_null=True)


class RunSerializer(serializers.ModelSerializer):
    """A run from `runs_visible_to`, for the `caller` in the serializer's context."""

    status = serializers.SerializerMethodField()
    started_by = serializers.SerializerMethodField(
        help_text="Email address of the user who started it; visible to colleagues, services and staff."
    )
    code = serializers.SerializerMethodField(help_text="The error's code.")
    message = serializers.SerializerMethodField(help_text="The outcome, for people.")

    class Meta:
        model = SyncRun
        fields = (
            "id",
            "trigger",
            "status",
            "started_at",
            "finished_at",
            "started_by",
            "pages",
            "voices",
            "total",
            "synced",
            "skipped",
            "code",
            "message",
        )

    @extend_schema_field(serializers.ChoiceField(SyncRun.Status.choices))
    def get_status(self, run: Any) -> str:
        return runs.status_of(run)

    def get_started_by(self, run: SyncRun) -> str | None:
        return starter_of(run, self.context["caller"])

    def get_code(self, run: Any) -> str | None:
        return SyncRun.Status.ABANDONED if run.dead else run.error_code or None

    def get_message(self, run: Any) -> str | None:
        if run.status == SyncRun.Status.SUCCEEDED:
            return run.message
        return runs.DIED if run.dead else run.error_message or None


class RunsSerializer(PageSerializer):
    results = RunSerializer(many=True)
