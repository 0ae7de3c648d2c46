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
from tests.support.project import Database, Project, own_project
from tests.support.seeding import add_agency, add_user
from tests.ultravox import Ultravox

SECRET = "supabase-s-own-jwt-secret-of-the-tests-0123456789"
GOOD = {"success": True, "message": "Synced 3 voices from Ultravox", "stats": {"synced": 3}}
# The public key of a Supabase project is a token of no user.
ANON = {"iss": "supabase", "ref": "abcdefgh", "role": "anon", "exp": 4_000_000_000}
ANON_KEY = jwt.encode(ANON, SECRET, "HS256")


class Served:
    """A web server with an agency, a user and Supabase's keys, and Ultravox behind it."""

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

    def invoke(self, *ways: dict[str, Any]) -> list[dict[str, Any]]:
        """Return the outcomes of calls in as many ways."""
        done = subprocess.run(
            ["node", "invoke.mjs"],
            cwd=npm.SUPABASE,
            input=json.dumps(ways),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)


@pytest.fixture(scope="module")
def served(migrated: Database, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    npm.install(npm.SUPABASE)
    with (
        Ultravox(count=3) as ultravox,
        KeySetServer(signing_key("ec")) as supabase,
        own_project(
            migrated,
            tmp_path_factory.mktemp("served"),
            ULTRAVOX_API_URL=f"{ultravox.url}/",
            SUPABASE_URL=f" {supabase.url}/ ",
            SUPABASE_JWT_SECRET=SECRET,
        ) as project,
    ):
        yield Served(project, ultravox, supabase)


def bearer(token: str) -> dict[str, Any]:
    return {"options": {"global": {"headers": {"Authorization": f"Bearer {token}"}}}}


def test_success(served: Served) -> None:
    body = {"email": "user@example.com", "password": PASSWORD}
    own = requests.post(f"{served.url}{TOKEN}", json=body).json()["access"]
    hs256 = jwt.encode(served.claims(), SECRET, "HS256")
    es256 = signing_key("ec").sign(served.claims())
    service, user = served.service, served.user
    outcomes = served.invoke(
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
    assert served.triggers()[-11:] == ["service"] * 4 + ["user"] * 7


def test_voices_list(served: Served) -> None:
    requests.post(f"{served.url}/api/voices/sync/", headers={"apikey": SERVICE_KEY}, timeout=30)
    token = jwt.encode(served.claims(), SECRET, "HS256")
    get = {"name": "voices-list", "invoke": {"method": "GET"}}
    outcomes = served.invoke(
        served.service | get,
        served.user | bearer(token) | get,
        served.user | {"accessToken": token} | get | {"name": "voices-list?page_size=1"},
        served.service | get | {"invoke": {"method": "GET", "region": "eu-west-1"}},
    )
    assert [outcome["data"]["count"] for outcome in outcomes] == [3] * 4
    assert [len(outcome["data"]["results"]) for outcome in outcomes] == [3, 3, 1, 3]
    assert outcomes[0]["data"]["results"][0]["preview_url"].startswith(served.url)


def test_failure(served: Served) -> None:
    user, expired = served.user, jwt.encode(served.claims(exp=1), SECRET, "HS256")
    outcomes = served.invoke(
        user,
        # New public keys are no tokens, and are sent as a bearer token all the same.
        user | {"key": "sb_publishable_key", "url": f"{served.url}/"},
        user | bearer(expired),
        user | {"accessToken": expired},
        user | bearer(expired) | {"key": SERVICE_KEY},
        user | {"key": SERVICE_KEY, "invoke": {"method": "GET"}},
    )
    seen = []
    for outcome in outcomes:
        error = outcome["error"]
        assert (outcome["data"], error["name"]) == (None, "FunctionsHttpError")
        assert list(error["body"]) == ["success", "code", "message"]
        assert error["body"]["success"] is False
        seen.append((error["status"], error["body"]["code"], error["challenge"]))
    assert seen == [(401, "invalid_token", "Bearer")] * 5 + [(405, "method_not_allowed", None)]


def test_failure_of_ultravox(served: Served) -> None:
    served.ultravox.fault = in_confidence
    try:
        [outcome] = served.invoke(served.service)
    finally:
        served.ultravox.fault = None
    assert outcome["error"]["status"] == 502
    assert outcome["error"]["body"]["code"] == "ultravox_error"
    assert MARKER not in json.dumps(outcome)
