"""Issue and refresh this service's own tokens (simplejwt)."""

from typing import Any

from django.conf import settings
from django.contrib.auth.signals import user_logged_in
from django.utils.decorators import method_decorator
from django.views.decorators.cache import cache_control
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.exceptions import AuthenticationFailed, Throttled
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework_simplejwt.serializers import TokenObtainPairSerializer
from rest_framework_simplejwt.tokens import RefreshToken
from rest_framework_simplejwt.views import TokenObtainPairView, TokenRefreshView

from agencies.tokens import authenticate_token
from voiceproject.http.openapi import error_responses

TOKEN_ERRORS = error_responses(
    "invalid_request",
    "invalid_credentials",
    "invalid_token",
    "body_too_large",
    "unsupported_media_type",
    "database_unavailable",
)


class CredentialsSerializer(TokenObtainPairSerializer):
    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)
        self.fields["password"].trim_whitespace = False  # type: ignore[attr-defined]

    def validate(self, attrs: dict[str, Any]) -> dict[str, str]:
        tokens = super().validate(attrs)
        user_logged_in.send(type(self.user), request=self.context["request"], user=self.user)
        return tokens


class TokensSerializer(serializers.Serializer):
    access = serializers.CharField()
    refresh = serializers.CharField()


class RefreshSerializer(serializers.Serializer):
    refresh = serializers.CharField(write_only=True)
    access = serializers.CharField(read_only=True)

    def validate(self, attrs: dict[str, Any]) -> dict[str, str]:
        """Return a new access token. Raises InvalidToken if its user may no longer sign in."""
        access = str(RefreshToken(attrs["refresh"]).access_token)
        authenticate_token(access)
        return {"access": access}


no_store = method_decorator(cache_control(no_store=True), "dispatch")


@no_store
class TokenView(TokenObtainPairView):
    """Exchange an email address and a password for an access and a refresh token."""

    permission_classes = (AllowAny,)  # type: ignore[assignment]  # simplejwt's annotation is too narrow
    serializer_class = CredentialsSerializer
    throttle_scope = "token"

    @extend_schema(
        auth=[],
        request={"application/json": CredentialsSerializer},
        responses={200: TokensSerializer} | TOKEN_ERRORS,
    )
    def post(self, request: Request, *args: object, **kwargs: object) -> Response:
        try:
            return super().post(request, *args, **kwargs)
        except AuthenticationFailed:
            if getattr(request, "axes_locked_out", False):
                raise Throttled(wait=settings.LOGIN_LOCK_MINUTES * 60) from None
            raise


@no_store
@extend_schema(
    auth=[],
    request={"application/json": RefreshSerializer},
    responses={200: RefreshSerializer} | TOKEN_ERRORS,
)
class RefreshView(TokenRefreshView):
    """Exchange a refresh token for a new access token."""

    permission_classes = (AllowAny,)  # type: ignore[assignment]
    serializer_class = RefreshSerializer
    throttle_scope = "token"
