"""Who calls: a user with a token or a session, or a service with a key."""

import hmac
from dataclasses import dataclass

from django.conf import settings
from rest_framework.authentication import BaseAuthentication, SessionAuthentication
from rest_framework.exceptions import NotAuthenticated, PermissionDenied
from rest_framework.request import Request

from agencies.models import User
from agencies.throttling import FailedAuthenticationThrottle
from agencies.tokens import user_of_token
from voiceproject.errors import CsrfFailed, InvalidApiKey, InvalidToken


@dataclass(frozen=True)
class Service:
    """A caller with a service key; `request.user` of its requests."""

    is_authenticated = True
    pk = "service"  # what throttles count it by


class CallerAuthentication(BaseAuthentication):
    """Authenticate a user or a service.

    The first that is sent decides: a bearer token, since supabase-js sends `apikey` along with every user's;
    an `apikey`; a session's cookie. Raises NotAuthenticated, InvalidApiKey, InvalidToken or CsrfFailed, and
    Throttled after too many from one address.
    """

    def authenticate(self, request: Request) -> tuple[User | Service, None]:
        try:
            return _caller(request), None
        except (NotAuthenticated, InvalidApiKey, InvalidToken):
            FailedAuthenticationThrottle().count(request)
            raise


def _caller(request: Request) -> User | Service:
    scheme, _, token = request.META.get("HTTP_AUTHORIZATION", "").strip().partition(" ")
    token = token.strip() if scheme.lower() == "bearer" else ""
    api_key = request.META.get("HTTP_APIKEY", "").strip()
    if token and not _is_service_key(token):
        return user_of_token(token)
    if token or _is_service_key(api_key):
        return Service()
    if api_key:
        raise InvalidApiKey()
    if user := _session_user(request):
        return user
    raise NotAuthenticated()


def _session_user(request: Request) -> User | None:
    try:
        found = SessionAuthentication().authenticate(request)
    except PermissionDenied:
        raise CsrfFailed() from None
    return found[0] if found else None


def _is_service_key(text: str) -> bool:
    given = text.encode("latin-1", errors="replace")  # the bytes that came
    # A list, not a generator: every key is compared, whichever matches.
    return any([hmac.compare_digest(given, key.encode()) for key in settings.SERVICE_API_KEYS])  # noqa: C419
