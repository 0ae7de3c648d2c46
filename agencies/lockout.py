"""Limit guesses at an account's password, from one address and from all addresses together."""

from typing import Any

from axes.handlers.database import AxesDatabaseHandler
from axes.helpers import get_cool_off
from axes.models import AccessAttempt, AccessLog
from django.conf import settings
from django.db.models import Max, Sum

from agencies.models import User
from agencies.throttling import login_name

FROM_ALL_ADDRESSES = 10  # times LOGIN_FAILURES


class Handler(AxesDatabaseHandler):
    """Also limit guesses from many addresses to one every few seconds per account.

    Addresses from which the user has signed in before are exempt, so a stranger cannot lock the user out.
    """

    def get_failures(self, request: Any, credentials: Any = None) -> int:
        failures = int(super().get_failures(request, credentials))
        name, limit = login_name(request, credentials), settings.AXES_FAILURE_LIMIT
        known = AccessLog.objects.filter(username=name, ip_address=request.axes_ip_address)
        if failures >= limit or known.exists():
            return failures
        now, span = request.axes_attempt_time, get_cool_off(request)
        most = limit * FROM_ALL_ADDRESSES
        attempts = AccessAttempt.objects.filter(username=name, attempt_time__gte=now - span)
        guesses = attempts.aggregate(
            total=Sum("failures_since_start", default=0), last=Max("attempt_time")
        )
        too_soon = guesses["total"] >= most and now - guesses["last"] < span / most
        return limit if too_soon else failures

    def user_logged_in(self, sender: Any, request: Any, user: User, **kwargs: object) -> None:
        super().user_logged_in(sender, request, user, **kwargs)
        login = {"username": user.email, "ip_address": request.axes_ip_address}
        if not AccessLog.objects.filter(**login).exists():
            AccessLog.objects.create(**login)
