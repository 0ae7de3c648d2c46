"""How fast an account can be guessed at: from one address, and from all together."""

from typing import Any

from axes.handlers.database import AxesDatabaseHandler
from axes.helpers import get_cool_off
from axes.models import AccessAttempt, AccessLog
from django.conf import settings
from django.db.models import Max, QuerySet, Sum

from agencies.models import User
from agencies.throttling import login_name

FROM_ALL_ADDRESSES = 10  # times LOGIN_FAILURES


class Handler(AxesDatabaseHandler):
    """After failures from many addresses, let an account be tried from others only every few seconds.

    But for those that it has logged in from: a stranger cannot keep its owner out.
    """

    def get_user_attempts(self, request: Any, credentials: Any = None) -> list[QuerySet]:
        """Leave out those of the future, by a clock that was set back since."""
        latest = request.axes_attempt_time + get_cool_off(request)
        attempts = super().get_user_attempts(request, credentials)
        return [each.filter(attempt_time__lte=latest) for each in attempts]

    def get_failures(self, request: Any, credentials: Any = None) -> int:
        failures = int(super().get_failures(request, credentials))
        name, limit = login_name(request, credentials), settings.AXES_FAILURE_LIMIT
        known = AccessLog.objects.filter(username=name, ip_address=request.axes_ip_address)
        if failures >= limit or known.exists():
            return failures
        now, span = request.axes_attempt_time, get_cool_off(request)
        most = limit * FROM_ALL_ADDRESSES
        seen = AccessAttempt.objects.filter(
            username=name, attempt_time__range=(now - span, now + span)
        ).aggregate(total=Sum("failures_since_start", default=0), last=Max("attempt_time"))
        too_soon = seen["total"] >= most and now - seen["last"] < span / most
        return limit if too_soon else failures

    def user_logged_in(self, sender: Any, request: Any, user: User, **more: Any) -> None:
        super().user_logged_in(sender, request, user, **more)
        place = {"username": user.email, "ip_address": request.axes_ip_address}
        if not AccessLog.objects.filter(**place).exists():
            AccessLog.objects.create(**place)
