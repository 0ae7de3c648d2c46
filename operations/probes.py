"""`/livez`, `/readyz` and `/metrics`.

They are a middleware, which responds before any check of the host, the scheme or the session: load balancers
and containers use an IP address, not the service's name.
"""

import logging
from collections.abc import Callable

import django.db
from django.conf import settings
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.http.response import HttpResponseBase
from django.utils.crypto import constant_time_compare
from prometheus_client import CONTENT_TYPE_LATEST

from operations import health, metrics
from voiceproject import errors
from voiceproject.database import describe, statement_timeout
from voiceproject.http.errors import error_response

logger = logging.getLogger(__name__)

METHODS = ("GET", "HEAD")
METRICS_SECONDS = 5.0  # for each query; Prometheus waits ten for the response


class ProbesMiddleware:
    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        probe = PROBES.get(request.path_info.rstrip("/"))
        if probe is None:
            return self.get_response(request)
        response = probe(request)
        response["Cache-Control"] = "no-store"
        if request.method == "HEAD":
            response.content = b""
        return response


def livez(request: HttpRequest) -> HttpResponse:
    """Respond while the process is alive."""
    return _wrong_method(request) or JsonResponse({"status": "ok"})


def readyz(request: HttpRequest) -> HttpResponse:
    """Report to load balancers whether to send requests here, and to people what is wrong."""
    if response := _wrong_method(request):
        return response
    status, checks = health.readiness()
    code = 503 if status == "unavailable" else 200
    return JsonResponse({"status": status, "checks": checks}, status=code)


def show_metrics(request: HttpRequest) -> HttpResponse:
    """Return the metrics to callers that send METRICS_TOKEN, and 404 to others."""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    is_valid = constant_time_compare(token.strip(), settings.METRICS_TOKEN)
    if not (settings.METRICS_TOKEN and scheme.lower() == "bearer" and is_valid):
        return error_response(request, errors.NotFound())
    if response := _wrong_method(request):
        return response
    try:
        with statement_timeout(METRICS_SECONDS):
            return HttpResponse(metrics.exposition(), content_type=CONTENT_TYPE_LATEST)
    except django.db.Error as error:
        logger.warning("The metrics could not be read: %s", describe(error))
        return error_response(request, errors.DatabaseUnavailable())


def _wrong_method(request: HttpRequest) -> HttpResponse | None:
    if request.method in METHODS:
        return None
    response = error_response(request, errors.MethodNotAllowed())
    response["Allow"] = ", ".join(METHODS)
    return response


PROBES = {"/livez": livez, "/healthz": livez, "/readyz": readyz, "/metrics": show_metrics}
