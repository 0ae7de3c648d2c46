"""The API, fuzzed from its own OpenAPI description."""

from collections.abc import Iterator
from typing import Any

import hypothesis
import pytest
import schemathesis
from django.core.cache import cache
from django.core.signals import request_finished, request_started
from django.db import close_old_connections
from schemathesis import Case
from schemathesis.specs.openapi import checks

from agencies.models import Agency
from sandbox.catalogue import make_voices
from tests.support.answers import ADDRESSES, REFRESH, TOKEN
from tests.support.environment import SERVICE_KEY
from tests.ultravox import Ultravox
from voiceproject.wsgi import application
from voices.sync import sync_voices

pytestmark = pytest.mark.django_db

api = schemathesis.openapi.from_wsgi("/api/schema/", application)
fuzzed = hypothesis.settings(
    max_examples=20,
    deadline=None,
    suppress_health_check=list(hypothesis.HealthCheck),
)
# A description can't express which texts are valid credentials.
CREDENTIALS = [checks.positive_data_acceptance]


@pytest.fixture(autouse=True)
def synced(ultravox: Ultravox, agency: Agency, settings: Any) -> Iterator[None]:
    """Sync two voices, and keep the test's transaction open after each request."""
    settings.AXES_FAILURE_LIMIT = 1_000_000
    ultravox.voices = make_voices(2, base_url=ultravox.url)
    sync_voices(trigger="service")
    for signal in (request_started, request_finished):
        signal.disconnect(close_old_connections)
    yield
    for signal in (request_started, request_finished):
        signal.connect(close_old_connections)


def call(case: Case, excluded: list[Any]) -> Any:
    """Send a request, and check the response against the description."""
    cache.clear()  # resets the rate limits
    response = case.call_and_validate(excluded_checks=excluded)
    assert response.status_code < 500
    return response


@api.include(path_regex="token|preview").parametrize()  # others read nothing of a stranger
@fuzzed
def test_strangers(case: Case) -> None:
    response = call(case, CREDENTIALS)
    assert case.method == "OPTIONS" or response.status_code in (400, 401, 404, 405, 415)


# The functions are the same views.
@api.exclude(path_regex="token|functions").parametrize()
@fuzzed
def test_services(case: Case) -> None:
    case.headers.pop("Authorization", None)
    case.headers["apikey"] = SERVICE_KEY
    ignored = [checks.negative_data_rejection] if "sync/" in case.path else []  # the body
    response = call(case, [*CREDENTIALS, checks.ignored_auth, *ignored])
    assert response.status_code in (200, 204, 302, 400, 404, 405)


def test_all_addresses_are_described() -> None:
    described = {path.rstrip("/") for path in api}
    reading = {
        *("/api/voices", "/functions/v1/voices-list", "/api/voices/{voice_id}"),
        *("/api/voices/{voice_id}/preview", "/api/sync-runs", "/api/sync-runs/{run_id}"),
    }
    assert described == reading | {address.rstrip("/") for address in (*ADDRESSES, TOKEN, REFRESH)}
