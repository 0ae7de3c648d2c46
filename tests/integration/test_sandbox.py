"""The sandbox, and the voices that it shares with the tests' Ultravox."""

import contextlib
import io
import re
import signal
import subprocess
import sys
import wave
from collections.abc import Iterator
from typing import Any

import pytest
import requests
import schemathesis

from sandbox import API_KEY, Sandbox
from sandbox.__main__ import main
from sandbox.catalogue import make_voices
from sandbox.faults import FAULTS
from tests.support.project import ROOT
from tests.ultravox import Ultravox

NULLABLE = {"description", "primaryLanguage", "languageLabel", "provider", "previewUrl"}
VARIANTS = {"elevenLabs", "cartesia", "lmnt", "google", "inworld", "respeecher", "generic"}


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox() as sandbox:
        yield sandbox


def get(url: str, key: str | None = API_KEY) -> requests.Response:
    headers = {} if key is None else {"X-API-Key": key}
    return requests.get(url, headers=headers, timeout=10, allow_redirects=False)


def read_voices(url: str, query: str = "pageSize=100") -> list[Any]:
    voices, following = [], f"{url}/api/voices?{query}"
    while following:
        page = get(following).json()
        voices += page["results"]
        following = page["next"]
    return voices


@pytest.mark.parametrize("server", [Sandbox, Ultravox])
def test_voices_match_ultravox_s_schema(server: type[Sandbox] | type[Ultravox]) -> None:
    schema = schemathesis.openapi.from_path(ROOT / "tests/ultravox/voices-openapi.yaml")
    for model in schema.raw_schema["components"]["schemas"].values():
        if "properties" in model:
            model.setdefault("additionalProperties", False)
    with server() as running:
        for voice in running.api.voices:
            # Some voices have no preview, although the schema requires one: the project must handle that.
            voice["previewUrl"] = voice["previewUrl"] or "https://example.com/"
        for query in ("pageSize=200", "pageSize=100"):
            schema["/api/voices"]["GET"].validate_response(get(f"{running.url}/api/voices?{query}"))


def test_catalogue_is_varied(sandbox: Sandbox) -> None:
    voices = read_voices(sandbox.url)
    assert voices == make_voices(300, base_url=sandbox.url)  # the same each time
    assert len({voice["voiceId"] for voice in voices}) == 300
    assert {next(iter(voice["definition"])) for voice in voices} == VARIANTS
    assert all(v["ownership"] == "private" for v in voices if "generic" in v["definition"])
    languages = {tag.partition("-")[0] for v in voices if (tag := v.get("primaryLanguage"))}
    assert len(languages) >= 30
    assert {"ar", "he", "ur", "zh", "ja", "hi", "th"} <= languages
    assert {field for v in voices for field, value in v.items() if value is None} == NULLABLE


@pytest.mark.parametrize("size", [7, 301])
def test_pages(sandbox: Sandbox, size: int) -> None:
    assert read_voices(sandbox.url, f"pageSize={size}") == sandbox.api.voices
    page = get(f"{sandbox.url}/api/voices?pageSize={size}&limit=3").json()
    assert (len(page["results"]), page["total"]) == (min(size, 200), 300)
    assert page["previous"] is None
    second = get(page["next"]).json()
    assert get(second["previous"]).json() == page
    assert len(get(f"{sandbox.url}/api/voices?limit=5").json()["results"]) == 5
    assert get(f"{sandbox.url}/api/voices?cursor=x").status_code == 404


def test_filters(sandbox: Sandbox) -> None:
    def find(query: str) -> list[Any]:
        return read_voices(sandbox.url, f"pageSize=7&{query}")

    private = [v for v in sandbox.api.voices if v["ownership"] == "private"]
    assert find("ownership=private") == private
    both = find("provider=lmnt&provider=eleven_labs")
    assert {v["provider"] for v in both} == {"LMNT", "Eleven Labs"}
    tags = [v["primaryLanguage"] for v in find("primaryLanguage=pt-PT")]
    assert list(dict.fromkeys(tags)) == ["pt-PT", "pt-BR"]
    assert find("search=AM%C3%89LIE")[0]["name"] == "Amélie"
    assert find("search=nobody+has+this+name") == []
    assert get(f"{sandbox.url}/api/voices?provider=acme").status_code == 400


def test_all_but_public_audio_requires_a_key(sandbox: Sandbox) -> None:
    voice_id = sandbox.api.voices[0]["voiceId"]
    for path in ("", f"/{voice_id}", f"/{voice_id}/preview"):
        for key in (None, "", "another"):
            assert get(f"{sandbox.url}/api/voices{path}", key).status_code == 401
        assert get(f"{sandbox.url}/api/voices{path}").status_code == 200
    assert get(f"{sandbox.url}/audio/{voice_id}.wav", None).status_code == 200
    for path in ("/", "/api/voices/nobody", "/api/voices/nobody/preview", "/audio/nobody.wav"):
        assert get(sandbox.url + path).status_code == 404
    posted = requests.post(f"{sandbox.url}/api/voices", json={}, timeout=10)
    assert (posted.status_code, posted.headers["Allow"]) == (405, "GET, HEAD")


def test_previews_are_audio(sandbox: Sandbox) -> None:
    types = set()
    for voice in sandbox.api.voices[:12]:
        public = f"http://localhost:{sandbox.port}/audio/{voice['voiceId']}.wav"
        preview = f"{sandbox.url}/api/voices/{voice['voiceId']}/preview"
        assert voice["previewUrl"] in (preview, public, None)
        response = get(preview)
        types.add(response.headers["Content-Type"])
        if response.headers["Content-Type"] == "text/plain":
            frames = re.findall(rb"\xff\xf3\x48\xc4.{140}", response.content, re.DOTALL)
            assert b"".join(frames) == response.content  # MP3
        with wave.open(io.BytesIO(get(public, None).content)) as recording:
            assert 0.5 < recording.getnframes() / recording.getframerate() < 2
            assert max(memoryview(recording.readframes(-1)).cast("h")) > 8_000
    assert types == {"audio/wav", "text/plain"}


def test_stopping_ends_hung_and_idle_connections() -> None:
    with requests.Session() as session, Sandbox(fault="hang") as sandbox:
        assert session.get(sandbox.url).status_code == 404
        with pytest.raises(requests.Timeout):
            requests.get(f"{sandbox.url}/api/voices", timeout=0.2)
    with pytest.raises(requests.ConnectionError):
        get(sandbox.url)


@pytest.mark.parametrize(
    ("fault", "pages", "preview"),
    [
        ("key_revoked", [401, 401], 401),
        ("rate_limited_once", [429, 200], 200),
        ("error_once", [500, 200], 200),
        ("next_elsewhere", [200, 200], 200),
        ("preview_refused", [200, 200], 400),
    ],
)
def test_faults(fault: str, pages: list[int], preview: int) -> None:
    with Sandbox(fault=fault) as sandbox:
        responses = [get(f"{sandbox.url}/api/voices") for _ in pages]
        assert [response.status_code for response in responses] == pages
        assert ("Retry-After" in responses[0].headers) == (pages[0] == 429)
        if pages[0] == 200:
            links_here = responses[0].json()["next"].startswith(sandbox.url)
            assert links_here == (fault != "next_elsewhere")
        voice_id = sandbox.api.voices[0]["voiceId"]
        assert get(f"{sandbox.url}/api/voices/{voice_id}/preview").status_code == preview


@contextlib.contextmanager
def run(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    line = [sys.executable, "-m", "sandbox", *arguments]
    pipe = subprocess.PIPE
    with subprocess.Popen(line, cwd=ROOT, stdout=pipe, stderr=pipe, text=True) as process:
        yield process
        process.kill()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_command_stops_on_a_signal(number: signal.Signals) -> None:
    options = ("--port=0", "--key=a", "--key=b", "--voices=12", "--latency=30", "--fault=slow")
    with run(*options) as process:
        assert process.stdout
        text = "".join(iter(process.stdout.readline, "Press Ctrl-C to stop.\n"))
        [url] = re.findall(r"URL +(http://\S+)\n", text)
        assert f"curl -H 'X-API-Key: a' '{url}/api/voices?pageSize=3'" in text
        assert FAULTS["slow"].does in text
        process.send_signal(number)
        assert (process.wait(10), process.communicate()[1]) == (0, "")


def test_command_explains_errors(sandbox: Sandbox, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--list-faults"]) == 0
    assert all(f"{name} " in capsys.readouterr().out for name in list(FAULTS)[:1])
    for argument in ("--fault=x", "--port=70000", "--voices=-1", "--latency=x"):
        with pytest.raises(SystemExit, match="2"):
            main([argument])
    with run(f"--port={sandbox.port}") as process:
        assert "is in use. Choose another port with --port." in process.communicate()[1]
        assert process.returncode == 1
