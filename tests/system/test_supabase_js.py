"""Existing clients: `createClient(url, key).functions.invoke('voices-sync')` in Node."""

import json
import subprocess
from collections.abc import Iterator
from typing import Any

import jwt
import pytest
import requests

from tests.support import npm
from tests.support.answers import MARKER, TOKEN, in_confidence
from tests.support.environment import PASSWORD, SERVICE_KEY
from tests.support.jwks import KeySetServer, claims, signing_key
from tests.support.project import Database, Project, on_sqlite, own_project
from tests.support.seeding import add_agency, add_user
from tests.ultravox import Ultravox

pytestmark = on_sqlite  # about no database

SECRET = "supabase-s-own-jwt-secret-of-the-tests-0123456789"
GOOD = {"success": True, "message": "Synced 3 voices from Ultravox", "stats": {"synced": 3}}
# The public key of a Supabase project is a token without a user.
ANON = {"iss": "supabase", "ref": "abcdefgh", "role": "anon", "exp": 4_000_000_000}
ANON_KEY = jwt.encode(ANON, SECRET, "HS256")


class Server:
    """A web server with an agency, a user and Supabase's keys, and its Ultravox."""

    def __init__(self, project: Project, ultravox: Ultravox, supabase: KeySetServer) -> None:
        self.project, self.ultravox, self.supabase = project, ultravox, supabase
        self.user_id = str(add_user(project, add_agency(project)).pk)
        self.url = project.serve("--workers=1")
        self.service = {"url": self.url, "key": SERVICE_KEY}
        self.user = {"url": self.url, "key": ANON_KEY}

    def claims(self, **changes: Any) -> dict[str, Any]:
        return claims(self.user_id, iss=f"{self.supabase.url}/auth/v1", **changes)

    def triggers(self) -> list[str]:
        rows = self.project.database.rows('SELECT "trigger" FROM voice_sync_runs ORDER BY id')
        return [row[0] for row in rows]


def invoke(*calls: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the outcome of each call, as supabase-js reports it."""
    done = subprocess.run(
        ["node", "invoke.mjs"],
        cwd=npm.SUPABASE,
        input=json.dumps(calls),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def server(migrated: Database, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    npm.install(npm.SUPABASE)
    with (
        Ultravox(count=3) as ultravox,
        KeySetServer(signing_key("ec")) as supabase,
        own_project(
            migrated,
            tmp_path_factory.mktemp("server"),
            ULTRAVOX_API_URL=f"{ultravox.url}/",
            SUPABASE_URL=f" {supabase.url}/ ",
            SUPABASE_JWT_SECRET=SECRET,
        ) as project,
    ):
        yield Server(project, ultravox, supabase)


def bearer(token: str) -> dict[str, Any]:
    return {"options": {"global": {"headers": {"Authorization": f"Bearer {token}"}}}}


def test_success(server: Server) -> None:
    body = {"email": "user@example.com", "password": PASSWORD}
    own = requests.post(f"{server.url}{TOKEN}", json=body).json()["access"]
    hs256 = jwt.encode(server.claims(), SECRET, "HS256")
    es256 = signing_key("ec").sign(server.claims())
    service, user = server.service, server.user
    outcomes = invoke(
        service,
        service | {"invoke": {"body": {"any": "thing"}}},
        service | {"invoke": {"body": "text"}},
        service | {"invoke": {"method": "POST", "headers": {"x-custom": "1"}}},
        user | bearer(own),
        user | bearer(hs256),
        user | bearer(es256),
        user | {"accessToken": own},
        user | {"accessToken": es256},
        user | {"invoke": {"headers": {"Authorization": f"Bearer {hs256}"}}},
        service | bearer(own),
    )
    assert outcomes == [{"data": GOOD, "error": None}] * 11
    assert server.triggers()[-11:] == ["service"] * 4 + ["user"] * 7


def test_voices_list(server: Server) -> None:
    requests.post(f"{server.url}/api/voices/sync/", headers={"apikey": SERVICE_KEY}, timeout=30)
    token = jwt.encode(server.claims(), SECRET, "HS256")
    get = {"name": "voices-list", "invoke": {"method": "GET"}}
    outcomes = invoke(
        server.service | get,
        server.user | bearer(token) | get,
        server.user | {"accessToken": token} | get | {"name": "voices-list?page_size=1"},
        server.service | get | {"invoke": {"method": "GET", "region": "eu-west-1"}},
    )
    assert [outcome["data"]["count"] for outcome in outcomes] == [3] * 4
    assert [len(outcome["data"]["results"]) for outcome in outcomes] == [3, 3, 1, 3]
    assert outcomes[0]["data"]["results"][0]["preview_url"].startswith(server.url)


def test_failure(server: Server) -> None:
    user, expired = server.user, jwt.encode(server.claims(exp=1), SECRET, "HS256")
    outcomes = invoke(
        user,
        # supabase-js sends a new public key as a bearer token, although it is not a token.
        user | {"key": "sb_publishable_key", "url": f"{server.url}/"},
        user | bearer(expired),
        user | {"accessToken": expired},
        user | bearer(expired) | {"key": SERVICE_KEY},
        user | {"key": SERVICE_KEY, "invoke": {"method": "GET"}},
    )
    errors = []
    for outcome in outcomes:
        error = outcome["error"]
        assert (outcome["data"], error["name"]) == (None, "FunctionsHttpError")
        assert list(error["body"]) == ["success", "code", "message"]
        assert error["body"]["success"] is False
        errors.append((error["status"], error["body"]["code"], error["challenge"]))
    assert errors == [(401, "invalid_token", "Bearer")] * 5 + [(405, "method_not_allowed", None)]

    server.ultravox.fault = in_confidence
    try:
        [outcome] = invoke(server.service)
    finally:
        server.ultravox.fault = None
    assert outcome["error"]["status"] == 502
    assert outcome["error"]["body"]["code"] == "ultravox_error"
    assert MARKER not in json.dumps(outcome)
