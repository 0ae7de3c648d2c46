"""Limits against guessing and floods. The settings `RATE_LIMIT_...` are DRF rates such as `600/min`.

Counts are kept in the cache (`CACHE_URL`): per process by default, or in Redis for all of them. While
Redis is down nothing is counted and everything else goes on; failed logins are counted in the database.
"""

import logging
from typing import Any

from django.http import HttpRequest
from redis.exceptions import RedisError
from rest_framework.request import Request
from rest_framework.throttling import BaseThrottle, ScopedRateThrottle

logger = logging.getLogger(__name__)


def client_ip(request: HttpRequest) -> str:
    """Return the client's address, as seen by the outermost of `DJANGO_TRUSTED_PROXIES`."""
    return BaseThrottle().get_ident(request)  # type: ignore[arg-type]  # it reads META only


def login_name(request: HttpRequest, credentials: dict[str, Any] | None = None) -> str:
    """Return the name under which failed logins are counted, as `get_by_natural_key` reads it.

    Django's forms call it `username`, the API calls it `email`. The table of failures holds 255
    characters, one more than an e-mail address can have.
    """
    given = credentials or request.POST
    return str(given.get("username") or given.get("email") or "").strip().lower()[:255]


class Throttle(ScopedRateThrottle):
    """Count by the caller's primary key, else by the address; let all in while counting fails."""

    def allow_request(self, request: Request, view: Any) -> bool:
        try:
            return super().allow_request(request, view)
        except RedisError as error:
            logger.error("Requests are not counted: CACHE_URL fails with %s", type(error).__name__)
            return True


class FailedAuthenticationThrottle(Throttle):
    """Count an address's failed authentications."""

    throttle_scope = "failed"

    def get_cache_key(self, request: Request, view: Any) -> str:
        return self.cache_format % {"scope": self.scope, "ident": self.get_ident(request)}
