"""Clients that others' generators make of the OpenAPI description, called against a running server."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from tests.support import npm
from tests.support.answers import TOKEN
from tests.support.environment import PASSWORD, SERVICE_KEY
from tests.support.project import Database, on_sqlite, own_project
from tests.support.seeding import add_agency, add_user
from tests.ultravox import Ultravox

pytestmark = on_sqlite  # or any database: they know the description only

VOICES = [
    {
        "voiceId": "a",
        "name": "Émilie",
        "ownership": "public",
        "primaryLanguage": "fr-FR",
        "languageLabel": "French",
        "definition": {"lmnt": {"speed": 1.5}},
    },
    {"voiceId": "b", "name": "Other", "ownership": "public"},
]
MADE = {
    "found": 1,
    "name": "Émilie",
    "language": "French",
    "definition": {"lmnt": {"speed": 1.5}},
    "lastSync": 2,
    "runs": ["succeeded"],
    "synced": 2,
    "refused": "invalid_token",
    "service": 2,
}


@pytest.fixture
def served(migrated: Database, tmp_path: Path) -> Iterator[tuple[str, str]]:
    """The URL of a server with a synced table, and a user's token."""
    with (
        Ultravox() as ultravox,
        own_project(migrated, tmp_path, ULTRAVOX_API_URL=ultravox.url) as project,
    ):
        ultravox.voices = VOICES
        user = add_user(project, add_agency(project))
        assert project.manage("sync_voices").returncode == 0
        url = project.serve("--workers=1")
        body = {"email": user.email, "password": PASSWORD}
        yield url, requests.post(f"{url}{TOKEN}", json=body, timeout=30).json()["access"]


def run(*command: str | Path, folder: Path) -> str:
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_typescript_client(served: tuple[str, str]) -> None:
    npm.install(npm.TYPESCRIPT)
    url, token = served
    tools = npm.TYPESCRIPT / "node_modules" / ".bin"
    schema = f"{url}/api/schema/"
    run(tools / "openapi-typescript", schema, "-o", "made/api.d.ts", folder=npm.TYPESCRIPT)
    run(tools / "tsc", "-p", ".", folder=npm.TYPESCRIPT)
    out = run("node", "made/use.js", url, token, SERVICE_KEY, folder=npm.TYPESCRIPT)
    assert json.loads(out) == MADE


USE = """
import json, sys
from voices_sync_client import AuthenticatedClient
from voices_sync_client.api.api import (
    api_voices_sync_create, sync_runs_list, voices_list, voices_retrieve,
)
from voices_sync_client.api.functions import functions_voices_list
url, token, apikey = sys.argv[1:]
client = AuthenticatedClient(url, token)
found = voices_list.sync(
    client=client, search="emilie", ownership=["public", "private"], ordering="-name", page_size=1
)
voice = found.results[0]
print(json.dumps({
    "found": found.count,
    "name": voice.name,
    "language": found.facets.primary_language[0].label,
    "lastSync": found.last_sync.synced,
    "definition": voices_retrieve.sync(voice.id, client=client).definition,
    "runs": [run.status for run in sync_runs_list.sync(client=client).results],
    "synced": api_voices_sync_create.sync(client=client).stats.synced,
    "refused": voices_list.sync(client=AuthenticatedClient(url, "x")).code,
    "service": functions_voices_list.sync(
        client=AuthenticatedClient(url, apikey, prefix="", auth_header_name="apikey")
    ).count,
}))
"""


def test_python_client(served: tuple[str, str], tmp_path: Path) -> None:
    url, token = served
    (tmp_path / "config.yml").write_text("literal_enums: true")
    run(
        Path(sys.executable).with_name("openapi-python-client"),
        "generate",
        "--url",
        f"{url}/api/schema/",
        "--meta",
        "none",
        "--config",
        "config.yml",
        "--output-path",
        "voices_sync_client",
        folder=tmp_path,
    )
    (tmp_path / "use.py").write_text(USE)
    assert (
        json.loads(run(sys.executable, "use.py", url, token, SERVICE_KEY, folder=tmp_path)) == MADE
    )
