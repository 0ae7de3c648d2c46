"""The sandbox as a front-end developer meets it: the real command, over real HTTP."""

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

from sandbox import API_KEY, Sandbox
from sandbox.catalogue import make_voices
from sandbox.faults import FAULTS
from tests.support.project import ROOT

OPTIONAL = {"description", "primaryLanguage"}
NULLABLE = OPTIONAL | {"languageLabel", "provider", "previewUrl"}
ALL = NULLABLE | {"billingStyle", "definition", "name", "ownership", "voiceId"}
DEFINITIONS = {"elevenLabs", "cartesia", "lmnt", "google", "inworld", "respeecher", "generic"}


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


def test_catalogue_is_varied_and_as_documented(sandbox: Sandbox) -> None:
    voices = read_voices(sandbox.url)
    assert voices == make_voices(300, base_url=sandbox.url)  # the same each time
    assert len({voice["voiceId"] for voice in voices}) == 300
    for voice in voices:
        assert ALL - OPTIONAL <= voice.keys() <= ALL
        assert len(voice["name"]) <= 40
        assert len(voice.get("description") or "") <= 240
        (kind,) = voice["definition"]
        assert (voice["provider"] is None) == (kind == "generic")
        assert kind != "generic" or voice["ownership"] == "private"
    assert {next(iter(voice["definition"])) for voice in voices} == DEFINITIONS
    languages = {tag.partition("-")[0] for v in voices if (tag := v.get("primaryLanguage"))}
    assert len(languages) >= 30
    assert {"ar", "he", "ur", "zh", "ja", "hi", "th"} <= languages
    assert {field for v in voices for field, value in v.items() if value is None} == NULLABLE


@pytest.mark.parametrize("size", [7, 100, 150, 301])
def test_pages_cover_every_voice_once(sandbox: Sandbox, size: int) -> None:
    assert read_voices(sandbox.url, f"pageSize={size}") == sandbox.api.voices
    page = get(f"{sandbox.url}/api/voices?pageSize={size}&limit=3").json()
    assert (len(page["results"]), page["total"]) == (min(size, 200), 300)
    assert page["previous"] is None
    second = get(page["next"]).json()
    assert get(second["previous"]).json() == page
    assert len(get(f"{sandbox.url}/api/voices?limit=5").json()["results"]) == 5
    assert get(f"{sandbox.url}/api/voices?cursor=x").status_code == 404


def test_filters(sandbox: Sandbox) -> None:
    def kept(query: str) -> list[Any]:
        return read_voices(sandbox.url, f"pageSize=7&{query}")

    private = [v for v in sandbox.api.voices if v["ownership"] == "private"]
    assert kept("ownership=private") == private
    both = kept("provider=lmnt&provider=eleven_labs")
    assert {v["provider"] for v in both} == {"LMNT", "Eleven Labs"}
    tags = [v["primaryLanguage"] for v in kept("primaryLanguage=pt-PT")]
    assert list(dict.fromkeys(tags)) == ["pt-PT", "pt-BR"]
    assert kept("search=AM%C3%89LIE")[0]["name"] == "Amélie"
    assert kept("search=nobody+has+this+name") == []
    assert get(f"{sandbox.url}/api/voices?provider=acme").json() == {
        "provider": ["Select a valid choice. acme is not one of the available choices."]
    }


def test_key_is_required_but_for_public_audio(sandbox: Sandbox) -> None:
    voice_id = sandbox.api.voices[0]["voiceId"]
    for path in ("", f"/{voice_id}", f"/{voice_id}/preview"):
        for key in (None, "", "another"):
            answer = get(f"{sandbox.url}/api/voices{path}", key)
            assert (answer.status_code, set(answer.json())) == (401, {"detail"})
        assert get(f"{sandbox.url}/api/voices{path}").status_code in (200, 302)
    assert get(f"{sandbox.url}/audio/{voice_id}.wav", None).status_code == 200
    assert get(f"{sandbox.url}/api/voices/{voice_id}").json() == sandbox.api.voices[0]
    for path in ("/", "/api/voices/nobody", "/api/voices/nobody/preview", "/audio/nobody.wav"):
        assert get(sandbox.url + path).status_code == 404
    posted = requests.post(f"{sandbox.url}/api/voices", json={}, timeout=10)
    assert (posted.status_code, posted.headers["Allow"]) == (405, "GET, HEAD")


def test_previews_are_audio(sandbox: Sandbox) -> None:
    kinds, sounds = set(), set()
    for voice in sandbox.api.voices[:60]:
        public = f"http://localhost:{sandbox.port}/audio/{voice['voiceId']}.wav"
        preview = f"{sandbox.url}/api/voices/{voice['voiceId']}/preview"
        assert voice["previewUrl"] in (preview, public, None)
        answer = get(preview)
        kinds.add(kind := answer.headers["Content-Type"])
        if kind == "text/plain":
            frames = re.findall(rb"\xff\xf3\x48\xc4.{140}", answer.content, re.DOTALL)
            assert b"".join(frames) == answer.content  # MP3
        sounds.add(sound := get(public, None).content)
        with wave.open(io.BytesIO(sound)) as recording:
            assert 0.5 < recording.getnframes() / recording.getframerate() < 2
            assert max(memoryview(recording.readframes(-1)).cast("h")) > 8_000
    assert kinds == {"audio/wav", "text/plain"}
    assert len(sounds) > 50


def test_stopping_ends_hung_and_idle_connections() -> None:
    with requests.Session() as session, Sandbox(fault="hang") as sandbox:
        assert session.get(sandbox.url).status_code == 404
        with pytest.raises(requests.Timeout):
            requests.get(f"{sandbox.url}/api/voices", timeout=0.2)
    with pytest.raises(requests.ConnectionError):
        get(sandbox.url)


@contextlib.contextmanager
def command(*arguments: str) -> Iterator[tuple[subprocess.Popen[str], str, str]]:
    """Run the sandbox as a command; give its process, its URL and what it prints at its start."""
    line = [sys.executable, "-m", "sandbox", "--port", "0", *arguments]
    pipe = subprocess.PIPE
    with subprocess.Popen(line, cwd=ROOT, stdout=pipe, stderr=pipe, text=True) as process:
        try:
            assert process.stdout
            text = "".join(iter(process.stdout.readline, "Ctrl-C ends it.\n"))
            yield process, re.findall(r"URL +(http://\S+)\n", text)[0], text
        finally:
            process.kill()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_command_serves_until_it_is_told_to_end(number: signal.Signals) -> None:
    options = ("--key", "a", "--key", "b", "--voices", "12", "--latency", "30")
    with command(*options) as (process, url, text):
        assert f"curl -H 'X-API-Key: a' '{url}/api/voices?pageSize=3'" in text
        assert get(f"{url}/api/voices").status_code == 401
        answer = get(f"{url}/api/voices", "b")
        assert (len(answer.json()["results"]), answer.elapsed.total_seconds() >= 0.03) == (12, True)
        process.send_signal(number)
        assert process.wait(10) == 0
        assert process.stderr
        assert process.stderr.read() == ""


FAULTY = [
    ("key_revoked", [401, 401], 401),
    ("rate_limited_once", [429, 200], 200),
    ("error_once", [500, 200], 200),
    ("error", [500, 500], 200),
    ("next_elsewhere", [200, 200], 200),
    ("preview_refused", [200, 200], 400),
]


@pytest.mark.parametrize(("fault", "pages", "preview"), FAULTY)
def test_faults(fault: str, pages: list[int], preview: int) -> None:
    with command("--fault", fault) as (_, url, text):
        assert FAULTS[fault].does in text
        answers = [get(f"{url}/api/voices") for _ in pages]
        assert [answer.status_code for answer in answers] == pages
        assert ("Retry-After" in answers[0].headers) == (pages[0] == 429)
        away = pages[0] == 200 and not answers[0].json()["next"].startswith(url)
        assert away == (fault == "next_elsewhere")
        voice_id = make_voices(1, base_url=url)[0]["voiceId"]
        assert get(f"{url}/api/voices/{voice_id}/preview").status_code == preview


def test_command_explains_itself(sandbox: Sandbox) -> None:
    def run(argument: str) -> subprocess.CompletedProcess[str]:
        line = [sys.executable, "-m", "sandbox", argument]
        return subprocess.run(line, cwd=ROOT, capture_output=True, text=True, timeout=30)

    listed = run("--list-faults")
    assert all(f"{name} " in listed.stdout for name in FAULTS)
    taken = run(f"--port={sandbox.port}")
    assert (taken.returncode, len(taken.stderr.splitlines())) == (1, 1)
    assert "taken: choose another with --port" in taken.stderr
    for wrong in ("--fault=x", "--port=70000", "--voices=-1", "--latency=x"):
        refused = run(wrong)
        assert (refused.returncode, "Traceback" in refused.stderr) == (2, False)
