"""The API, fuzzed from its own description."""

from collections.abc import Iterator
from typing import Any

import hypothesis
import pytest
import schemathesis
from django.core.cache import cache
from django.core.signals import request_finished, request_started
from django.db import close_old_connections
from rest_framework_simplejwt.tokens import AccessToken, RefreshToken
from schemathesis import Case
from schemathesis.specs.openapi import checks

from agencies.models import Agency, User
from sandbox.catalogue import make_voices
from tests.support.answers import ADDRESSES, REFRESH, TOKEN
from tests.support.environment import PASSWORD, SERVICE_KEY
from tests.ultravox import Ultravox
from voiceproject.wsgi import application
from voices.sync import sync_voices

pytestmark = pytest.mark.django_db

api = schemathesis.openapi.from_wsgi("/api/schema/", application)
sync = api.include(path_regex="functions.*sync")  # the other address is the same view
reads = api.include(method="GET")
fuzzed = hypothesis.settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[
        hypothesis.HealthCheck.function_scoped_fixture,
        hypothesis.HealthCheck.too_slow,
    ],
)
# Which texts are credentials no description can say: U+0000, for one, is in none.
CREDENTIALS = [checks.positive_data_acceptance]
# One kind of credentials is enough, whatever the other is.
AUTHENTICATED = [
    *CREDENTIALS,
    checks.missing_required_header,
    checks.negative_data_rejection,
    checks.ignored_auth,
]


@pytest.fixture(autouse=True)
def ultravox(ultravox: Ultravox, user: User, settings: Any) -> Iterator[None]:
    """Put Ultravox behind the API, and keep the test's transaction open after a request."""
    settings.AXES_FAILURE_LIMIT = 1_000_000
    ultravox.voices = make_voices(2, base_url=ultravox.url)
    for moment in (request_started, request_finished):
        moment.disconnect(close_old_connections)
    yield
    for moment in (request_started, request_finished):
        moment.connect(close_old_connections)


def ask(case: Case, excluded: list[Any]) -> Any:
    """Send a request, and see that what comes back is what the description says."""
    cache.clear()  # or the limits would answer
    answer = case.call_and_validate(excluded_checks=excluded)
    assert answer.status_code < 500
    return answer


@api.parametrize()
@fuzzed
def test_strangers(case: Case) -> None:
    answer = ask(case, CREDENTIALS)
    assert case.method == "OPTIONS" or answer.status_code in (400, 401, 404, 405, 415)


def ask_as(case: Case, header: str, value: str) -> None:
    """Send a request with credentials, which may be left out on the way."""
    case.headers[header] = value
    answer = ask(case, AUTHENTICATED)
    sent = answer.request.headers.get(header) == value
    assert case.method != "POST" or answer.status_code == (200 if sent else 401)


@sync.parametrize()
@fuzzed
def test_services(case: Case) -> None:
    case.headers.pop("Authorization", None)
    ask_as(case, "apikey", SERVICE_KEY)


@sync.parametrize()
@fuzzed
def test_users(case: Case, user: User) -> None:
    ask_as(case, "Authorization", f"Bearer {AccessToken.for_user(user)}")


@reads.parametrize()
@fuzzed
def test_readers(case: Case, agency: Agency) -> None:
    sync_voices(trigger="service")
    case.headers.pop("Authorization", None)
    case.headers["apikey"] = SERVICE_KEY
    answer = ask(case, [*CREDENTIALS, checks.ignored_auth])
    assert case.method != "GET" or answer.status_code in (200, 302, 400, 404)


@api.include(path_regex="token").parametrize()
@fuzzed
def test_credentials_that_are_right_but_for_one(case: Case, user: User) -> None:
    right = {"email": user.email, "password": PASSWORD, "refresh": str(RefreshToken.for_user(user))}
    if isinstance(case.body, dict) and case.body:
        made_up = sorted(case.body)[0]
        case.body = case.body | right | {made_up: case.body[made_up]}
    ask(case, AUTHENTICATED)


def test_all_addresses_are_described() -> None:
    described = {path.rstrip("/") for path in api}
    reading = {
        "/api/voices",
        "/functions/v1/voices-list",
        "/api/voices/{voice_id}",
        "/api/voices/{voice_id}/preview",
        "/api/sync-runs",
        "/api/sync-runs/{run_id}",
    }
    assert described == reading | {address.rstrip("/") for address in (*ADDRESSES, TOKEN, REFRESH)}
