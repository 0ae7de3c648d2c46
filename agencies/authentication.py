"""Authenticate callers: a user by a token or a session, a service by a key."""

import hmac
from dataclasses import dataclass

from django.conf import settings
from rest_framework.authentication import BaseAuthentication, SessionAuthentication
from rest_framework.exceptions import NotAuthenticated, PermissionDenied
from rest_framework.request import Request

from agencies.models import User
from agencies.throttling import FailedAuthenticationThrottle
from agencies.tokens import authenticate_token
from voiceproject.errors import CsrfFailed, InvalidApiKey, InvalidToken


@dataclass(frozen=True)
class Service:
    """A caller with a service key, as `request.user`."""

    is_authenticated = True
    pk = "service"  # throttles count all services together


class CallerAuthentication(BaseAuthentication):
    """Authenticate a user or a service by the first credential in this order.

    A bearer token comes before `apikey`, which supabase-js sends with every user's token. A session cookie
    comes last. Raises NotAuthenticated, InvalidApiKey, InvalidToken and CsrfFailed, and Throttled after too
    many failures from one address.
    """

    def authenticate(self, request: Request) -> tuple[User | Service, None]:
        try:
            return _authenticate(request), None
        except (NotAuthenticated, InvalidApiKey, InvalidToken):
            FailedAuthenticationThrottle().count(request)
            raise


def _authenticate(request: Request) -> User | Service:
    scheme, _, token = request.META.get("HTTP_AUTHORIZATION", "").strip().partition(" ")
    token = token.strip() if scheme.lower() == "bearer" else ""
    api_key = request.META.get("HTTP_APIKEY", "").strip()
    if token and not _is_service_key(token):
        return authenticate_token(token)
    if token or _is_service_key(api_key):
        return Service()
    if api_key:
        raise InvalidApiKey()
    if user := _session_user(request):
        return user
    raise NotAuthenticated()


def _session_user(request: Request) -> User | None:
    try:
        authenticated = SessionAuthentication().authenticate(request)
    except PermissionDenied:
        raise CsrfFailed() from None
    return authenticated[0] if authenticated else None


def _is_service_key(text: str) -> bool:
    header = text.encode("latin-1", errors="replace")
    # A list, not a generator, so that every key is compared, whichever matches.
    return any([hmac.compare_digest(header, key.encode()) for key in settings.SERVICE_API_KEYS])  # noqa: C419
