"""Existing clients: `createClient(url, key).functions.invoke('voices-sync')` in Node."""

import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jwt
import pytest
import requests

from tests.support import supabase_js
from tests.support.answers import MARKER, TOKEN, in_confidence
from tests.support.environment import SERVICE_KEY
from tests.support.jwks import KeySetServer, claims, signing_key
from tests.support.project import Database, Project
from tests.ultravox import API_KEY, Ultravox

SECRET = "supabase-s-own-jwt-secret-of-the-tests-0123456789"
GOOD = {"success": True, "message": "Synced 3 voices from Ultravox", "stats": {"synced": 3}}
EMAIL, PASSWORD = "user@example.com", "a password of the tests"

Invoke = Callable[..., list[dict[str, Any]]]


class Served:
    """A web server with an agency, a user and Supabase's keys, and Ultravox behind it."""

    def __init__(self, project: Project, ultravox: Ultravox, supabase: KeySetServer) -> None:
        self.project, self.ultravox, self.supabase = project, ultravox, supabase
        self.user = project.seed(key=API_KEY, email=EMAIL, password=PASSWORD)["user"]
        self.url = project.serve()

    def own_token(self) -> str:
        body = {"email": EMAIL, "password": PASSWORD}
        return requests.post(f"{self.url}{TOKEN}", json=body).json()["access"]

    def claims(self, **changes: Any) -> dict[str, Any]:
        return claims(self.user, **({"iss": f"{self.supabase.url}/auth/v1"} | changes))

    @property
    def anon_key(self) -> str:
        """The public key of a Supabase project: a token of no user."""
        anon = {"iss": "supabase", "ref": "abcdefgh", "role": "anon", "exp": 4_000_000_000}
        return jwt.encode(anon, SECRET, "HS256")

    def triggers(self) -> list[str]:
        rows = self.project.database.rows('SELECT "trigger" FROM voice_sync_runs ORDER BY id')
        return [row[0] for row in rows]


@pytest.fixture(scope="module")
def served(migrated: Database, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("supabase")
    database = Database.create(folder, migrated)
    with Ultravox(count=3) as ultravox, KeySetServer(signing_key("ec")) as supabase:
        project = Project(
            database,
            folder,
            ULTRAVOX_API_URL=f"{ultravox.url}/",
            SUPABASE_URL=f" {supabase.url}/ ",
            SUPABASE_JWT_SECRET=SECRET,
            WEB_CONCURRENCY="1",
        )
        try:
            yield Served(project, ultravox, supabase)
        finally:
            project.stop()
            database.drop()


@pytest.fixture(scope="session")
def package() -> Path:
    return supabase_js.install()


@pytest.fixture
def invoke(package: Path) -> Invoke:
    def invoke(*ways: dict[str, Any]) -> list[dict[str, Any]]:
        done = subprocess.run(
            ["node", "invoke.mjs"],
            cwd=package,
            input=json.dumps(ways),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        outcomes: list[dict[str, Any]] = json.loads(done.stdout)
        return outcomes

    return invoke


def bearer(token: str) -> dict[str, Any]:
    return {"global": {"headers": {"Authorization": f"Bearer {token}"}}}


def test_success(served: Served, invoke: Invoke) -> None:
    before = len(served.triggers())
    own = served.own_token()
    hs256 = jwt.encode(served.claims(), SECRET, "HS256")
    es256 = signing_key("ec").sign(served.claims())
    service = {"url": served.url, "key": SERVICE_KEY}
    user = {"url": served.url, "key": served.anon_key}
    outcomes = invoke(
        service,
        service | {"invoke": {"body": {"any": "thing"}}},
        service | {"invoke": {"body": "text"}},
        service | {"invoke": {"method": "POST", "headers": {"x-custom": "1"}}},
        user | {"options": bearer(own)},
        user | {"options": bearer(hs256)},
        user | {"options": bearer(es256)},
        user | {"accessToken": own},
        user | {"accessToken": es256},
        user | {"invoke": {"headers": {"Authorization": f"Bearer {hs256}"}}},
        service | {"options": bearer(own)},
    )
    assert outcomes == [{"data": GOOD, "error": None}] * 11
    assert served.triggers()[before:] == ["service"] * 4 + ["user"] * 7


def test_failure(served: Served, invoke: Invoke) -> None:
    user = {"url": served.url, "key": served.anon_key}
    expired = jwt.encode(served.claims(exp=1), SECRET, "HS256")
    outcomes = invoke(
        user,
        user | {"key": "sb_publishable_key"},
        user | {"options": bearer(expired)},
        user | {"accessToken": expired},
        user | {"key": SERVICE_KEY, "options": bearer(expired)},
        user | {"key": SERVICE_KEY, "invoke": {"method": "GET"}},
    )
    for outcome in outcomes:
        assert outcome["data"] is None
        assert outcome["error"]["name"] == "FunctionsHttpError"
        assert list(outcome["error"]["body"]) == ["success", "code", "message"]
        assert outcome["error"]["body"]["success"] is False
    errors = [
        (
            outcome["error"]["status"],
            outcome["error"]["body"]["code"],
            outcome["error"]["challenge"],
        )
        for outcome in outcomes
    ]
    assert errors == [(401, "invalid_token", "Bearer")] * 5 + [(405, "method_not_allowed", None)]


def test_failure_of_ultravox(served: Served, invoke: Invoke) -> None:
    served.ultravox.fault = in_confidence
    try:
        (outcome,) = invoke({"url": served.url, "key": SERVICE_KEY})
    finally:
        served.ultravox.fault = None
    assert outcome["error"]["status"] == 502
    assert outcome["error"]["body"]["code"] == "ultravox_error"
    assert MARKER not in json.dumps(outcome)


def test_publishable_key_alone(served: Served, invoke: Invoke) -> None:
    """New Supabase keys are no tokens, and are sent as a bearer token all the same."""
    (outcome,) = invoke({"url": f"{served.url}/", "key": "sb_publishable_abc"})
    assert outcome["error"]["status"] == 401
