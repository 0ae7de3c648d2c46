"""The sandbox is what Ultravox documents, and misbehaves only as told."""

import contextlib
import http.client
import io
import json
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import wave
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from sandbox import API_KEY, FAULTS, Fault, Sandbox
from sandbox.catalogue import make_voices
from sandbox.exchange import Exchange

LISTING = "/api/voices"
FIRST_PAGE = f"{LISTING}?pageSize=100&limit=100"
ROOT = Path(__file__).resolve().parent.parent.parent

# The required fields of the schema "Voice", and the optional ones.
REQUIRED = {
    "billingStyle", "definition", "languageLabel", "name", "ownership", "previewUrl", "provider",
    "voiceId",
}  # fmt: skip
OPTIONAL = {"description", "primaryLanguage"}
NULLABLE = {"description", "primaryLanguage", "languageLabel", "provider"}
DEFINITIONS = {"elevenLabs", "cartesia", "lmnt", "google", "inworld", "respeecher", "generic"}


class Answer:
    """A response, read to its end."""

    def __init__(self, response: http.client.HTTPResponse) -> None:
        self.status = response.status
        self.headers = response.headers
        self.body = response.read()

    def json(self) -> Any:
        return json.loads(self.body)


def ask(
    port: int,
    target: str,
    *,
    method: str = "GET",
    key: str | None = API_KEY,
    body: Any = None,
    timeout: float = 10,
) -> Answer:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
    headers = {} if key is None else {"X-API-Key": key}
    try:
        connection.request(method, target, None if body is None else json.dumps(body), headers)
        return Answer(connection.getresponse())
    finally:
        connection.close()


def target_of(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.path}?{parts.query}"


def read_pages(port: int, target: str = FIRST_PAGE, *, key: str = API_KEY) -> Iterator[Any]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        while target:
            connection.request("GET", target, headers={"X-API-Key": key})
            answer = Answer(connection.getresponse())
            assert answer.status == 200
            page = answer.json()
            yield page
            target = page["next"] and target_of(page["next"])
    finally:
        connection.close()


def read_voices(port: int, target: str = FIRST_PAGE) -> list[Any]:
    return [voice for page in read_pages(port, target) for voice in page["results"]]


def sandbox_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("sandbox")]


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with Sandbox() as sandbox:
        yield sandbox


# The catalogue


def test_voices_have_the_documented_shape() -> None:
    voices = make_voices(300, base_url="http://sandbox.example")
    for voice in voices:
        assert voice.keys() >= REQUIRED
        assert voice.keys() <= REQUIRED | OPTIONAL
        assert {field for field, value in voice.items() if value is None} <= NULLABLE
        assert len(voice["name"]) <= 40
        assert len(voice.get("description") or "") <= 240
        assert len(voice.get("primaryLanguage") or "") <= 10
        assert voice["ownership"] in ("public", "private")
        assert voice["billingStyle"].startswith("VOICE_BILLING_STYLE_")
        assert voice["previewUrl"].startswith("http://sandbox.example/")
        (kind,) = voice["definition"]
        assert kind in DEFINITIONS
        assert (voice["provider"] is None) == (kind == "generic")


def test_catalogue_is_varied() -> None:
    voices = make_voices(base_url="http://sandbox.example")
    assert len(voices) >= 250
    assert {next(iter(voice["definition"])) for voice in voices} == DEFINITIONS
    languages = {tag.partition("-")[0] for v in voices if (tag := v.get("primaryLanguage"))}
    assert len(languages) >= 30
    assert languages >= {"ar", "he", "fa", "ur", "zh", "ja", "ko", "hi", "th"}
    for field in NULLABLE:
        assert any(voice.get(field, "absent") is None for voice in voices), field
    for field in OPTIONAL:
        assert any(field not in voice for voice in voices), field
    assert {voice["ownership"] for voice in voices} == {"public", "private"}
    assert len({voice["billingStyle"] for voice in voices}) == 2


def test_voices_are_the_same_each_time() -> None:
    few, many = (make_voices(count, base_url="http://sandbox.example") for count in (50, 2000))
    assert many[:50] == few
    assert len({voice["voiceId"] for voice in many}) == 2000


# The API


@pytest.mark.parametrize("size", [1, 7, 100, 299, 300, 301])
def test_pages_cover_every_voice_once(sandbox: Sandbox, size: int) -> None:
    pages = list(read_pages(sandbox.port, f"{LISTING}?pageSize={size}"))
    voices = [voice for page in pages for voice in page["results"]]
    assert voices == sandbox.voices
    assert len(pages) == -(-300 // size)
    assert {page["total"] for page in pages} == {300}
    assert pages[0]["previous"] is None
    assert all(page["previous"].startswith(sandbox.url) for page in pages[1:])
    assert sandbox.connections == 1


def test_limit_serves_where_there_is_no_page_size(sandbox: Sandbox) -> None:
    def count(query: str) -> int:
        return len(ask(sandbox.port, f"{LISTING}?{query}").json()["results"])

    assert count("limit=5") == 5
    assert count("pageSize=6&limit=5") == 6
    assert count("pageSize=none&limit=5") == 5
    assert count("pageSize=0") == count("") == 100
    sandbox.max_page_size = 10
    sandbox.voices = sandbox.voices
    assert count("pageSize=50") == 10


def test_next_keeps_the_query_and_the_host(sandbox: Sandbox) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", sandbox.port)
    with contextlib.closing(connection):
        headers = {"X-API-Key": API_KEY, "Host": "ultravox.example:81"}
        connection.request("GET", f"{LISTING}?pageSize=2&limit=3&extra=a%20b", headers=headers)
        url = urlsplit(Answer(connection.getresponse()).json()["next"])
    assert url.netloc == "ultravox.example:81"
    assert {"extra=a+b", "limit=3", "pageSize=2"} < set(url.query.split("&"))


@pytest.mark.parametrize("path", [FIRST_PAGE, f"{LISTING}/x", f"{LISTING}/x/preview"])
@pytest.mark.parametrize("key", [None, "", "another"])
def test_key_is_required(sandbox: Sandbox, path: str, key: str | None) -> None:
    answer = ask(sandbox.port, path, key=key)
    assert answer.status == 401
    assert set(answer.json()) == {"detail"}
    sandbox.keys.add("another")
    assert ask(sandbox.port, FIRST_PAGE, key="another").status == 200


def test_cursor_must_be_its_own(sandbox: Sandbox) -> None:
    for cursor in ("x", "%00", "bz0tMQ==", "cD0x"):
        assert ask(sandbox.port, f"{LISTING}?cursor={cursor}").status == 404


def test_filters(sandbox: Sandbox) -> None:
    def kept(query: str) -> list[Any]:
        return read_voices(sandbox.port, f"{LISTING}?pageSize=7&{query}")

    private = [v for v in sandbox.voices if v["ownership"] == "private"]
    assert kept("ownership=private") == private
    external = kept("billingStyle=VOICE_BILLING_STYLE_EXTERNAL")
    assert external
    assert all(v["billingStyle"] == "VOICE_BILLING_STYLE_EXTERNAL" for v in external)
    both = kept("provider=lmnt&provider=eleven_labs")
    assert {v["provider"] for v in both} == {"LMNT", "Eleven Labs"}
    tags = [v["primaryLanguage"] for v in kept("primaryLanguage=pt-PT")]
    assert set(tags) == {"pt-PT", "pt-BR"}
    assert tags == sorted(tags, reverse=True)
    assert kept("search=AM%C3%89LIE")[0]["name"] == "Amélie"
    assert kept("search=nobody+has+this+name") == []
    assert ask(sandbox.port, f"{LISTING}?ownership=ours").status == 400
    assert ask(sandbox.port, f"{LISTING}?provider=acme").json() == {
        "provider": ["Select a valid choice. acme is not one of the available choices."]
    }


def test_one_voice(sandbox: Sandbox) -> None:
    voice = sandbox.voices[17]
    assert ask(sandbox.port, f"{LISTING}/{voice['voiceId']}").json() == voice
    assert ask(sandbox.port, f"{LISTING}/00000000-0000-0000-0000-000000000000").status == 404


def test_unknown_paths_and_methods(sandbox: Sandbox) -> None:
    assert ask(sandbox.port, "/").json() == {"detail": "Not found."}
    assert ask(sandbox.port, "/audio/unknown.wav").status == 404
    answer = ask(sandbox.port, FIRST_PAGE, method="POST", body={"name": "x" * 100_000})
    assert (answer.status, answer.headers["Allow"]) == (405, "GET, HEAD")


def test_head_is_get_without_the_body(sandbox: Sandbox) -> None:
    voice = sandbox.voices[0]
    for target in (FIRST_PAGE, f"{LISTING}/{voice['voiceId']}", "/nothing"):
        head, get = (ask(sandbox.port, target, method=method) for method in ("HEAD", "GET"))
        assert (head.status, head.body) == (get.status, b"")
        assert int(head.headers["Content-Length"]) == len(get.body)


def test_a_body_does_not_disturb_the_next_request(sandbox: Sandbox) -> None:
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", sandbox.port)) as connection:
        for _ in range(3):
            connection.request("GET", FIRST_PAGE, b"x" * 200_000, {"X-API-Key": API_KEY})
            assert Answer(connection.getresponse()).status == 200
    assert sandbox.connections == 1


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET / HTTP/2\r\n\r\n",
        b"GET / HTTP/1.1\r\nno colon\r\n\r\n",
        b"GET / HTTP/1.1\r\nContent-Length: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"GET /" + b"x" * 70_000,
    ],
)
def test_what_is_no_request_is_refused(sandbox: Sandbox, request_bytes: bytes) -> None:
    with socket.create_connection(("127.0.0.1", sandbox.port), 10) as client:
        client.sendall(request_bytes)
        assert client.recv(65536).startswith(b"HTTP/1.1 400 ")
    sandbox.wait_until(lambda: sandbox.open_connections == 0)


@pytest.mark.parametrize("version", ["HTTP/1.0", "HTTP/1.1"])
def test_connection_is_closed_when_the_client_asks(sandbox: Sandbox, version: str) -> None:
    fields = f"X-API-Key: {API_KEY}\r\n" + "Connection: close\r\n" * (version == "HTTP/1.1")
    with socket.create_connection(("127.0.0.1", sandbox.port), 10) as client:
        client.sendall(f"GET {FIRST_PAGE} {version}\r\n{fields}\r\n".encode())
        with client.makefile("rb") as answer:
            head, _, body = answer.read().partition(b"\r\n\r\n")
    assert b"\r\nConnection: close" in head
    assert len(json.loads(body)["results"]) == 100


def test_previews_are_audio(sandbox: Sandbox) -> None:
    kinds = Counter[str]()
    sounds = set()
    for voice in sandbox.voices[:40]:
        path = f"{LISTING}/{voice['voiceId']}/preview"
        public = f"/audio/{voice['voiceId']}.wav"
        assert voice["previewUrl"] in (sandbox.url + path, sandbox.url + public)
        answer = ask(sandbox.port, path)
        kind = answer.headers["Content-Type"]
        if answer.status == 302:
            kind = "redirect"
            assert answer.headers["Location"] == sandbox.url + public
        kinds[kind] += 1
        if kind == "text/plain":
            frames = re.findall(rb"\xff\xfb\x50\xc4.{204}", answer.body, re.DOTALL)
            assert b"".join(frames) == answer.body
            continue
        sound = ask(sandbox.port, public, key=None).body
        assert kind == "redirect" or sound == answer.body
        sounds.add(sound)
        with wave.open(io.BytesIO(sound)) as recording:
            assert (recording.getnchannels(), recording.getsampwidth()) == (1, 2)
            assert 0.5 < recording.getnframes() / recording.getframerate() < 2
            samples = memoryview(recording.readframes(-1)).cast("h")
            assert max(samples) > 8_000
            assert samples[0] == samples[-1] == 0
    assert kinds.keys() == {"audio/wav", "redirect", "text/plain"}
    assert len(sounds) == kinds["audio/wav"] + kinds["redirect"]


# What a test does with it


def test_requests_are_recorded(sandbox: Sandbox) -> None:
    before = time.monotonic()
    ask(sandbox.port, f"{LISTING}?cursor=&pageSize=3", key="wrong")
    ask(sandbox.port, "/audio/x.wav", method="HEAD")
    first, second = sandbox.requests
    assert sandbox.listings == [first]
    assert (first.method, first.path) == ("GET", LISTING)
    assert first.target == f"{LISTING}?cursor=&pageSize=3"
    assert first.query == {"cursor": "", "pageSize": "3"}
    assert first.headers["x-api-key"] == "wrong"
    assert before < first.at < second.at < time.monotonic()
    sandbox.reset()
    assert (sandbox.requests, sandbox.connections) == ([], 0)


def test_replaced_voices_are_served_at_once(sandbox: Sandbox) -> None:
    read_voices(sandbox.port)
    sandbox.voices = [{"voiceId": "one", "name": "half \ud83e"}, None]
    assert read_voices(sandbox.port) == [{"voiceId": "one", "name": "half \ud83e"}, None]
    sandbox.voices.append({"voiceId": "two"})
    sandbox.voices[0]["name"] = "Changed in place"
    assert [v and v["voiceId"] for v in read_voices(sandbox.port)] == ["one", None, "two"]
    assert read_voices(sandbox.port)[0]["name"] == "Changed in place"


def test_listings_are_held_until_released(sandbox: Sandbox) -> None:
    sandbox.hold_after(2)
    pages: list[Any] = []
    client = threading.Thread(target=lambda: pages.extend(read_pages(sandbox.port)))
    client.start()
    sandbox.wait_until(lambda: sandbox.held == 1)
    assert len(sandbox.listings) == 3
    sandbox.release()
    client.join(10)
    assert [len(page["results"]) for page in pages] == [100, 100, 100]
    assert sandbox.held == 0


def test_a_held_client_may_leave(sandbox: Sandbox) -> None:
    sandbox.hold_after(0)
    with pytest.raises(TimeoutError):
        ask(sandbox.port, FIRST_PAGE, timeout=0.05)
    sandbox.wait_until(lambda: sandbox.held == 0 and sandbox.open_connections == 0)


def test_waiting_ends_with_an_error(sandbox: Sandbox) -> None:
    ask(sandbox.port, FIRST_PAGE)
    sandbox.wait_for_requests(1)
    with pytest.raises(TimeoutError):
        sandbox.wait_for_requests(2, timeout=0.01)


def test_latency_is_waited_for_each_page(sandbox: Sandbox) -> None:
    sandbox.latency = 0.05
    start = time.monotonic()
    read_voices(sandbox.port)
    assert time.monotonic() - start >= 0.15


def test_fault_may_be_a_function(sandbox: Sandbox) -> None:
    seen = []

    def refuse_second(exchange: Exchange) -> None:
        seen.append((exchange.n, exchange.attempt, exchange.offset, exchange.page_size))
        if exchange.n == 2:
            exchange.reply(503, {"detail": "busy"}, headers={"Retry-After": "7"})
        else:
            exchange.normal()

    ask(sandbox.port, FIRST_PAGE)
    sandbox.fault = refuse_second
    answers = [ask(sandbox.port, FIRST_PAGE) for _ in range(3)]
    assert [answer.status for answer in answers] == [200, 503, 200]
    assert answers[1].headers["Retry-After"] == "7"
    assert seen == [(1, 1, 0, 100), (2, 2, 0, 100), (3, 3, 0, 100)]
    with pytest.raises(ValueError, match="no fault named"):
        sandbox.fault = "nonsense"


def test_it_starts_again_on_the_same_port() -> None:
    sandbox = Sandbox(count=3)
    with sandbox:
        port, voices = sandbox.port, read_voices(sandbox.port)
    with pytest.raises(ConnectionRefusedError):
        ask(port, FIRST_PAGE)
    with sandbox:
        assert read_voices(port) == voices


def test_stopping_ends_hung_and_idle_connections() -> None:
    with Sandbox() as sandbox:
        sandbox.fault = "hang"
        idle = socket.create_connection(("127.0.0.1", sandbox.port), 10)
        hung = socket.create_connection(("127.0.0.1", sandbox.port), 10)
        hung.sendall(f"GET {FIRST_PAGE} HTTP/1.1\r\n\r\n".encode())
        sandbox.wait_until(lambda: sandbox.open_connections == 2 and len(sandbox.requests) == 1)
    with idle, hung:
        assert idle.recv(1) == hung.recv(1) == b""
    assert sandbox_threads() == []


# The control endpoint


def test_control_changes_and_tells(sandbox: Sandbox) -> None:
    def put(**changes: Any) -> Answer:
        return ask(sandbox.port, "/_sandbox", method="PUT", body=changes)

    state = put(fault="status_500_always", latency=0.001, keys=["k"], voices=7).json()
    assert (state["fault"], state["latency"], state["voices"]) == ("status_500_always", 0.001, 7)
    assert ask(sandbox.port, FIRST_PAGE, key="k").status == 500
    assert put(fault=None, voices=[{"voiceId": "x"}]).status == 200
    assert ask(sandbox.port, FIRST_PAGE, key="k").json()["results"] == [{"voiceId": "x"}]
    assert ask(sandbox.port, FIRST_PAGE).status == 401
    state = ask(sandbox.port, "/_sandbox").json()
    assert (state["requests"], state["listings"]) == (3, 3)
    state = ask(sandbox.port, "/_sandbox", method="DELETE").json()
    assert (state["requests"], state["listings"], state["fault"]) == (0, 0, None)


def test_control_holds_and_releases(sandbox: Sandbox) -> None:
    ask(sandbox.port, "/_sandbox", method="PUT", body={"hold_after": 0})
    answers: list[Answer] = []
    client = threading.Thread(target=lambda: answers.append(ask(sandbox.port, FIRST_PAGE)))
    client.start()
    sandbox.wait_until(lambda: sandbox.held == 1)
    assert ask(sandbox.port, "/_sandbox").json()["held"] == 1
    ask(sandbox.port, "/_sandbox", method="PUT", body={"release": True})
    client.join(10)
    assert answers[0].status == 200


@pytest.mark.parametrize(
    "body",
    [
        None,
        [],
        {"fault": "nonsense"},
        {"fault": 1},
        {"latency": -1},
        {"latency": "1"},
        {"keys": "k"},
        {"voices": -1},
        {"voices": True},
        {"voices": 2, "typo": 1},
        {"hold_after": "1"},
    ],
)
def test_control_refuses_what_it_does_not_know(sandbox: Sandbox, body: Any) -> None:
    answer = ask(sandbox.port, "/_sandbox", method="PUT", body=body)
    assert answer.status == 400
    assert len(sandbox.voices) == 300


def test_control_is_reached_in_spite_of_any_fault(sandbox: Sandbox) -> None:
    sandbox.fault = "reset_on_connect"
    with pytest.raises(ConnectionError):
        ask(sandbox.port, FIRST_PAGE)
    assert sandbox.requests == []
    assert ask(sandbox.port, "/_sandbox", method="DELETE").status == 200
    assert ask(sandbox.port, FIRST_PAGE).status == 200


# Faults


def test_faults_are_many_and_described() -> None:
    assert len(FAULTS) >= 70
    for name, fault in FAULTS.items():
        assert fault.name == name
        assert re.fullmatch(r"[a-z0-9_]+", name)
        assert re.fullmatch(r"[A-Z].*\.", fault.does, re.DOTALL), name
        assert "\n" not in fault.does
        assert fault.expect in ("synced", "skipped", "ultravox_error")
        assert (fault.skipped > 0) == (fault.expect == "skipped")
        assert fault.synced(10) == (0 if fault.expect == "ultravox_error" else 10 + fault.extra), (
            name
        )
    assert len({fault.does for fault in FAULTS.values()}) == len(FAULTS)


def visit(sandbox: Sandbox, target: str) -> None:
    """Ask for a page as a client does that leaves soon, whatever it gets."""
    end = time.monotonic() + 0.1
    with socket.create_connection(("127.0.0.1", sandbox.port), 0.05) as client:
        fields = f"Host: 127.0.0.1:{sandbox.port}\r\nX-API-Key: {API_KEY}\r\nConnection: close\r\n"
        with contextlib.suppress(OSError):
            client.sendall(f"GET {target} HTTP/1.1\r\n{fields}\r\n".encode())
            while time.monotonic() < end and client.recv(1 << 18):
                pass


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_fault_leaves_nothing_behind(fault: Fault) -> None:
    with Sandbox(count=5, max_page_size=2) as sandbox:
        following = sandbox.listing.page(sandbox.url, [("pageSize", "100")])
        sandbox.fault = fault.name
        sandbox.drip_interval = 0.01
        for target in (FIRST_PAGE, target_of(json.loads(following)["next"]), FIRST_PAGE):
            visit(sandbox, target)
        sandbox.wait_until(lambda: sandbox.open_connections == 0)
        # One more stays until the sandbox stops.
        with socket.create_connection(("127.0.0.1", sandbox.port), 10) as client:
            client.sendall(f"GET {FIRST_PAGE} HTTP/1.1\r\n\r\n".encode())
            sandbox.wait_until(lambda: sandbox.connections == 4)
            sandbox.stop()
        assert sandbox.decoy.connections == 0
    assert sandbox.open_connections == 0
    assert sandbox_threads() == []


def test_decoy_counts_who_comes(sandbox: Sandbox) -> None:
    sandbox.fault = "next_other_port"
    url = ask(sandbox.port, FIRST_PAGE).json()["next"]
    assert url.startswith(sandbox.decoy.url)
    assert ask(sandbox.decoy.port, target_of(url), key="leaked").json()["results"]
    sandbox.wait_until(lambda: sandbox.decoy.connections == 1)
    assert b"leaked" in sandbox.decoy.received[0]
    sandbox.reset()
    assert sandbox.decoy.connections == 0


def test_bombs_are_small_on_the_wire(sandbox: Sandbox) -> None:
    sandbox.fault = "body_gzip_bomb"
    answer = ask(sandbox.port, FIRST_PAGE)
    assert answer.headers["Content-Encoding"] == "gzip"
    assert len(answer.body) < 1 << 20


# The command


@contextlib.contextmanager
def command(*arguments: str) -> Iterator[tuple[subprocess.Popen[str], list[str]]]:
    """Run the sandbox as a command; give its process and what it prints at its start."""
    process = subprocess.Popen(
        [sys.executable, "-m", "sandbox", *arguments],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            assert process.stdout is not None
            lines: list[str] = []
            while not lines or "Ctrl-C" not in lines[-1]:
                line = process.stdout.readline()
                assert line, process.stderr and process.stderr.read()
                lines.append(line)
            yield process, lines
        finally:
            process.kill()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_command_serves_until_it_is_told_to_end(number: signal.Signals) -> None:
    options = ("--port", "0", "--key", "a", "--key", "b", "--voices", "120", "--latency", "5")
    with command(*options) as (process, lines):
        text = "".join(lines)
        url = re.search(r"URL +(http://127\.0\.0\.1:(\d+))\n", text)
        assert url
        assert "a, b" in text
        assert f"curl -H 'X-API-Key: a' '{url[1]}/api/voices?pageSize=3'" in text
        port = int(url[2])
        assert ask(port, FIRST_PAGE).status == 401
        assert sum(len(page["results"]) for page in read_pages(port, key="b")) == 120
        assert ask(port, "/_sandbox").json()["latency"] == 0.005
        with socket.create_connection(("127.0.0.1", port), 10):
            process.send_signal(number)
            assert process.wait(10) == 0
        assert process.stderr
        assert process.stderr.read() == ""


def test_command_misbehaves_when_told() -> None:
    with command("--port", "0", "--fault", "status_503_always") as (_, lines):
        assert any("status_503_always" in line for line in lines)
        port = re.search(r":(\d+)\n", "".join(lines))
        assert port
        assert ask(int(port[1]), FIRST_PAGE).status == 503


def test_command_says_that_its_port_is_taken(sandbox: Sandbox) -> None:
    result = run("--port", str(sandbox.port))
    assert (result.returncode, result.stdout) == (1, "")
    assert len(result.stderr.splitlines()) == 1
    assert "taken: choose another with --port" in result.stderr


def test_command_lists_the_faults() -> None:
    result = run("--list-faults")
    assert result.returncode == 0
    assert all(fault.does in result.stdout for fault in FAULTS.values())


@pytest.mark.parametrize(
    "arguments",
    [("--fault", "nonsense"), ("--port", "70000"), ("--voices", "-1"), ("--latency", "long")],
)
def test_command_refuses_wrong_arguments(arguments: tuple[str, str]) -> None:
    result = run(*arguments)
    assert result.returncode == 2
    assert "Traceback" not in result.stderr


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "sandbox", *arguments],
        cwd=ROOT, capture_output=True, text=True, timeout=30,
    )  # fmt: skip
