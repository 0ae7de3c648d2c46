"""Textbook lists of voices, as the documentation of Django REST framework shows them.

One has the project's facets, each counted by one query.
"""

from typing import Any

from django.db.models import Case, Count, Exists, F, Max, OuterRef, QuerySet, Subquery, When
from django.db.models.lookups import Exact, GreaterThanOrEqual
from django.urls import path
from rest_framework.filters import OrderingFilter, SearchFilter
from rest_framework.pagination import PageNumberPagination
from rest_framework.permissions import IsAuthenticated
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import ModelSerializer
from rest_framework.viewsets import ModelViewSet

from voiceproject.urls import urlpatterns as project_urls
from voices.models import PUBLIC, AgencyVoice, SyncRun, Voice

FACETS = ("primary_language", "provider", "ownership", "billing_style", "listed")


class VoiceSerializer(ModelSerializer):
    class Meta:
        model = Voice
        exclude = ("definition", "sort_name", "search_text")


class Pages(PageNumberPagination):
    page_size = 50


class VoiceViewSet(ModelViewSet):
    queryset = Voice.objects.all()
    serializer_class = VoiceSerializer
    permission_classes = (IsAuthenticated,)
    pagination_class = Pages
    filter_backends = (SearchFilter, OrderingFilter)
    search_fields = ("name", "description")
    ordering_fields = ("name", "primary_language", "provider", "last_synced_at")


class VoiceWithFacetsViewSet(VoiceViewSet):
    def list(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        response = super().list(request, *args, **kwargs)
        voices = _with_listed(self.filter_queryset(self.get_queryset())).order_by()
        response.data["facets"] = {facet: _facet(voices, facet) for facet in FACETS}
        return response


def _facet(voices: QuerySet[Voice], facet: str) -> list[Any]:
    values = voices.values(value=F(facet)).annotate(count=Count("*"))
    if facet == "primary_language":
        values = values.annotate(label=Max("language_label"))
    return list(values.order_by("-count"))


def _with_listed(voices: QuerySet[Voice]) -> QuerySet[Voice]:
    """Add `listed`: whether the last successful sync that can list a voice did."""
    starts = SyncRun.objects.filter(status=SyncRun.Status.SUCCEEDED).order_by("-finished_at")
    of_agency = Subquery(starts.filter(agency=OuterRef("agency")).values("started_at")[:1])
    private = AgencyVoice.objects.filter(
        GreaterThanOrEqual(F("last_seen_at"), of_agency), voice=OuterRef("pk")
    )
    in_last_sync = Exact(F("last_synced_at"), Subquery(starts.values("started_at")[:1]))
    listed = Case(When(ownership=PUBLIC, then=in_last_sync), default=Exists(private))
    return voices.annotate(listed=listed)


urlpatterns = [
    path("textbook/", VoiceViewSet.as_view({"get": "list"})),
    path("textbook/facets/", VoiceWithFacetsViewSet.as_view({"get": "list"})),
    *project_urls,
]
