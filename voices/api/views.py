"""The views for voices, the history of syncs, and starting a sync."""

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, cast

import django.db
from django.db.models import QuerySet
from django.http import HttpResponse
from django.utils.cache import get_conditional_response, patch_vary_headers
from drf_spectacular.utils import OpenApiParameter, extend_schema, extend_schema_view
from rest_framework.exceptions import NotFound, ValidationError
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.utils.encoders import JSONEncoder
from rest_framework.utils.urls import remove_query_param, replace_query_param
from rest_framework.views import APIView

from agencies.models import User
from agencies.permissions import AgencyUserOrService, AgencyUserStaffOrService
from voiceproject.errors import SaveFailed
from voiceproject.http.openapi import error_responses, example
from voices import search, visibility
from voices.api import serializers
from voices.api.links import preview_links
from voices.masking import mask
from voices.models import SyncRun
from voices.sync import sync_voices

EXAMPLES = json.loads(Path(__file__).with_name("examples.json").read_text())
CREDENTIALS = ("Authorization", "apikey", "Cookie")  # headers
CALLER_ERRORS = ("not_authenticated", "invalid_token", "invalid_api_key", "not_agency_user")
KEY_ERRORS = ("no_api_key", "credentials_unavailable", "busy")
SYNC_ERRORS = (*CALLER_ERRORS, *KEY_ERRORS, "csrf_failed", "save_failed", "ultravox_error")
READ_ERRORS = (*CALLER_ERRORS, "database_unavailable")
VOICE_ID = OpenApiParameter("voice_id", str, "path", description="Percent-encoded.")


class ApiView(APIView):
    """A view that rejects other methods with 405 before it authenticates the caller."""

    def initial(self, request: Request, *args: object, **kwargs: object) -> None:
        # For other methods, DRF then responds with 405.
        if request.method in self.allowed_methods and request.method != "OPTIONS":
            super().initial(request, *args, **kwargs)

    def options(self, request: object, *args: object, **kwargs: object) -> Response:
        return Response(status=204)


class ReadView(ApiView):
    """A view for agency users, services and staff with `view_permission`."""

    permission_classes = (AgencyUserStaffOrService,)
    http_method_names = ["get", "head", "options"]
    view_permission = visibility.VIEW_VOICES

    @property
    def caller(self) -> visibility.Caller:
        return cast(visibility.Caller, self.request.user)


class VoicesView(ReadView):
    """List the voices that the caller sees, searched and filtered, with counts for each filter."""

    ignored_parameters: tuple[str, ...] = ()

    @extend_schema(
        operation_id="voices_list",
        examples=example(EXAMPLES["voices"]),
        parameters=[serializers.VoicesQuery],
        responses={200: serializers.VoicesSerializer}
        | error_responses("invalid_request", *READ_ERRORS),
    )
    def get(self, request: Request) -> HttpResponse:
        query = _validate(serializers.VoicesQuery, request, self.ignored_parameters)
        listing = search.find(
            self.caller,
            text=query["search"],
            ids=query["id"],
            filters={name: query[name] for name in search.FACETS if name in query},
            ordering=query["ordering"],
        )
        page = _page(request, query, listing.count)
        rows = listing.voices.values(*serializers.VOICE)[query["rows"]]
        body = {
            "results": _voices(request, rows),
            "facets": listing.facets,
            "last_sync": visibility.last_sync(),
        }
        return _response(request, page | body)


@extend_schema_view(get=extend_schema(operation_id="functions_voices_list"))
class VoicesListView(VoicesView):
    """List voices, at the address that supabase-js requests for the function `voices-list`."""

    ignored_parameters = ("forceFunctionRegion",)  # supabase-js sends it if a region is set


class VoiceView(ReadView):
    """Return one voice with its definition."""

    @extend_schema(
        operation_id="voices_retrieve",
        examples=example(EXAMPLES["voice"]),
        parameters=[VOICE_ID],
        responses={200: serializers.VoiceWithDefinitionSerializer}
        | error_responses("not_found", *READ_ERRORS),
    )
    def get(self, request: Request, voice_id: str) -> HttpResponse:
        voices = visibility.visible_to(self.caller).filter(pk=voice_id)
        rows = voices.annotate(listed=visibility.listed(self.caller)).values(
            *serializers.VOICE, "definition"
        )
        for voice in _voices(request, rows):
            return _response(request, voice | {"definition": mask(voice["definition"])})
        raise NotFound()


class RunsView(ReadView):
    """List syncs, the newest first."""

    view_permission = visibility.VIEW_RUNS

    @extend_schema(
        operation_id="sync_runs_list",
        examples=example(EXAMPLES["runs"]),
        parameters=[serializers.PageQuery],
        responses={200: serializers.RunsSerializer}
        | error_responses("invalid_request", *READ_ERRORS),
    )
    def get(self, request: Request) -> HttpResponse:
        query = _validate(serializers.PageQuery, request)
        runs = visibility.runs_visible_to(self.caller)
        page = _page(request, query, runs.count())
        return _response(request, page | {"results": _runs(request, runs[query["rows"]])})


class RunView(ReadView):
    """Return one sync, with its progress while it is running."""

    view_permission = visibility.VIEW_RUNS

    @extend_schema(
        operation_id="sync_runs_retrieve",
        examples=example(EXAMPLES["run"]),
        responses={200: serializers.RunSerializer} | error_responses("not_found", *READ_ERRORS),
    )
    def get(self, request: Request, run_id: int) -> HttpResponse:
        for run in _runs(request, visibility.runs_visible_to(self.caller).filter(pk=run_id)):
            return _response(request, run)
        raise NotFound()


class SyncVoicesView(ApiView):
    """Sync Ultravox's voices into the shared table, for a user's agency or for a service."""

    permission_classes = (AgencyUserOrService,)
    throttle_scope = "sync"
    http_method_names = ["post", "options"]

    def handle_exception(self, exc: Exception) -> Response:
        """Report any database error as `save_failed`, including errors during authentication."""
        return super().handle_exception(SaveFailed() if isinstance(exc, django.db.Error) else exc)

    @extend_schema(
        request=None,
        examples=example(EXAMPLES["sync"]),
        responses={200: serializers.SyncedSerializer} | error_responses(*SYNC_ERRORS),
    )
    def post(self, request: Request) -> Response:
        caller = request.user
        if isinstance(caller, User):
            run = sync_voices(trigger=SyncRun.Trigger.USER, agency=caller.agency, user=caller)
        else:
            run = sync_voices(trigger=SyncRun.Trigger.SERVICE)
        stats = {"synced": run.synced} | ({"skipped": run.skipped} if run.skipped else {})
        return Response({"success": True, "message": run.message, "stats": stats})


def _validate(
    serializer: type[serializers.PageQuery], request: Request, ignored: tuple[str, ...] = ()
) -> dict[str, Any]:
    """Return the request's parameters with defaults. Raises ValidationError."""
    parameters = request.query_params.copy()
    for name in ignored:
        parameters.pop(name, None)
    query = serializer(data=parameters, context={"caller": request.user})
    query.is_valid(raise_exception=True)
    return query.validated_data


def _page(request: Request, query: dict[str, Any], count: int) -> dict[str, object]:
    """Return the number of rows and the URLs of the neighboring pages. Raises ValidationError."""
    number, last = query["page"], max(1, -(-count // query["page_size"]))
    if number > last:
        raise ValidationError({"page": [f"The last page is {last}."]})
    url = request.build_absolute_uri()
    previous = (
        remove_query_param(url, "page")
        if number == 2
        else replace_query_param(url, "page", number - 1)
    )
    return {
        "count": count,
        "next": replace_query_param(url, "page", number + 1) if number < last else None,
        "previous": previous if number > 1 else None,
    }


def _voices(request: Request, rows: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the rows with links to this service's previews."""
    link = preview_links(request)
    return [row | {"preview_url": link(row["id"], row["preview_url"])} for row in rows]


def _runs(request: Request, runs: QuerySet[SyncRun]) -> list[dict[str, object]]:
    serializer = serializers.RunSerializer(runs, many=True, context={"caller": request.user})
    return cast(list[dict[str, object]], serializer.data)


def _response(request: Request, content: dict[str, object]) -> HttpResponse:
    """Return the content as JSON, or 304 if the caller has it already."""
    body = json.dumps(content, cls=JSONEncoder, ensure_ascii=False).encode()
    response = HttpResponse(body, content_type="application/json")
    response["Cache-Control"] = "private, no-cache"
    patch_vary_headers(response, CREDENTIALS)
    return revalidate(request, response)


def revalidate(request: Request, response: HttpResponse) -> HttpResponse:
    """Add an ETag. Return the response, or 304 if `If-None-Match` has the ETag; `If-Match` is ignored."""
    response["ETag"] = f'"{hashlib.sha256(response.content).hexdigest()[:32]}"'
    if "If-Match" in request.headers:
        return response
    conditional = get_conditional_response(request, etag=response["ETag"], response=response)
    return cast(HttpResponse, conditional)
