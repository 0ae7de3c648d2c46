from typing import Any

from drf_spectacular.utils import extend_schema, extend_schema_field
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from agencies.authentication import CallerAuthentication, NotAgencyUser
from agencies.models import User
from agencies.throttling import SyncThrottle
from voiceproject.schema import errors
from voices.models import SyncRun
from voices.sync import sync_voices


class StatsSerializer(serializers.Serializer):
    synced = serializers.IntegerField(help_text="Distinct voices stored.")
    skipped = serializers.IntegerField(
        required=False, help_text="Records that could not be stored; left out where there are none."
    )


@extend_schema_field({"type": "boolean", "enum": [True]})
class SuccessField(serializers.BooleanField):
    pass


class SyncedSerializer(serializers.Serializer):
    success = SuccessField()
    message = serializers.CharField()
    stats = StatsSerializer()


class SyncVoicesView(APIView):
    """Sync Ultravox's voices into the shared table, for a user's agency or for a service."""

    authentication_classes = (CallerAuthentication,)
    throttle_classes = (SyncThrottle,)
    http_method_names = ["post", "options"]

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """Ask who calls a POST only: other methods are refused whoever calls, where DRF asks first."""
        if request.method == "POST":
            super().initial(request, *args, **kwargs)

    def options(self, request: Any, *args: Any, **kwargs: Any) -> Response:
        return Response(status=204)

    @extend_schema(
        request=None,
        responses={200: SyncedSerializer} | errors(400, 401, 403, 405, 429, 500, 502),
    )
    def post(self, request: Request) -> Response:
        user = request.user
        if not isinstance(user, User):
            run = sync_voices(trigger=SyncRun.Trigger.SERVICE)
        elif user.agency is None:
            raise NotAgencyUser()
        else:
            run = sync_voices(trigger=SyncRun.Trigger.USER, agency=user.agency, user=user)
        stats = {"synced": run.synced} | ({"skipped": run.skipped} if run.skipped else {})
        return Response({"success": True, "message": run.message, "stats": stats})
