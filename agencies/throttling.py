"""Limits against guessing and floods. The settings `RATE_LIMIT_...` are DRF rates such as `600/min`.

Counts are kept in the cache (`CACHE_URL`): per process by default, or in Redis for all of them. While
Redis is down nothing is counted and everything else goes on; failed logins are counted in the database.
"""

import contextlib
import logging
from ipaddress import IPv4Address, ip_address, ip_network
from typing import Any
from urllib.parse import urlsplit

from django.http import HttpRequest
from redis.exceptions import RedisError
from rest_framework.exceptions import Throttled
from rest_framework.request import Request
from rest_framework.throttling import BaseThrottle, ScopedRateThrottle

from agencies.fields import normal_email

logger = logging.getLogger(__name__)


def client_ip(request: HttpRequest | Request) -> str:
    """Return the client's address, as seen by the outermost of `DJANGO_TRUSTED_PROXIES`.

    Of an IPv6 address only its network, a /64, which is what one customer has. Some proxies add the port;
    what is no address is not believed.
    """
    seen = BaseThrottle().get_ident(request)  # type: ignore[arg-type]  # it reads META only
    for text in (seen, request.META.get("REMOTE_ADDR", "")):
        with contextlib.suppress(ValueError):
            return _network(text)
        with contextlib.suppress(ValueError):
            return _network(urlsplit(f"//{text}").hostname or "")
    return str(IPv4Address(0))  # such as behind a Unix socket


def _network(text: str) -> str:
    address = ip_address(text)
    if isinstance(address, IPv4Address):
        return str(address)
    if address.ipv4_mapped:
        return str(address.ipv4_mapped)
    return str(ip_network((int(address), 64), strict=False).network_address)


def login_name(request: HttpRequest, credentials: dict[str, Any] | None = None) -> str:
    """Return the name under which failed logins are counted: an address in its normal form.

    Django's forms call it `username`, the API calls it `email`. The table of failures holds 255
    characters, one more than an e-mail address can have.
    """
    given = credentials or request.POST
    return normal_email(str(given.get("username") or given.get("email") or ""))[:255]


class Throttle(ScopedRateThrottle):
    """Count by the caller's primary key, else by the address; let all in while counting fails."""

    def get_ident(self, request: Request) -> str:
        return client_ip(request)

    def allow_request(self, request: Request, view: Any) -> bool:
        try:
            return super().allow_request(request, view)
        except RedisError as error:
            logger.error("Requests are not counted: CACHE_URL fails with %s", type(error).__name__)
            return True

    def count(self, request: Request) -> None:
        """Count a request by this throttle's own `throttle_scope`. Raises Throttled beyond its rate."""
        if not self.allow_request(request, view=self):
            raise Throttled(wait=self.wait())


class FailedAuthenticationThrottle(Throttle):
    """Count an address's failed authentications."""

    throttle_scope = "failed"

    def get_cache_key(self, request: Request, view: Any) -> str:
        return self.cache_format % {"scope": self.scope, "ident": self.get_ident(request)}
