"""The one form of every error: of the API's views, of Django itself, and of login lockouts.

JSON everywhere except on pages for people (PAGE_ADDRESSES), whose errors are pages.
"""

import logging
import math
import re
from collections.abc import Callable, Iterator
from typing import Any

import django.db
from django.conf import settings
from django.core.exceptions import PermissionDenied, RequestDataTooBig, SuspiciousOperation
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.http.response import HttpResponseBase
from django.template.loader import render_to_string
from rest_framework import exceptions
from rest_framework.response import Response
from rest_framework.views import set_rollback
from rest_framework_simplejwt.exceptions import TokenError

from voiceproject.database_errors import describe
from voiceproject.errors import ERRORS, ServiceError

logger = logging.getLogger(__name__)

UNEXPECTED = "internal_error"
CODES_OF_STATUSES = {403: "permission_denied", 404: "not_found", 405: "method_not_allowed"}
CODES: dict[type[Exception], str] = {
    django.db.Error: "database_unavailable",
    exceptions.Throttled: "rate_limited",
    exceptions.AuthenticationFailed: "invalid_token", TokenError: "invalid_token",
    exceptions.NotAuthenticated: "not_authenticated",
    exceptions.PermissionDenied: "permission_denied", PermissionDenied: "permission_denied",
    exceptions.NotFound: "not_found", Http404: "not_found",
    exceptions.MethodNotAllowed: "method_not_allowed",
    exceptions.UnsupportedMediaType: "unsupported_media_type",
    RequestDataTooBig: "body_too_large",
    exceptions.ParseError: "invalid_request", exceptions.ValidationError: "invalid_request",
    SuspiciousOperation: "invalid_request",
}  # fmt: skip  # the first that an exception is an instance of


def error_body(code: str, message: str | None) -> dict[str, Any]:
    """Return the body that every error of the API has."""
    return {"success": False, "code": code, "message": message or ERRORS[code].message}


def handle_exception(error: Exception, context: dict[str, Any]) -> Response:
    """Render any exception of an API view; DRF's `EXCEPTION_HANDLER`."""
    set_rollback()
    code, message = _code_and_message(error)
    if code == UNEXPECTED:
        logger.error("Unexpected error of %s", context["request"].path, exc_info=error)
    headers = dict(getattr(error, "headers", {}))
    if ERRORS[code].status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    if wait := getattr(error, "wait", None):
        headers["Retry-After"] = str(math.ceil(wait))
    return Response(error_body(code, message), ERRORS[code].status, headers=headers)


def _code_and_message(error: Exception) -> tuple[str, str | None]:
    """Return an exception's code, and its message where the table's will not do."""
    match error:
        case ServiceError():
            return error.code, error.message
        case exceptions.Throttled() if wait := getattr(error, "wait", None):
            return "rate_limited", f"Too many requests: try again in {math.ceil(wait)} seconds."
        case exceptions.ValidationError(detail=dict(detail)):
            sentences = (
                f"{name}: {text}" for name, texts in detail.items() for text in _flat(texts)
            )
            return "invalid_request", " ".join(sentences)
        case exceptions.AuthenticationFailed() if "no_active_account" in repr(error.get_codes()):
            return "invalid_credentials", None
        case django.db.Error():
            logger.error("Database error: %s", describe(error))
    return next((code for kind, code in CODES.items() if isinstance(error, kind)), UNEXPECTED), None


def _flat(texts: Any) -> Iterator[str]:
    """Yield the texts of a field's errors; a list's are by place."""
    if isinstance(texts, str):
        yield texts
    else:
        for each in texts.values() if isinstance(texts, dict) else texts:
            yield from _flat(each)


class ErrorPage(HttpResponse):
    """An error for a person."""


def error_response(request: HttpRequest, code: str, message: str | None = None) -> HttpResponse:
    """Answer outside the API's views: with a page if a person asked for one, else with JSON."""
    body, status = error_body(code, message), ERRORS[code].status
    if re.match(settings.PAGE_ADDRESSES, request.path_info.removeprefix("/")):
        # Without the request: a page that says the database is down must not ask it who calls.
        return ErrorPage(render_to_string("voices/error.html", body), status=status)
    return JsonResponse(body, status=status)


def error_view(code: str) -> Callable[..., HttpResponse]:
    """Return a view that answers with this error: Django's handlers, and what urls.py shuts."""

    def view(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        return error_response(request, code)

    return view


csrf_failed = error_view("csrf_failed")


def locked_out(request: HttpRequest, *_: Any) -> HttpResponse:
    """Answer a login that axes has locked after too many failures."""
    words = "Too many failed logins: wait a few minutes before the next try."
    response = error_response(request, "rate_limited", words)
    response["Retry-After"] = str(math.ceil(settings.LOGIN_LOCK_MINUTES * 60))
    return response


class OneForm:
    """Middleware that gives the one form to errors that Django and libraries answer themselves.

    With DJANGO_DEBUG it replaces Django's own pages, which show code, settings and form fields.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        response = self.get_response(request)
        status, is_json = response.status_code, response.get("Content-Type") == "application/json"
        if status < 400 or is_json or isinstance(response, ErrorPage):
            return response
        fallback = UNEXPECTED if status >= 500 else "invalid_request"
        answer = error_response(request, CODES_OF_STATUSES.get(status, fallback))
        if "Allow" in response:
            answer["Allow"] = response["Allow"]
        return answer

    def process_exception(self, request: HttpRequest, error: Exception) -> HttpResponse | None:
        """Answer 400 to what no database can search for, such as U+0000 in the admin's filters."""
        if request.method == "GET" and isinstance(error, django.db.DataError | OverflowError):
            return error_response(request, "invalid_request")
        return None
