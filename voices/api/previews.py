"""`GET /api/voices/<id>/preview`: audio, or a redirect to a public copy."""

from typing import Any

from django.http import HttpResponse, HttpResponseRedirect
from django.utils.cache import patch_vary_headers
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework.exceptions import NotAuthenticated, NotFound
from rest_framework.request import Request

from agencies.throttling import Throttle
from voiceproject.errors import InvalidToken
from voiceproject.http.openapi import error_responses
from voices import visibility
from voices.api.links import caller_of_link
from voices.api.ranges import apply_range
from voices.api.views import CREDENTIALS, KEY_ERRORS, READ_ERRORS, VOICE_ID, ReadView, revalidate
from voices.models import Voice
from voices.previews import fetch_preview, media_type

PREVIEW_ERRORS = ("not_found", "no_preview", "preview_unavailable", "range_not_satisfiable")
SIGNATURE = OpenApiParameter("signature", str, description="From a voice's `preview_url`.")
RANGE = OpenApiParameter("Range", str, "header", description="For example `bytes=0-1`.")
RESPONSES = {
    (200, "audio/*"): OpenApiResponse(bytes, "The audio, with the media type of its bytes."),
    (206, "audio/*"): OpenApiResponse(bytes, "The requested range."),
    302: OpenApiResponse(None, "`Location` is a public copy."),
}


class PreviewThrottle(Throttle):
    """Limit the requests to Ultravox that a caller causes."""

    throttle_scope = "preview"


class PreviewView(ReadView):
    """A voice's preview, for callers who see the voice and for signed links."""

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """Authenticate by the link's signature, or else like every other view."""
        signature = request.query_params.get("signature", "")
        caller = caller_of_link(signature, kwargs["voice_id"])
        self.is_signed = caller is not None
        if caller:
            request.user = caller  # type: ignore[assignment]
            return
        try:
            super().initial(request, *args, **kwargs)
        except NotAuthenticated:
            if signature:
                raise InvalidToken("This link has expired. List the voices again.") from None
            raise

    @extend_schema(
        operation_id="voices_preview",
        parameters=[VOICE_ID, SIGNATURE, RANGE],
        responses=RESPONSES | error_responses(*PREVIEW_ERRORS, *KEY_ERRORS, *READ_ERRORS),
    )
    def get(self, request: Request, voice_id: str) -> HttpResponse:
        voices = Voice.objects.all() if self.is_signed else visibility.visible_to(self.caller)
        voice = voices.filter(pk=voice_id).first()
        if voice is None:
            raise NotFound()
        preview = fetch_preview(
            voice,
            agency_id=getattr(self.caller, "agency_id", None),
            before_request=lambda: PreviewThrottle().count(request),
        )
        if isinstance(preview, str):
            return HttpResponseRedirect(preview, headers={"Cache-Control": "private, no-store"})
        response = HttpResponse(preview, content_type=media_type(preview))
        response["Cache-Control"] = "private, max-age=3600"
        if not self.is_signed:  # the browser's next user may not see the voice
            patch_vary_headers(response, CREDENTIALS)
        return apply_range(request, revalidate(request, response))
