"""One id for what a request does: in its answer, its log lines, and those of tasks that it starts."""

import re
import uuid
from collections.abc import Callable
from typing import Any

from django.core.signals import request_finished
from django.http import HttpRequest
from django.http.response import HttpResponseBase

from voiceproject import logs

VALID = re.compile(r"[A-Za-z0-9_-]{1,64}")


class RequestId:
    """Middleware that takes the id from `X-Request-ID` if that is one, and answers with it."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        given = request.headers.get("X-Request-ID", "")
        request_id = given if VALID.fullmatch(given) else uuid.uuid4().hex
        logs.request_id.set(request_id)
        response = self.get_response(request)
        response["X-Request-ID"] = request_id
        return response


def _forget(**_: Any) -> None:
    logs.request_id.set(None)


# Later than the middleware's end: Django, and gunicorn's access log, log after it.
request_finished.connect(_forget)
