"""Middleware for every request: its id, and errors in the service's own form."""

import re
import uuid
from collections.abc import Callable

import django.db
from django.core.signals import request_finished
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase

from voiceproject import errors
from voiceproject.errors import ServiceError
from voiceproject.http.errors import ErrorPage, error_response
from voiceproject.logging import formats

VALID_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
ERRORS_BY_STATUS: dict[int, type[ServiceError]] = {
    403: errors.PermissionDenied,
    404: errors.NotFound,
    405: errors.MethodNotAllowed,
}

GetResponse = Callable[[HttpRequest], HttpResponseBase]


class RequestIdMiddleware:
    """Take the request's id from `X-Request-ID` if valid, or create one; return it in the response."""

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        header = request.headers.get("X-Request-ID", "")
        request_id = header if VALID_ID.fullmatch(header) else uuid.uuid4().hex
        formats.request_id.set(request_id)
        response = self.get_response(request)
        response["X-Request-ID"] = request_id
        return response


def _clear_request_id(**_: object) -> None:
    formats.request_id.set(None)


# Not at the end of the middleware: Django and gunicorn's access log write their lines after it.
request_finished.connect(_clear_request_id)


class ErrorFormatMiddleware:
    """Render errors of Django and libraries in the service's own form.

    With DJANGO_DEBUG, this replaces Django's debug pages, which show code, settings and form fields.
    """

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        response = self.get_response(request)
        is_json = response.get("Content-Type") == "application/json"
        if response.status_code < 400 or is_json or isinstance(response, ErrorPage):
            return response
        fallback = ServiceError if response.status_code >= 500 else errors.InvalidRequest
        error = ERRORS_BY_STATUS.get(response.status_code, fallback)()
        rendered = error_response(request, error)
        if "Allow" in response:
            rendered["Allow"] = response["Allow"]
        return rendered

    def process_exception(self, request: HttpRequest, error: Exception) -> HttpResponse | None:
        """Respond with 400 to filters that the database cannot evaluate, such as U+0000 in the admin."""
        if request.method == "GET" and isinstance(error, django.db.DataError | OverflowError):
            return error_response(request, errors.InvalidRequest())
        return None
