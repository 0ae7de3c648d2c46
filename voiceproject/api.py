"""The one form of every JSON error: for the API's views, Django's own errors and login lockouts."""

import logging
import math
from collections.abc import Callable, Iterator
from typing import Any, ClassVar

import django.db
from django.conf import settings
from django.core.exceptions import PermissionDenied, RequestDataTooBig, SuspiciousOperation
from django.http import Http404, HttpRequest, JsonResponse
from django.http.response import HttpResponseBase
from rest_framework import exceptions
from rest_framework.response import Response
from rest_framework.views import exception_handler, set_rollback
from rest_framework_simplejwt.exceptions import TokenError

from voiceproject.errors import SaveFailed, ServiceError

logger = logging.getLogger(__name__)

NOT_FOUND = "There is nothing at this address."
BAD_REQUEST = "The request could not be read."
METHOD_NOT_ALLOWED = "This address does not answer to that method."


def error_body(code: str, message: str) -> dict[str, Any]:
    """Return the body that every error of this service has."""
    return {"success": False, "code": code, "message": message}


def _json(status: int, code: str, message: str) -> JsonResponse:
    return JsonResponse(error_body(code, message), status=status)


def handle_exception(error: Exception, context: dict[str, Any]) -> Response:
    """Render any exception of an API view; DRF's `EXCEPTION_HANDLER`."""
    error = _as_known_error(error)
    if isinstance(error, ServiceError):
        set_rollback()
        headers = {"WWW-Authenticate": "Bearer"} if error.status == 401 else {}
        return Response(error_body(error.code, error.message), error.status, headers=headers)
    response = exception_handler(error, context)
    if response is None:
        logger.error("Unexpected error of %s", context["request"].path, exc_info=error)
        return Response(error_body(ServiceError.code, ServiceError.message), 500)
    response.data = error_body(*_code_and_message(error))
    if response.status_code == 401:
        response["WWW-Authenticate"] = "Bearer"
    return response


def _as_known_error(error: Exception) -> Exception:
    """Translate what libraries raise into what is rendered."""
    match error:
        case django.db.Error():
            logger.error("Database error: %s", type(error).__name__)
            return SaveFailed()
        case RequestDataTooBig():
            return _status_error(413, "body_too_large", "The request's body is too large.")
        case SuspiciousOperation() | RecursionError() | UnicodeError():
            return exceptions.ParseError(BAD_REQUEST)
        case TokenError():
            return exceptions.AuthenticationFailed("The token is invalid or has expired.")
    return error


def _status_error(status: int, code: str, message: str) -> ServiceError:
    error = ServiceError(message)
    error.status, error.code = status, code
    return error


def _code_and_message(error: Exception) -> tuple[str, str]:
    match error:
        case exceptions.MethodNotAllowed():
            return "method_not_allowed", METHOD_NOT_ALLOWED
        case exceptions.Throttled():
            wait = getattr(error, "wait", None)
            seconds = f" in {math.ceil(wait)} seconds" if wait else " later"
            return "rate_limited", f"Too many requests: try again{seconds}."
        case exceptions.AuthenticationFailed():
            if "no_active_account" in repr(error.get_codes()):
                return "invalid_credentials", "There is no active account with these credentials."
            return "invalid_token", "The token is invalid or has expired."
        case exceptions.NotAuthenticated():
            return "not_authenticated", "Sign in first."
        case exceptions.ValidationError(detail=detail):
            return "invalid_request", " ".join(_sentences(detail))
        case exceptions.UnsupportedMediaType():
            return "unsupported_media_type", "Send JSON, with Content-Type: application/json."
        case exceptions.ParseError():
            return "invalid_request", BAD_REQUEST
        case exceptions.NotFound() | Http404():
            return "not_found", NOT_FOUND
        case exceptions.PermissionDenied() | PermissionDenied():
            return "permission_denied", "You may not do this."
    return "invalid_request", BAD_REQUEST


def _sentences(detail: Any, field: str = "") -> Iterator[str]:
    """Flatten DRF's nested validation errors, field by field."""
    if isinstance(detail, dict):
        for name, inner in detail.items():
            yield from _sentences(inner, "" if name == "non_field_errors" else str(name))
    elif isinstance(detail, list):
        for inner in detail:
            yield from _sentences(inner, field)
    else:
        yield f"{field}: {detail}" if field else str(detail)


# Django's own errors, named in urls.py and settings.py


def bad_request(request: HttpRequest, exception: Exception | None = None) -> JsonResponse:
    return _json(400, "invalid_request", BAD_REQUEST)


def permission_denied(request: HttpRequest, exception: Exception) -> JsonResponse:
    return _json(403, "permission_denied", "You may not do this.")


def csrf_failed(request: HttpRequest, reason: str = "") -> JsonResponse:
    return _json(
        403,
        "csrf_failed",
        "The form's security token is missing or old: reload it, and send again.",
    )


def method_not_allowed(request: HttpRequest, exception: Exception | None = None) -> JsonResponse:
    return _json(405, "method_not_allowed", METHOD_NOT_ALLOWED)


def not_found(request: HttpRequest, exception: Exception | None = None) -> JsonResponse:
    return _json(404, "not_found", NOT_FOUND)


def server_error(request: HttpRequest) -> JsonResponse:
    return _json(500, ServiceError.code, ServiceError.message)


def locked_out(
    request: HttpRequest, original: Any = None, credentials: dict[str, Any] | None = None
) -> JsonResponse:
    """Answer a login that axes has locked after too many failures."""
    response = _json(
        429, "rate_limited", "Too many failed logins: wait a few minutes before the next try."
    )
    response["Retry-After"] = str(math.ceil(settings.LOGIN_LOCK_MINUTES * 60))
    return response


class JSONErrors:
    """Give all errors the one form, which views of libraries do not; middleware.

    With DJANGO_DEBUG this replaces Django's own pages, which show code, settings and forms' fields.
    """

    ANSWERS: ClassVar[dict[int, Callable[[HttpRequest, Any], JsonResponse]]] = {
        403: permission_denied,
        404: not_found,
        405: method_not_allowed,
    }

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        response = self.get_response(request)
        if response.status_code < 400 or response.headers.get("Content-Type") == "application/json":
            return response
        if response.status_code >= 500:
            return server_error(request)
        answer = self.ANSWERS.get(response.status_code, bad_request)(request, None)
        if "Allow" in response.headers:
            answer["Allow"] = response.headers["Allow"]
        return answer

    def process_exception(self, request: HttpRequest, error: Exception) -> JsonResponse | None:
        """Blame the address for what no database can look for, such as U+0000 in the admin's filters."""
        if request.method == "GET" and isinstance(error, django.db.DataError | OverflowError):
            return bad_request(request, error)
        return None
