"""The web server in production: nginx in front of gunicorn."""

import contextlib
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple, Self
from urllib.parse import urlsplit

import pytest
import requests

from tests.support.environment import PASSWORD, SERVICE_KEY
from tests.support.nginx import CONFIGURATION, Nginx
from tests.support.project import (
    Database,
    Project,
    children,
    free_port,
    on_sqlite,
    own_project,
    wait_for,
)
from tests.support.seeding import add_agency, add_user
from tests.support.tools import find
from tests.ultravox import Ultravox
from voiceproject.errors import ERRORS

pytestmark = on_sqlite  # about no database

SYNC, TOKEN, LOGIN = "/api/voices/sync/", "/api/token/", "/admin/login/"
HTTPS = {"DJANGO_HTTPS": "true", "DJANGO_TRUSTED_PROXIES": "1"}
SECRET = "a-secret-in-a-request"
MB = 1_000_000

Response = tuple[int, http.client.HTTPMessage, bytes]


class Site(NamedTuple):
    project: Project
    web: str  # gunicorn's URL
    nginx: Nginx
    ultravox: Ultravox

    @property
    def url(self) -> str:
        return self.nginx.url


@contextlib.contextmanager
def running_site(template: Database, folder: Path) -> Iterator[Site]:
    with (
        Ultravox(count=3) as ultravox,
        own_project(template, folder, ULTRAVOX_API_URL=ultravox.url, **HTTPS) as project,
    ):
        add_user(project, add_agency(project), is_staff=True, is_superuser=True)
        web = project.serve()
        with Nginx(web, folder) as nginx:
            yield Site(project, web, nginx, ultravox)


@pytest.fixture(scope="module")
def site(migrated: Database, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with running_site(migrated, tmp_path_factory.mktemp("site")) as site:
        yield site


@pytest.fixture(scope="module")
def no_upstream(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nginx]:
    """nginx while gunicorn is down."""
    folder = tmp_path_factory.mktemp("no-upstream")
    with Nginx(f"http://127.0.0.1:{free_port()}", folder) as nginx:
        yield nginx


# Requests


def head(target: str = SYNC, *fields: bytes, method: bytes = b"POST") -> bytes:
    """Return the request line and headers of a request."""
    line = b"%s %s HTTP/1.1" % (method, target.encode())
    return b"\r\n".join((line, b"Host: localhost", *fields, b"", b""))


def with_body(body: bytes, *fields: bytes, target: str = TOKEN) -> bytes:
    length = b"Content-Length: %d" % len(body)
    return head(target, b"Content-Type: application/json", length, *fields) + body


CHUNKED, LAST_CHUNK = b"Transfer-Encoding: chunked", b"0\r\n\r\n"
KEY = b"apikey: " + SERVICE_KEY.encode()


class Client:
    """One connection."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self.socket = socket.create_connection((parts.hostname, parts.port), timeout=60)
        self.stream = self.socket.makefile("rb")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.stream.close()
        self.socket.close()

    def send(self, request: bytes) -> None:
        with contextlib.suppress(ConnectionError):  # nginx may respond and close before the end
            self.socket.sendall(request)

    def receive(self) -> Response:
        """Return status, headers and body of the next response."""
        status = int(self.stream.readline().split()[1])
        headers = http.client.parse_headers(self.stream)
        return status, headers, self.stream.read(int(headers["Content-Length"]))


def exchange(url: str, request: bytes) -> Response:
    with Client(url) as client:
        client.send(request)
        return client.receive()


def assert_error(response: Response, status: int, code: str) -> None:
    assert response[0] == status, response
    assert response[1]["Content-Type"] == "application/json"
    assert response[1]["Server"] == "nginx"  # no version
    body = json.loads(response[2])
    assert list(body) == ["success", "code", "message"]
    assert (body["success"], body["code"]) == (False, code)


def assert_synced(url: str, request: bytes = head(SYNC, KEY)) -> None:
    status, _, body = exchange(url, request)
    assert (status, json.loads(body)["success"]) == (200, True)


# Routing, limits and errors


def test_nginx_accepts_the_configuration(no_upstream: Nginx) -> None:
    lines = no_upstream.check().strip().splitlines()
    assert [line for line in lines if " is ok" not in line and " is successful" not in line] == []


def test_errors_of_nginx_are_those_of_the_application() -> None:
    pairs = re.findall(r"^\s+(\d{3}|default) '({.*})';$", CONFIGURATION, re.MULTILINE)
    assert len(pairs) == 7
    for status, text in pairs:
        body = json.loads(text.replace(r"\'", "'"))
        error = ERRORS[body["code"]]
        expected = {"success": False, "code": error.code, "message": error.sentence}
        assert (body, int(status.replace("default", "500"))) == (expected, error.status)


INVALID = (400, "invalid_request")
ERRORS_BY_REQUEST = {
    head("/nothing"): (404, "not_found"),
    head("/error.json"): (404, "not_found"),
    head(method=b"TRACE"): (405, "method_not_allowed"),
    # malformed
    head(method=b"<>"): INVALID,
    head(method=b"A" * 3000): INVALID,
    head("/grüße"): INVALID,
    head(SYNC, b"Authorization: Bearer a\x7f"): INVALID,
    head(SYNC, b"Transfer-Encoding: gzip"): INVALID,
    head(SYNC, b"Content-Length: 5", CHUNKED) + LAST_CHUNK: INVALID,
    # limits
    head("/" + "a" * 60_000): (404, "not_found"),
    head("/" + "a" * 70_000): (414, "address_too_long"),
    head(SYNC, b"X: " + b"a" * 70_000): (431, "header_too_large"),
    head(SYNC, *[b"X: " + b"a" * 7000] * 10): (431, "header_too_large"),
    with_body(b" " * 20 * MB, target=SYNC): (413, "body_too_large"),
    with_body(b"a" * 10 * MB, target=SYNC): (401, "not_authenticated"),
}
ACCEPTED = [
    with_body(b"a" * 10 * MB, KEY, target=SYNC),
    head(SYNC, KEY, CHUNKED) + b"2\r\n{}\r\n" + LAST_CHUNK,
    head(SYNC, KEY).replace(b"HTTP/1.1", b"HTTP/1.0"),
    head(SYNC, KEY, *[b"X-%d: a" % n for n in range(900)]),
    head(SYNC, KEY, b"X: " + b"a" * 60_000),
    head(SYNC, KEY, b"Script_Name: /x"),
]


@pytest.mark.parametrize("request_", ERRORS_BY_REQUEST, ids=lambda sent: repr(sent)[:60])
def test_error_is_json(site: Site, request_: bytes) -> None:
    response = exchange(site.url, request_)
    assert_error(response, *ERRORS_BY_REQUEST[request_])
    assert response[0] != 405 or response[1]["Allow"]


@pytest.mark.entry_point
def test_sync(site: Site) -> None:
    assert_synced(site.url)


@pytest.mark.parametrize("request_", ACCEPTED, ids=lambda sent: repr(sent)[:60])
def test_unusual_request_is_accepted(site: Site, request_: bytes) -> None:
    assert_synced(site.url, request_)


def test_slow_clients_block_no_one(site: Site, tmp_path: Path) -> None:
    limits = ("client_header_timeout", "client_body_timeout")
    shorter = {f"{name} 10s": f"{name} 3s" for name in limits}
    body = with_body(b'{"email": "x", "password": "y"}')
    parts = [b"", head()[:30], body[:-1], body[: body.index(b"{") + 1]]
    with Nginx(site.web, tmp_path, shorter) as nginx, contextlib.ExitStack() as stack:
        began = time.monotonic()
        slow = [stack.enter_context(Client(nginx.url)) for _ in range(200)]
        for number, client in enumerate(slow):
            client.send(parts[number % len(parts)])
        assert_synced(nginx.url)
        assert time.monotonic() - began < 3  # the slow clients are still connected
        for client in slow:
            with contextlib.suppress(ConnectionResetError):
                assert client.stream.read(1) == b""  # nginx closes without a response


# nginx and its upstream


class Upstream:
    """A server that records requests, and closes the connection instead of sending an empty response."""

    def __init__(self, *responses: bytes) -> None:
        self.responses, self.requests = list(responses), list[str]()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            connection, _ = self._listener.accept()
            with connection:
                while request := connection.recv(100_000):
                    self.requests.append(request.decode())
                    if not self.responses or not (response := self.responses.pop(0)):
                        break
                    connection.sendall(response)


OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"


def test_application_sees_the_clients_request_and_the_proxys_claims(tmp_path: Path) -> None:
    upstream = Upstream(OK)
    fields = [
        b"X-Forwarded-For: 192.0.2.1",
        b"X_Forwarded_For: 192.0.2.1",
        b"X-Forwarded-Proto: https",
        b"Host: voices.example.com:8443",
        b"Content-Type: text/plain",
        b"Upgrade: h2c",
        b"Apikey: one",
        b"X-Request-ID: one",
        CHUNKED,
    ]
    request = head("/a%2Fb//c/../d?e=%2F", *fields).replace(b"Host: localhost\r\n", b"")
    with Nginx(upstream.url, tmp_path) as nginx:
        assert exchange(nginx.url, request + b"2\r\n{}\r\n" + LAST_CHUNK)[0] == 200
    line, *headers = upstream.requests[0].removesuffix("\r\n\r\n{}").split("\r\n")
    assert line == "POST /a%2Fb//c/../d?e=%2F HTTP/1.1"
    assert sorted(headers) == [
        "Apikey: one",
        "Content-Length: 2",
        "Content-Type: text/plain",
        "Host: voices.example.com:8443",
        "X-Forwarded-For: 127.0.0.1",
        "X-Forwarded-Proto: http",
        "X-Request-ID: one",
    ]


def test_post_is_never_repeated(tmp_path: Path) -> None:
    """nginx repeats a GET if the upstream closes the connection."""
    upstream = Upstream(OK, b"", OK, b"", OK)
    with Nginx(upstream.url, tmp_path) as nginx, Client(nginx.url) as client:
        for method, status in ((b"POST", 200), (b"POST", 503), (b"GET", 200), (b"GET", 200)):
            client.send(head("/x", b"Content-Length: 0", method=method))
            assert client.receive()[0] == status
    assert [request.split()[0] for request in upstream.requests] == ["POST"] * 2 + ["GET"] * 3


def test_gunicorn_is_down(no_upstream: Nginx) -> None:
    response = exchange(no_upstream.url, head(SYNC, b"X-Request-ID: mine"))
    assert_error(response, 503, "unavailable")
    assert response[1]["Retry-After"] == "10"
    assert response[1]["X-Request-ID"] == "mine"


@pytest.mark.parametrize(
    ("sent", "expected"), [("of-the_Client-1", "of-the_Client-1"), ("not valid", "[0-9a-f]{32}")]
)
def test_request_id_is_in_the_response_and_both_logs(site: Site, sent: str, expected: str) -> None:
    response = requests.get(f"{site.url}/nothing", headers={"X-Request-ID": sent}, timeout=10)
    request_id = response.headers["X-Request-ID"]
    assert re.fullmatch(expected, request_id)
    wait_for(lambda: f"request {request_id} " in site.nginx.logs())
    wait_for(lambda: f"[request {request_id}]" in site.project.log("web"))


def test_logs_contain_no_secrets(site: Site, no_upstream: Nginx) -> None:
    secret = SECRET.encode()
    names = (b"apikey: ", b"Authorization: Bearer ", b"Cookie: a=", b"Referer: http://a.example/?")
    malformed = (b"apikey ", b"apikey : ", b" ", b"apikey: a\0", b"Transfer-Encoding: ", b"Host: ")
    for url in (site.url, site.web, no_upstream.url):
        fields = [name + secret for name in names]
        exchange(url, head(f"/nothing?signature={SECRET}", *fields))
        for name in malformed:
            exchange(url, head("/nothing", name + secret))
        exchange(url, head("/nothing", method=secret))
        exchange(url, head(f"/ä?{SECRET}"))
    wait_for(lambda: "POST /nothing" in site.nginx.logs() and "POST /nothing" in no_upstream.logs())
    assert SECRET not in site.nginx.logs() + no_upstream.logs() + site.project.log("web")


# Browsers

HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Strict-Transport-Security": "max-age=31536000",
    "Content-Security-Policy": (
        "default-src 'self'; img-src 'self' data:; object-src 'none'; media-src 'self' https:;"
        " base-uri 'self'; form-action 'self'; frame-ancestors 'none'"
    ),
}


@pytest.fixture
def browser(site: Site) -> Iterator[requests.Session]:
    with requests.Session() as browser:
        browser.trust_env = False  # REQUESTS_CA_BUNDLE would win over `verify`
        browser.verify = str(site.nginx.certificate)
        yield browser


def test_page_redirects_to_https(site: Site) -> None:
    for headers in ({}, {"X-Forwarded-Proto": "https"}):
        response = requests.get(
            f"{site.url}{LOGIN}?x=1", headers=headers, allow_redirects=False, timeout=10
        )
        assert response.status_code == 301
        expected = f"{site.url}{LOGIN}?x=1".replace("http:", "https:")
        assert response.headers["Location"] == expected


@pytest.mark.parametrize("path", [LOGIN, SYNC, "/nothing"])
def test_security_headers(site: Site, browser: requests.Session, path: str) -> None:
    response = browser.get(site.nginx.https_url + path)
    for name, value in HEADERS.items():
        parts = {part.strip() for part in response.headers[name].split(";")}
        assert parts == {part.strip() for part in value.split(";")}, name


def test_cookies_are_secure(site: Site, browser: requests.Session) -> None:
    url = site.nginx.https_url + LOGIN
    token = browser.get(url).cookies["csrftoken"]
    form = {"csrfmiddlewaretoken": token, "username": "user@example.com", "password": PASSWORD}
    response = browser.post(url, data=form, headers={"Referer": url}, allow_redirects=False)
    assert response.status_code == 302
    cookies = dict(line.split("=", 1) for line in response.raw.headers.getlist("Set-Cookie"))
    assert set(cookies) == {"csrftoken", "sessionid"}
    assert all("; Secure" in rest and "; SameSite=Lax" in rest for rest in cookies.values())
    assert "; HttpOnly" in cookies["sessionid"]


def test_only_public_files_are_compressed(site: Site, browser: requests.Session) -> None:
    for path in ("/static/admin/css/base.css", LOGIN, "/api/schema/"):
        response = browser.get(site.nginx.https_url + path)
        assert (response.status_code, len(response.content) > 2000) == (200, True)
        assert ("Content-Encoding" in response.headers) is path.startswith("/static/")


def test_http_2_limits_the_body(site: Site) -> None:
    command = [find("curl"), "-s", "-H", "Expect:", "--cacert", str(site.nginx.certificate)]
    command += ["-w", " %{http_version} %{http_code}", "--data-binary", "@-"]
    command += [site.nginx.https_url + TOKEN]
    done = subprocess.run(command, input=b"a" * 20 * MB, capture_output=True, check=True)
    body, *rest = done.stdout.decode().rsplit(" ", 2)
    assert (rest, json.loads(body)["code"]) == (["2", "413"], "body_too_large")


# Restarts


def test_reload_loses_no_request(site: Site) -> None:
    """The syncs take 0.1 seconds each, so that every reload interrupts some."""
    reloaded, statuses = threading.Event(), list[int]()

    def sync_repeatedly() -> None:
        while not reloaded.is_set():
            statuses.append(exchange(site.url, head(SYNC, KEY, b"Connection: close"))[0])

    site.ultravox.latency = 0.1
    with ThreadPoolExecutor(10) as pool:
        callers = [pool.submit(sync_repeatedly) for _ in range(10)]
        try:
            for process in (site.nginx.process, site.project.server):
                before, count = set(children(process.pid)), len(statuses)
                os.kill(process.pid, signal.SIGHUP)
                wait_for(lambda p=process, b=before: not b & set(children(p.pid)), 40)
                wait_for(lambda c=count: len(statuses) > c + 20)
        finally:
            reloaded.set()
            site.ultravox.latency = 0
    for caller in callers:
        caller.result()
    assert set(statuses) == {200}


def test_sigterm_lets_syncs_finish(migrated: Database, tmp_path: Path) -> None:
    runs = "SELECT status, error_code FROM voice_sync_runs"
    with running_site(migrated, tmp_path) as site, contextlib.ExitStack() as stack:
        site.ultravox.hold_after(0)
        callers = [stack.enter_context(Client(site.url)) for _ in range(5)]
        for caller in callers:
            caller.send(head(SYNC, KEY))
        site.ultravox.wait_until(lambda: site.ultravox.held > 0, 20)
        wait_for(lambda: site.project.log("web").count("Waiting for run") == 4)
        site.project.server.send_signal(signal.SIGTERM)
        wait_for(lambda: "Handling signal: term" in site.project.log("web"))
        site.ultravox.release()
        for caller in callers:
            status, _, body = caller.receive()
            assert (status, json.loads(body)["stats"]) == (200, {"synced": 3})
        assert site.project.server.wait(20) == 0
        assert site.project.database.rows(runs) == [("succeeded", "")]
