from typing import Any

import django.db
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from agencies.models import User
from agencies.permissions import AgencyUserOrService
from voiceproject.errors import SaveFailed
from voiceproject.schema import errors
from voices.api.examples import SYNCED, example
from voices.api.serializers import SyncedSerializer
from voices.models import SyncRun
from voices.sync import sync_voices

SYNC_ERRORS = (
    "no_api_key", "not_authenticated", "invalid_token", "invalid_api_key", "not_agency_user",
    "csrf_failed",
    "method_not_allowed", "rate_limited", "credentials_unavailable", "save_failed",
    "internal_error", "ultravox_error", "busy",
)  # fmt: skip


class ApiView(APIView):
    """A view that refuses other methods than its own first, whoever calls."""

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        if request.method in self.allowed_methods and request.method != "OPTIONS":
            super().initial(request, *args, **kwargs)

    def options(self, request: Any, *args: Any, **kwargs: Any) -> Response:
        return Response(status=204)


class SyncVoicesView(ApiView):
    """Sync Ultravox's voices into the shared table, for a user's agency or for a service."""

    permission_classes = (AgencyUserOrService,)
    throttle_scope = "sync"
    http_method_names = ["post", "options"]

    def handle_exception(self, exc: Exception) -> Response:
        """Report a sync that could not be saved, even if it was the caller that could not be looked up."""
        return super().handle_exception(SaveFailed() if isinstance(exc, django.db.Error) else exc)

    @extend_schema(
        request=None, examples=example(SYNCED),
        responses={200: SyncedSerializer} | errors(*SYNC_ERRORS),
    )  # fmt: skip
    def post(self, request: Request) -> Response:
        caller = request.user
        if isinstance(caller, User):
            run = sync_voices(trigger=SyncRun.Trigger.USER, agency=caller.agency, user=caller)
        else:
            run = sync_voices(trigger=SyncRun.Trigger.SERVICE)
        stats = {"synced": run.synced} | ({"skipped": run.skipped} if run.skipped else {})
        return Response({"success": True, "message": run.message, "stats": stats})
