"""How many guesses an account stands, from one address and from all."""

from typing import Any

from axes.attempts import get_cool_off_threshold
from axes.handlers.database import AxesDatabaseHandler
from axes.models import AccessAttempt, AccessLog
from django.conf import settings
from django.db.models import Sum
from django.http import HttpRequest

from agencies.models import User
from agencies.throttling import login_name

FROM_ALL_ADDRESSES = 10  # times LOGIN_FAILURES


class Handler(AxesDatabaseHandler):
    """Lock an account against all addresses, too, after failures from many of them.

    But for those that it has logged in from: a stranger cannot keep its owner out.
    """

    def get_failures(self, request: HttpRequest, credentials: Any = None) -> int:
        failures = int(super().get_failures(request, credentials))
        name, limit = login_name(request, credentials), settings.AXES_FAILURE_LIMIT
        known = AccessLog.objects.filter(username=name, ip_address=request.axes_ip_address)  # type: ignore[attr-defined]
        if failures < limit and not known.exists():
            recent = AccessAttempt.objects.filter(
                username=name, attempt_time__gte=get_cool_off_threshold(request)
            )
            total = recent.aggregate(total=Sum("failures_since_start"))["total"] or 0
            if total >= limit * FROM_ALL_ADDRESSES:
                return limit
        return failures

    def user_logged_in(self, sender: Any, request: HttpRequest, user: User, **more: Any) -> None:
        super().user_logged_in(sender, request, user, **more)
        place = {"username": user.email, "ip_address": request.axes_ip_address}  # type: ignore[attr-defined]
        if not AccessLog.objects.filter(**place).exists():
            AccessLog.objects.create(**place)
