"""Middleware for every request: its id, and errors in the service's own form."""

import re
import uuid
from collections.abc import Callable

import django.db
from django.core.signals import request_finished
from django.dispatch import receiver
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase

from voiceproject import errors
from voiceproject.http.errors import ErrorPage, error_of_status, error_response
from voiceproject.logging import formats

VALID_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")

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


@receiver(request_finished)  # later than the middleware: Django and gunicorn still log lines
def _clear_request_id(**_: object) -> None:
    formats.request_id.set(None)


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
        error_page = error_response(request, error_of_status(response.status_code))
        if "Allow" in response:
            error_page["Allow"] = response["Allow"]
        return error_page

    def process_exception(self, request: HttpRequest, error: Exception) -> HttpResponse | None:
        """Respond with 400 to filters that the database cannot evaluate, such as U+0000 in the admin."""
        if request.method == "GET" and isinstance(error, django.db.DataError | OverflowError):
            return error_response(request, errors.InvalidRequest())
        return None
