"""The addresses of the project, and the textbook's."""

from django.urls import path
from django_filters.rest_framework import (  # type: ignore[import-not-found,import-untyped,unused-ignore]
    DjangoFilterBackend,
)
from rest_framework.filters import OrderingFilter, SearchFilter
from rest_framework.pagination import PageNumberPagination
from rest_framework.permissions import IsAuthenticated
from rest_framework.serializers import ModelSerializer
from rest_framework.viewsets import ModelViewSet

from voiceproject.urls import urlpatterns
from voices.models import Voice


class VoiceSerializer(ModelSerializer):
    class Meta:
        model = Voice
        fields = (
            "id",
            "name",
            "description",
            "language_label",
            "primary_language",
            "ownership",
            "billing_style",
            "provider",
            "preview_url",
            "last_synced_at",
        )


class Pages(PageNumberPagination):
    page_size = 50


class VoiceViewSet(ModelViewSet):
    queryset = Voice.objects.all()
    serializer_class = VoiceSerializer
    permission_classes = (IsAuthenticated,)
    pagination_class = Pages
    filter_backends = (DjangoFilterBackend, SearchFilter, OrderingFilter)
    filterset_fields = ("primary_language", "provider", "ownership", "billing_style")
    search_fields = ("name", "description")
    ordering_fields = ("name", "primary_language", "provider", "last_synced_at")


urlpatterns = [path("textbook/", VoiceViewSet.as_view({"get": "list"})), *urlpatterns]
