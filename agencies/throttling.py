"""Rate limits, set by `RATE_LIMIT_...` as DRF rates such as `600/min`.

The cache (`CACHE_URL`) holds the counts: per process by default, or in Redis for all processes. While
Redis is down, requests are not limited. Failed logins are counted in the database.
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

from agencies.emails import normal_email

logger = logging.getLogger(__name__)


def client_ip(request: HttpRequest | Request) -> str:
    """Return the client's address, as seen by the outermost of DJANGO_TRUSTED_PROXIES.

    An IPv6 address is reduced to its /64 network, because one customer has all of it. Some proxies add a
    port. Without a valid address, for example behind a Unix socket, returns 0.0.0.0.
    """
    reported = BaseThrottle().get_ident(request)  # type: ignore[arg-type]  # it reads META only
    for text in (reported, request.META.get("REMOTE_ADDR", "")):
        with contextlib.suppress(ValueError):
            return _network(text)
    return str(IPv4Address(0))


def _network(text: str) -> str:
    try:
        address = ip_address(text)
    except ValueError:
        address = ip_address(urlsplit(f"//{text}").hostname or "")  # without the port
    if isinstance(address, IPv4Address):
        return str(address)
    if address.ipv4_mapped:
        return str(address.ipv4_mapped)
    return str(ip_network((int(address), 64), strict=False).network_address)


def login_name(request: HttpRequest, credentials: dict[str, object] | None = None) -> str:
    """Return the name under which failed logins are counted: the email address in its normal form.

    Django's forms call it `username`, the API calls it `email`. The column holds 255 characters.
    """
    fields = credentials or request.POST
    return normal_email(str(fields.get("username") or fields.get("email") or ""))[:255]


class Throttle(ScopedRateThrottle):
    """Count requests by the caller's primary key, or by address if there is no caller."""

    def get_ident(self, request: Request) -> str:
        return client_ip(request)

    def allow_request(self, request: Request, view: Any) -> bool:
        try:
            return super().allow_request(request, view)
        except RedisError as error:
            logger.error("Requests are not limited: CACHE_URL fails with %s", type(error).__name__)
            return True

    def count(self, request: Request) -> None:
        """Count a request by this throttle's own `throttle_scope`. Raises Throttled above its rate."""
        if not self.allow_request(request, view=self):
            raise Throttled(wait=self.wait())


class FailedAuthenticationThrottle(Throttle):
    """Count an address's failed authentications."""

    throttle_scope = "failed"

    def get_cache_key(self, request: Request, view: object) -> str:
        return self.cache_format % {"scope": self.scope, "ident": self.get_ident(request)}
