"""The sandbox, and the voices that it shares with the tests' Ultravox."""

import re
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest
import requests
import schemathesis

from sandbox import API_KEY, Sandbox
from sandbox.faults import FAULTS
from tests.support.project import ROOT
from tests.ultravox import Ultravox


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox() as sandbox:
        yield sandbox


def get(url: str, key: str | None = API_KEY) -> requests.Response:
    headers = {} if key is None else {"X-API-Key": key}
    return requests.get(url, headers=headers, timeout=10, allow_redirects=False)


@pytest.mark.parametrize("server", [Sandbox, Ultravox])
def test_voices_match_ultravox_s_schema(server: type[Sandbox] | type[Ultravox]) -> None:
    schema = schemathesis.openapi.from_path(ROOT / "tests/ultravox/voices-openapi.yaml")
    for model in schema.raw_schema["components"]["schemas"].values():
        if "properties" in model:
            model.setdefault("additionalProperties", False)
    with server(count=200) as running:
        voices = running.api.voices if isinstance(running, Sandbox) else running.voices
        for voice in voices:
            # Some voices have no preview, although the schema requires one: the project must handle that.
            voice["previewUrl"] = voice["previewUrl"] or "https://example.com/"
        schema["/api/voices"]["GET"].validate_response(get(f"{running.url}/api/voices?limit=200"))


def test_all_but_public_audio_requires_a_key(sandbox: Sandbox) -> None:
    voice_id = sandbox.api.voices[0]["voiceId"]
    for path in ("", f"/{voice_id}", f"/{voice_id}/preview"):
        for key in (None, "", "another"):
            assert get(f"{sandbox.url}/api/voices{path}", key).status_code == 401
        assert get(f"{sandbox.url}/api/voices{path}").status_code == 200
    assert get(f"{sandbox.url}/audio/{voice_id}.wav", None).status_code == 200
    for path in ("/", "/api/voices/nobody", "/api/voices/nobody/preview", "/audio/nobody.wav"):
        assert get(sandbox.url + path).status_code == 404
    assert requests.post(f"{sandbox.url}/api/voices", json={}, timeout=10).status_code == 405


@pytest.mark.parametrize(
    ("fault", "statuses"),
    [
        ("key_revoked", [401, 401, 401]),
        ("rate_limited_once", [429, 200, 200]),
        ("error_once", [500, 200, 200]),
        ("preview_refused", [200, 200, 400]),
    ],
)
def test_faults(fault: str, statuses: list[int]) -> None:
    with Sandbox(fault=fault) as sandbox:
        paths = ["", "", f"/{sandbox.api.voices[0]['voiceId']}/preview"]
        responses = [get(f"{sandbox.url}/api/voices{path}") for path in paths]
        assert [response.status_code for response in responses] == statuses


def test_command_stops_on_a_signal() -> None:
    options = ("--port=0", "--key=a", "--key=b", "--voices=12", "--latency=30", "--fault=slow")
    line = [sys.executable, "-m", "sandbox", *options]
    pipe = subprocess.PIPE
    with subprocess.Popen(line, cwd=ROOT, stdout=pipe, stderr=pipe, text=True) as process:
        assert process.stdout
        text = "".join(iter(process.stdout.readline, "Press Ctrl-C to stop.\n"))
        assert re.search(r"curl -H 'X-API-Key: a' 'http://\S+/api/voices\?pageSize=3'", text)
        assert FAULTS["slow"].does in text
        process.send_signal(signal.SIGINT)
        assert (process.wait(10), process.communicate()[1]) == (0, "")
