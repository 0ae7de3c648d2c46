"""Voices, one voice, and the history of syncs, for whoever may see them."""

import hashlib
import json
from collections.abc import Iterable
from typing import Any, cast

import django.db
import orjson
from django.http import HttpResponse
from django.utils.cache import get_conditional_response, patch_vary_headers
from drf_spectacular.utils import OpenApiParameter, extend_schema, extend_schema_view
from rest_framework.exceptions import NotFound, ValidationError
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.utils.urls import remove_query_param, replace_query_param
from rest_framework.views import APIView

from agencies.models import User
from agencies.permissions import AgencyUserOrService, AgencyUserStaffOrService
from voiceproject.errors import SaveFailed
from voiceproject.http.openapi import errors
from voiceproject.slashes import SLASH
from voices import search
from voices.api import examples
from voices.api.examples import SYNCED, example
from voices.api.links import preview_links
from voices.api.serializers import (
    VOICE,
    PageQuery,
    RunSerializer,
    RunsSerializer,
    SyncedSerializer,
    VoicesQuery,
    VoicesSerializer,
    VoiceWithDefinitionSerializer,
)
from voices.labels import label
from voices.masking import masked
from voices.models import SyncRun
from voices.sync import sync_voices

SYNC_ERRORS = (
    "no_api_key",
    "not_authenticated",
    "invalid_token",
    "invalid_api_key",
    "not_agency_user",
    "csrf_failed",
    "method_not_allowed",
    "rate_limited",
    "credentials_unavailable",
    "save_failed",
    "internal_error",
    "ultravox_error",
    "busy",
)


class ApiView(APIView):
    """A view that refuses other methods than its own first, whoever calls."""

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        if request.method in self.allowed_methods and request.method != "OPTIONS":
            super().initial(request, *args, **kwargs)

    def options(self, request: Any, *args: Any, **kwargs: Any) -> Response:
        return Response(status=204)


VOICE_ID = OpenApiParameter("voice_id", str, "path", description="Percent-encoded, slashes too.")
CREDENTIALS = ("Authorization", "apikey", "Cookie")  # headers
READ_ERRORS = (
    "not_authenticated",
    "invalid_token",
    "invalid_api_key",
    "not_agency_user",
    "method_not_allowed",
    "rate_limited",
    "internal_error",
    "database_unavailable",
)


class ReadView(ApiView):
    """A view that is asked with GET, by whoever may read."""

    permission_classes = (AgencyUserStaffOrService,)
    http_method_names = ["get", "head", "options"]
    view_permission = search.VIEW_VOICES

    @property
    def caller(self) -> search.Caller:
        return cast(search.Caller, self.request.user)


class VoicesView(ReadView):
    """Find voices: those that the caller sees, filtered and searched, with counts for each filter."""

    ignored: tuple[str, ...] = ()

    @extend_schema(
        operation_id="voices_list",
        parameters=[VoicesQuery],
        examples=example(examples.VOICES),
        responses={200: VoicesSerializer} | errors("invalid_request", *READ_ERRORS),
    )
    def get(self, request: Request) -> HttpResponse:
        query = _checked(VoicesQuery, request, self.ignored)
        listed = query.get("listed")
        filters = {
            "primary_language": query.get("language"),
            "provider": query.get("provider"),
            "ownership": query.get("ownership"),
            "billing_style": query.get("billing_style"),
            "listed": listed and [listed == "true"],
        }
        found = search.find(
            self.caller,
            text=query.get("search", ""),
            ordering=query["ordering"],
            filters={name: values for name, values in filters.items() if values is not None},
        )
        page = _page(request, query, found.count)
        return _answer(
            request,
            page
            | {
                "results": _voices(request, _cut(found.voices.values(*VOICE), query)),
                "facets": {
                    name: [
                        {
                            "value": each.value,
                            "label": each.label or label(name, each.value),
                            "count": each.count,
                        }
                        for each in facet
                    ]
                    for name, facet in found.facets.items()
                },
                "last_sync": found.last_sync,
            },
        )


@extend_schema_view(get=extend_schema(operation_id="functions_voices_list"))
class VoicesListView(VoicesView):
    """Find voices, under the name that a client of Supabase's edge functions calls."""

    ignored = ("forceFunctionRegion",)  # supabase-js sends it where a region is set


class VoiceView(ReadView):
    """One voice, with its definition."""

    @extend_schema(
        operation_id="voices_retrieve",
        parameters=[VOICE_ID],
        examples=example(examples.VOICE_WITH_DEFINITION),
        responses={200: VoiceWithDefinitionSerializer} | errors("not_found", *READ_ERRORS),
    )
    def get(self, request: Request, voice_id: str) -> HttpResponse:
        voices = search.visible_to(self.caller).annotate(listed=search.listed(self.caller))
        found = voices.filter(pk=voice_id.replace(SLASH, "/")).values(*VOICE, "definition")
        for voice in _voices(request, found):
            return _answer(request, voice | {"definition": masked(voice["definition"])})
        raise NotFound()


class RunsView(ReadView):
    """The history of syncs, newest first."""

    view_permission = search.VIEW_RUNS

    @extend_schema(
        operation_id="sync_runs_list",
        parameters=[PageQuery],
        examples=example(examples.RUNS),
        responses={200: RunsSerializer} | errors("invalid_request", *READ_ERRORS),
    )
    def get(self, request: Request) -> HttpResponse:
        query = _checked(PageQuery, request)
        runs = search.runs_visible_to(self.caller)
        page = _page(request, query, runs.count())
        return _answer(request, page | {"results": _runs(request, _cut(runs, query))})


class RunView(ReadView):
    """One sync; while it is under way, how far it has come."""

    view_permission = search.VIEW_RUNS

    @extend_schema(
        operation_id="sync_runs_retrieve",
        examples=example(examples.RUN),
        responses={200: RunSerializer} | errors("not_found", *READ_ERRORS),
    )
    def get(self, request: Request, run_id: int) -> HttpResponse:
        run = search.runs_visible_to(self.caller).filter(pk=run_id).first()
        if run is None:
            raise NotFound()
        return _answer(request, _runs(request, run))


def _checked(
    kind: type[PageQuery], request: Request, ignored: tuple[str, ...] = ()
) -> dict[str, Any]:
    """Return a query's parameters, with defaults. Raises ValidationError."""
    given = request.query_params.copy()
    for name in ignored:
        given.pop(name, None)
    query = kind(data=given, context={"caller": request.user})
    query.is_valid(raise_exception=True)
    return query.validated_data


def _page(request: Request, query: dict[str, Any], count: int) -> dict[str, Any]:
    """Return how many rows there are, and the neighbouring pages' URLs. Raises ValidationError."""
    number, pages = query["page"], max(1, -(-count // query["page_size"]))
    if number > pages:
        raise ValidationError({"page": [f"The last page is {pages}."]})
    url = request.build_absolute_uri()
    previous = (
        remove_query_param(url, "page")
        if number == 2
        else replace_query_param(url, "page", number - 1)
    )
    return {
        "count": count,
        "next": replace_query_param(url, "page", number + 1) if number < pages else None,
        "previous": previous if number > 1 else None,
    }


def _cut(rows: Any, query: dict[str, Any]) -> Any:
    start = (query["page"] - 1) * query["page_size"]
    return rows[start : start + query["page_size"]]


def _voices(request: Request, rows: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    link = preview_links(request)
    return [
        row
        | {
            "preview_url": None if row["preview_url"] is None else link(row["id"]),
            "last_synced_at": row["last_synced_at"].isoformat().replace("+00:00", "Z"),
        }
        for row in rows
    ]


def _runs(request: Request, runs: Any) -> Any:
    many = not isinstance(runs, SyncRun)
    return RunSerializer(runs, many=many, context={"caller": request.user}).data


def _answer(request: Request, content: dict[str, Any]) -> HttpResponse:
    """Answer with JSON, or with 304 if it is what the caller has."""
    try:
        body = orjson.dumps(content, option=orjson.OPT_UTC_Z)
    except TypeError:  # a definition's integer of more than 64 bits
        body = json.dumps(content, ensure_ascii=False).encode()
    response = HttpResponse(body, content_type="application/json")
    response["ETag"] = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
    response["Cache-Control"] = "private, no-cache"
    patch_vary_headers(response, CREDENTIALS)
    return unless_known(request, response)


def unless_known(request: Request, response: HttpResponse) -> HttpResponse:
    """Return the response, or a 304 if its ETag is one that the caller has; nothing here can be changed."""
    if "If-Match" in request.headers:
        return response
    answer = get_conditional_response(request, etag=response["ETag"], response=response)
    return cast(HttpResponse, answer)


class SyncVoicesView(ApiView):
    """Sync Ultravox's voices into the shared table, for a user's agency or for a service."""

    permission_classes = (AgencyUserOrService,)
    throttle_scope = "sync"
    http_method_names = ["post", "options"]

    def handle_exception(self, exc: Exception) -> Response:
        """Report a sync that could not be saved, even if it was the caller that could not be looked up."""
        return super().handle_exception(SaveFailed() if isinstance(exc, django.db.Error) else exc)

    @extend_schema(
        request=None,
        examples=example(SYNCED),
        responses={200: SyncedSerializer} | errors(*SYNC_ERRORS),
    )
    def post(self, request: Request) -> Response:
        caller = request.user
        if isinstance(caller, User):
            run = sync_voices(trigger=SyncRun.Trigger.USER, agency=caller.agency, user=caller)
        else:
            run = sync_voices(trigger=SyncRun.Trigger.SERVICE)
        stats = {"synced": run.synced} | ({"skipped": run.skipped} if run.skipped else {})
        return Response({"success": True, "message": run.message, "stats": stats})
