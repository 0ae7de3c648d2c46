"""What the OpenAPI description at /api/schema/ says of callers and of errors, for all views alike."""

from typing import Any

from drf_spectacular.extensions import OpenApiAuthenticationExtension
from drf_spectacular.utils import OpenApiResponse, extend_schema_field
from rest_framework import serializers


@extend_schema_field({"type": "boolean", "enum": [False]})
class FailureField(serializers.BooleanField):
    pass


class ErrorSerializer(serializers.Serializer):
    success = FailureField()
    code = serializers.CharField(help_text="For machines.")
    message = serializers.CharField(help_text="One sentence for a person.")


DESCRIPTIONS = {
    400: "`no_api_key`: there is no Ultravox key; `invalid_request`: the request cannot be read",
    401: "`not_authenticated`, `invalid_token`, `invalid_api_key`, `invalid_credentials`",
    403: "`not_agency_user`: the user belongs to no agency",
    405: "`method_not_allowed`",
    413: "`body_too_large`",
    415: "`unsupported_media_type`",
    429: "`rate_limited`: wait for the seconds of `Retry-After`",
    500: "`credentials_unavailable`, `save_failed`, `internal_error`",
    502: "`ultravox_error`",
}


def errors(*statuses: int) -> dict[int, OpenApiResponse]:
    """Return the responses that `extend_schema` takes, for errors of those statuses."""
    return {status: OpenApiResponse(ErrorSerializer, DESCRIPTIONS[status]) for status in statuses}


class CallerScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    target_class = "agencies.authentication.CallerAuthentication"
    name = ["userToken", "serviceKey"]

    def get_security_definition(self, auto_schema: Any) -> list[dict[str, str]]:
        return [
            {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"},
            {"type": "apiKey", "in": "header", "name": "apikey"},
        ]
