"""A voice's preview, as audio or as a redirect to where it lies in public."""

import hashlib
from typing import Any
from uuid import UUID

from django.http import HttpResponse, HttpResponseRedirect
from django.utils.cache import patch_vary_headers
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework.exceptions import NotAuthenticated, NotFound
from rest_framework.request import Request

from agencies.authentication import Service
from agencies.models import User
from agencies.throttling import Throttle
from voiceproject.errors import InvalidToken
from voiceproject.http.openapi import errors
from voices import visibility
from voices.api.links import given_to
from voices.api.ranges import with_range
from voices.api.views import CREDENTIALS, READ_ERRORS, VOICE_ID, ReadView, unless_known
from voices.models import Voice
from voices.previews import Elsewhere, preview_of, type_of

PREVIEW_ERRORS = (
    "not_found",
    "no_preview",
    "no_api_key",
    "credentials_unavailable",
    "preview_unavailable",
    "range_not_satisfiable",
    "busy",
)


class PreviewView(ReadView):
    """A voice's preview, for whoever sees it, and for links that lists give."""

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """Authenticate a link by its signature, and anybody else as everywhere."""
        signed = request.query_params.get("signature")
        self.voice_id = kwargs["voice_id"]
        self.given_to = given_to(signed, self.voice_id) if signed else None
        if self.given_to:
            return
        try:
            super().initial(request, *args, **kwargs)
        except NotAuthenticated:
            if signed:
                raise InvalidToken("This link has expired; list the voices again.") from None
            raise

    @extend_schema(
        operation_id="voices_preview",
        parameters=[
            VOICE_ID,
            OpenApiParameter(
                "signature", str, description="As a voice's `preview_url` carries it."
            ),
            OpenApiParameter("Range", str, "header", description="`bytes=0-1`, for one."),
        ],
        responses={
            (200, "audio/*"): OpenApiResponse(
                bytes, "The audio, with the type that its bytes have."
            ),
            (206, "audio/*"): OpenApiResponse(bytes, "The part that `Range` asks for."),
            302: OpenApiResponse(None, "It lies in public, at `Location`."),
        }
        | errors(*PREVIEW_ERRORS, *READ_ERRORS),
    )
    def get(self, request: Request, voice_id: str) -> HttpResponse:
        visible = Voice.objects.all() if self.given_to else visibility.visible_to(self.caller)
        voice = visible.filter(pk=self.voice_id).first()
        if voice is None:
            raise NotFound()
        caller = self.given_to or str(request.user.pk)
        preview = preview_of(
            voice,
            agency=_agency_of(caller),
            before_asking=lambda: PreviewThrottle(caller).count(request),
        )
        if isinstance(preview, Elsewhere):
            elsewhere = HttpResponseRedirect(preview.url)
            elsewhere["Cache-Control"] = "private, no-store"
            return elsewhere
        response = HttpResponse(preview, content_type=type_of(preview))
        response["ETag"] = f'"{hashlib.sha256(preview).hexdigest()[:32]}"'
        response["Cache-Control"] = "private, max-age=3600"
        if not self.given_to:
            patch_vary_headers(response, CREDENTIALS)  # who logs in next may not hear it
        return with_range(request, unless_known(request, response))


def _agency_of(caller: str) -> UUID | None:
    """Return the agency of a caller, by their primary key; None if they have none, or are gone."""
    if caller == Service.pk:
        return None
    return User.objects.filter(pk=caller).values_list("agency_id", flat=True).first()


class PreviewThrottle(Throttle):
    """Count what a caller, by their primary key, makes Ultravox be asked for."""

    throttle_scope = "preview"

    def __init__(self, caller: str) -> None:
        super().__init__()
        self.caller = caller

    def get_cache_key(self, request: Request, view: Any) -> str:
        return self.cache_format % {"scope": self.scope, "ident": self.caller}
