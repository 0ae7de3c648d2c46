"""Credentials and errors in the OpenAPI description at /api/schema/."""

from django.conf import settings
from drf_spectacular.extensions import OpenApiAuthenticationExtension
from drf_spectacular.utils import OpenApiExample, OpenApiResponse
from rest_framework import serializers

from voiceproject.errors import ERRORS

COMMON_ERRORS = ("method_not_allowed", "rate_limited", "internal_error")


class ErrorSerializer(serializers.Serializer):
    success = serializers.BooleanField(help_text="Always false.")
    code = serializers.CharField(help_text="Machine-readable.")
    message = serializers.CharField(help_text="One sentence for people.")


def example(value: object) -> list[OpenApiExample]:
    """Return the example of a 200 response, for `extend_schema`."""
    return [OpenApiExample("Example", value, response_only=True, status_codes=["200"])]


def error_responses(*codes: str) -> dict[int, OpenApiResponse]:
    """Return the error responses with these codes and COMMON_ERRORS, for `extend_schema`."""
    descriptions: dict[int, list[str]] = {}
    for code in (*codes, *COMMON_ERRORS):
        error = ERRORS[code]
        descriptions.setdefault(error.status, []).append(f"`{code}`: {error.sentence}")
    return {
        status: OpenApiResponse(ErrorSerializer, "\n\n".join(lines))
        for status, lines in sorted(descriptions.items())
    }


class CallerScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    target_class = "agencies.authentication.CallerAuthentication"
    name = ["userToken", "serviceKey", "session"]

    def get_security_definition(self, auto_schema: object) -> list[dict[str, str]]:
        return [
            {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"},
            {"type": "apiKey", "in": "header", "name": "apikey"},
            {"type": "apiKey", "in": "cookie", "name": settings.SESSION_COOKIE_NAME},
        ]

    def get_security_requirement(self, auto_schema: object) -> list[dict[str, list[str]]]:
        return [{name: []} for name in self.name]  # any one is enough
