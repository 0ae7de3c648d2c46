"""Error responses: JSON everywhere, except on pages for people (PAGE_ADDRESSES), which show a page."""

import logging
import math
import re
from collections.abc import Callable, Iterator
from typing import Any

import django.db
from django.conf import settings
from django.core.exceptions import PermissionDenied, RequestDataTooBig, SuspiciousOperation
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.template.loader import render_to_string
from rest_framework import exceptions
from rest_framework.response import Response
from rest_framework.views import set_rollback
from rest_framework_simplejwt.exceptions import TokenError

from voiceproject import errors
from voiceproject.database import describe
from voiceproject.errors import ServiceError

logger = logging.getLogger(__name__)

ERRORS_BY_STATUS = {
    403: errors.PermissionDenied,
    404: errors.NotFound,
    405: errors.MethodNotAllowed,
    415: errors.UnsupportedMediaType,
    429: errors.RateLimited,
}


def error_body(error: ServiceError) -> dict[str, Any]:
    """Return the body that every error of the API has."""
    return {"success": False, "code": error.code, "message": error.message}


def handle_exception(error: Exception, context: dict[str, Any]) -> Response:
    """Render any exception of an API view; DRF's `EXCEPTION_HANDLER`."""
    set_rollback()
    service_error = _service_error(error)
    if type(service_error) is ServiceError:
        logger.error("Unexpected error in %s", context["request"].path, exc_info=error)
    headers = dict(getattr(error, "headers", {}))
    if service_error.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    if wait := getattr(error, "wait", None):
        headers["Retry-After"] = str(math.ceil(wait))
    return Response(error_body(service_error), service_error.status, headers=headers)


def _service_error(error: Exception) -> ServiceError:
    """Return any exception as an error of this service."""
    match error:
        case ServiceError():
            return error
        case exceptions.Throttled() if wait := getattr(error, "wait", None):
            return errors.RateLimited(f"Too many requests. Try again in {math.ceil(wait)} seconds.")
        case exceptions.ValidationError(detail=dict(detail)):
            sentences = [
                f"{name}: {text}" for name, value in detail.items() for text in _texts(value)
            ]
            return errors.InvalidRequest(" ".join(sentences))
        case exceptions.AuthenticationFailed() if "no_active_account" in repr(error.get_codes()):
            return errors.InvalidCredentials()
        case exceptions.AuthenticationFailed() | TokenError():
            return errors.InvalidToken()
        case exceptions.NotAuthenticated():
            return errors.NotAuthenticated()
        case exceptions.APIException():
            return error_of_status(error.status_code)
        case Http404():
            return errors.NotFound()
        case PermissionDenied():
            return errors.PermissionDenied()
        case RequestDataTooBig():
            return errors.BodyTooLarge()
        case SuspiciousOperation():
            return errors.InvalidRequest()
        case django.db.Error():
            logger.error("Database error: %s", describe(error))
            return errors.DatabaseUnavailable()
    return ServiceError()


def error_of_status(status: int) -> ServiceError:
    """Return the error for an error response of Django or DRF."""
    fallback = ServiceError if status >= 500 else errors.InvalidRequest
    return ERRORS_BY_STATUS.get(status, fallback)()


def _texts(detail: Any) -> Iterator[str]:
    """Yield the texts of a field's errors, which DRF nests in lists, and in dicts by position."""
    if isinstance(detail, str):
        yield detail
    else:
        for item in detail.values() if isinstance(detail, dict) else detail:
            yield from _texts(item)


class ErrorPage(HttpResponse):
    """An error page for people."""


def error_response(request: HttpRequest, error: ServiceError) -> HttpResponse:
    """Return an error outside the API's views: a page if a person requested one, else JSON."""
    body = error_body(error)
    if re.match(settings.PAGE_ADDRESSES, request.path_info.removeprefix("/")):
        # Without the request: the page for a database error must not query the database for the user.
        return ErrorPage(render_to_string("voices/error.html", body), status=error.status)
    return JsonResponse(body, status=error.status)


def error_view(error: type[ServiceError]) -> Callable[..., HttpResponse]:
    """Return a view that always responds with this error."""

    def view(request: HttpRequest, *args: object, **kwargs: object) -> HttpResponse:
        return error_response(request, error())

    return view


csrf_failed = error_view(errors.CsrfFailed)


def locked_out(request: HttpRequest, *_: object) -> HttpResponse:
    """Respond to a login that axes has locked after too many failures."""
    error = errors.RateLimited("Too many failed logins. Wait a few minutes, then try again.")
    response = error_response(request, error)
    response["Retry-After"] = str(math.ceil(settings.LOGIN_LOCK_MINUTES * 60))
    return response
