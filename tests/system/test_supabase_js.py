"""Existing clients: `createClient(url, key).functions.invoke('voices-sync')` in Node."""

import json
import subprocess
from pathlib import Path
from typing import Any

import jwt
import requests

from tests.support import npm
from tests.support.answers import TOKEN
from tests.support.environment import PASSWORD, SERVICE_KEY
from tests.support.jwks import KeySetServer, claims, signing_key
from tests.support.project import Database, on_sqlite, own_project
from tests.support.seeding import add_agency, add_user
from tests.ultravox import Ultravox

pytestmark = on_sqlite  # about no database

SECRET = "supabase-s-own-jwt-secret-of-the-tests-0123456789"
GOOD = {"success": True, "message": "Synced 3 voices from Ultravox", "stats": {"synced": 3}}
# The public key of a Supabase project is a token without a user.
ANON = {"iss": "supabase", "ref": "abcdefgh", "role": "anon", "exp": 4_000_000_000}
ANON_KEY = jwt.encode(ANON, SECRET, "HS256")


def invoke(calls: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the outcome of each call, as supabase-js reports it."""
    command, calls_json = ["node", "invoke.mjs"], json.dumps(calls)
    return json.loads(
        subprocess.check_output(command, cwd=npm.SUPABASE, input=calls_json, text=True)
    )


def bearer(token: str) -> dict[str, Any]:
    return {"options": {"global": {"headers": {"Authorization": f"Bearer {token}"}}}}


def test_functions_invoke_in_node(migrated: Database, tmp_path: Path) -> None:
    npm.install(npm.SUPABASE)
    with (
        Ultravox(count=3) as ultravox,
        KeySetServer(signing_key("ec")) as supabase,
        own_project(
            migrated,
            tmp_path,
            ULTRAVOX_API_URL=f"{ultravox.url}/",
            SUPABASE_URL=f" {supabase.url}/ ",
            SUPABASE_JWT_SECRET=SECRET,
        ) as project,
    ):
        payload = claims(str(add_user(project, add_agency(project)).pk))
        payload["iss"] = f"{supabase.url}/auth/v1"
        url = project.serve("--workers=1")
        login = {"email": "user@example.com", "password": PASSWORD}
        own = requests.post(f"{url}{TOKEN}", json=login).json()["access"]
        hs256, es256 = jwt.encode(payload, SECRET, "HS256"), signing_key("ec").sign(payload)
        expired = jwt.encode(payload | {"exp": 1}, SECRET, "HS256")
        service, user = {"url": url, "key": SERVICE_KEY}, {"url": url, "key": ANON_KEY}
        syncs: list[dict[str, Any]] = [
            service,
            service | {"invoke": {"body": {"any": "thing"}}},
            *(user | bearer(token) for token in (own, hs256, es256)),
            user | {"accessToken": own},
            service | bearer(own),
        ]
        get = {"method": "GET", "region": "eu-west-1"}
        listing = {"name": "voices-list?page_size=2", "invoke": get}
        lists = [service | listing, user | bearer(hs256) | listing]
        failures = [
            user,
            # supabase-js sends a new public key as a bearer token, although it is not a token.
            user | {"key": "sb_publishable_key", "url": f"{url}/"},
            user | bearer(expired),
            user | {"accessToken": expired, "key": SERVICE_KEY},
            user | {"key": SERVICE_KEY, "invoke": get},
        ]
        outcomes = invoke(syncs + lists + failures)
        triggers = project.database.rows('SELECT "trigger" FROM voice_sync_runs ORDER BY id')
    assert outcomes[:7] == [{"data": GOOD, "error": None}] * 7
    assert [row[0] for row in triggers] == ["service"] * 2 + ["user"] * 5
    for outcome in outcomes[7:9]:
        voices = outcome["data"]
        assert (voices["count"], len(voices["results"])) == (3, 2)
        assert voices["results"][0]["preview_url"].startswith(url)
    errors = []
    for outcome in outcomes[9:]:
        error = outcome["error"]
        assert (outcome["data"], error["name"]) == (None, "FunctionsHttpError")
        assert list(error["body"]) == ["success", "code", "message"]
        errors.append((error["status"], error["body"]["code"], error["challenge"]))
    assert errors == [(401, "invalid_token", "Bearer")] * 4 + [(405, "method_not_allowed", None)]
