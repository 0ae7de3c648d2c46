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
from typing import NamedTuple
from urllib.parse import urlsplit

import pytest
import requests

from tests.support.environment import PASSWORD, SERVICE_KEY
from tests.support.listener import Listener
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

SYNC, LOGIN = "/api/voices/sync/", "/admin/login/"
HTTPS = {"DJANGO_HTTPS": "true", "DJANGO_TRUSTED_PROXIES": "1"}
SECRET = "a-secret-in-a-request"
MB = 1_000_000

Response = tuple[int, http.client.HTTPMessage, bytes]


class Site(NamedTuple):
    project: Project
    web: str  # gunicorn's URL
    server: subprocess.Popen[str]  # gunicorn
    nginx: Nginx
    ultravox: Ultravox

    @property
    def url(self) -> str:
        return self.nginx.url


@pytest.fixture(scope="module")
def site(migrated: Database, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("site")
    with (
        Ultravox(count=3) as ultravox,
        own_project(migrated, folder, ULTRAVOX_API_URL=ultravox.url, **HTTPS) as project,
    ):
        add_user(project, add_agency(project), is_staff=True, is_superuser=True)
        web = project.serve()
        with Nginx([web], folder) as nginx:
            yield Site(project, web, project.server, nginx, ultravox)


@pytest.fixture(scope="module")
def no_upstream(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nginx]:
    """nginx while gunicorn is down."""
    folder = tmp_path_factory.mktemp("no-upstream")
    with Nginx([f"http://127.0.0.1:{free_port()}"], folder) as nginx:
        yield nginx


# Requests


def head(target: str = SYNC, *fields: bytes, method: bytes = b"POST") -> bytes:
    """Return the request line and headers of a request."""
    line = b"%s %s HTTP/1.1" % (method, target.encode())
    return b"\r\n".join((line, b"Host: localhost", *fields, b"", b""))


def with_body(body: bytes, *fields: bytes) -> bytes:
    return head(SYNC, b"Content-Length: %d" % len(body), *fields) + body


CHUNKED, LAST_CHUNK = b"Transfer-Encoding: chunked", b"0\r\n\r\n"
KEY = b"apikey: " + SERVICE_KEY.encode()


def connect(url: str) -> socket.socket:
    parts = urlsplit(url)
    return socket.create_connection((parts.hostname, parts.port), timeout=60)


def exchange(url: str, request: bytes) -> Response:
    """Return status, headers and body of the response."""
    with connect(url) as connection:
        with contextlib.suppress(ConnectionError):  # nginx may respond and close before the end
            connection.sendall(request)
        response = http.client.HTTPResponse(connection)
        response.begin()
        return response.status, response.headers, response.read()


def assert_error(response: Response, status: int, code: str) -> None:
    assert response[0] == status, response
    assert response[1]["Content-Type"] == "application/json"
    assert response[1]["Server"] == "nginx"  # no version
    body = json.loads(response[2])
    assert list(body) == ["success", "code", "message"]
    assert (body["success"], body["code"]) == (False, code)


# Routing, limits and errors


def test_errors_of_nginx_are_those_of_the_application() -> None:
    pairs = re.findall(r"^\s+(\d{3}|default) '({.*})';$", CONFIGURATION, re.MULTILINE)
    assert len(pairs) == 7
    for status, text in pairs:
        body = json.loads(text.replace(r"\'", "'"))
        error = ERRORS[body["code"]]
        expected = {"success": False, "code": error.code, "message": error.sentence}
        assert (body, int(status.replace("default", "500"))) == (expected, error.status)


INVALID = (400, "invalid_request")
REJECTED = {
    head("/nothing"): (404, "not_found"),
    head(method=b"TRACE"): (405, "method_not_allowed"),
    # malformed
    head(method=b"<>"): INVALID,
    head("/grüße"): INVALID,
    head(SYNC, b"Authorization: Bearer a\x7f"): INVALID,
    head(SYNC, b"Transfer-Encoding: gzip"): INVALID,
    head(SYNC, b"Content-Length: 5", CHUNKED) + LAST_CHUNK: INVALID,
    # limits
    head("/" + "a" * 60_000): (404, "not_found"),
    head("/" + "a" * 70_000): (414, "address_too_long"),
    head(SYNC, *[b"X: " + b"a" * 7000] * 10): (431, "header_too_large"),
    with_body(b" " * 20 * MB): (413, "body_too_large"),
    with_body(b"a" * 10 * MB): (401, "not_authenticated"),
}
ACCEPTED = [
    pytest.param(head(SYNC, KEY), marks=pytest.mark.entry_point),
    with_body(b"a" * 10 * MB, KEY),
    head(SYNC, KEY, CHUNKED) + b"2\r\n{}\r\n" + LAST_CHUNK,
    head(SYNC, KEY, *[b"X-%d: a" % n for n in range(900)]),
    head(SYNC, KEY, b"X: " + b"a" * 60_000),
    head(SYNC, KEY, b"Script_Name: /x"),
]


@pytest.mark.parametrize("request_", REJECTED, ids=lambda sent: repr(sent)[:60])
def test_error_is_json(site: Site, request_: bytes) -> None:
    response = exchange(site.url, request_)
    assert_error(response, *REJECTED[request_])
    assert response[0] != 405 or response[1]["Allow"]


@pytest.mark.parametrize("request_", ACCEPTED, ids=lambda sent: repr(sent)[:60])
def test_sync(site: Site, request_: bytes) -> None:
    status, _, body = exchange(site.url, request_)
    assert (status, json.loads(body)["success"]) == (200, True)


def test_slow_clients_block_no_one(site: Site, tmp_path: Path) -> None:
    limits = ("client_header_timeout", "client_body_timeout")
    shorter = {f"{name} 10s": f"{name} 3s" for name in limits}
    body = with_body(b"{}")
    parts = [b"", head()[:30], body[:-1], body[: body.index(b"{") + 1]]
    with Nginx([site.web], tmp_path, shorter) as nginx, contextlib.ExitStack() as stack:
        began = time.monotonic()
        slow = [stack.enter_context(connect(nginx.url)) for _ in range(200)]
        for number, connection in enumerate(slow):
            connection.sendall(parts[number % len(parts)])
        assert exchange(nginx.url, head(SYNC, KEY))[0] == 200
        assert time.monotonic() - began < 3  # the slow clients are still connected
        for connection in slow:
            with contextlib.suppress(ConnectionResetError):
                assert connection.recv(1) == b""  # nginx closes without a response


# nginx and its upstream


def test_application_sees_the_clients_request_and_the_proxys_claims(tmp_path: Path) -> None:
    fields = [
        b"X-Forwarded-For: 192.0.2.1",
        b"X_Forwarded_For: 192.0.2.1",
        b"X-Forwarded-Proto: https",
        b"Content-Type: text/plain",
        b"Apikey: one",
        b"X-Request-ID: one",
        CHUNKED,
    ]
    target = "/a%2Fb//c/../d?e=%2F"
    with Listener() as upstream, Nginx([f"http://127.0.0.1:{upstream.port}"], tmp_path) as nginx:
        assert exchange(nginx.url, head(target, *fields) + b"2\r\n{}\r\n" + LAST_CHUNK)[0] == 200
    [(method, path, headers, body)] = upstream.requests
    assert (method, path, body) == ("POST", target, b"{}")
    assert sorted(headers.split("\n")[:-2]) == [
        "Apikey: one",
        "Content-Length: 2",
        "Content-Type: text/plain",
        "Host: localhost",
        "X-Forwarded-For: 127.0.0.1",
        "X-Forwarded-Proto: http",
        "X-Request-ID: one",
    ]


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


def test_login_over_https(site: Site) -> None:
    url = site.nginx.https_url + LOGIN
    with requests.Session() as browser:
        browser.trust_env = False  # REQUESTS_CA_BUNDLE would win over `verify`
        browser.verify = str(site.nginx.certificate)
        token = browser.get(url).cookies["csrftoken"]
        form = {"csrfmiddlewaretoken": token, "username": "user@example.com", "password": PASSWORD}
        response = browser.post(url, data=form, headers={"Referer": url}, allow_redirects=False)
    assert response.status_code == 302
    assert response.headers["Strict-Transport-Security"] == "max-age=31536000"
    cookies = dict(line.split("=", 1) for line in response.raw.headers.getlist("Set-Cookie"))
    assert set(cookies) == {"csrftoken", "sessionid"}
    assert all("; Secure" in rest and "; SameSite=Lax" in rest for rest in cookies.values())
    assert "; HttpOnly" in cookies["sessionid"]


def test_http_2_limits_the_body(site: Site) -> None:
    command = [find("curl"), "-s", "-H", "Expect:", "--cacert", str(site.nginx.certificate)]
    command += ["-w", " %{http_version} %{http_code}", "--data-binary", "@-"]
    command += [site.nginx.https_url + SYNC]
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
            for process in (site.nginx.process, site.server):
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


def test_sigterm_lets_syncs_finish(site: Site) -> None:
    project, ultravox = site.project, site.ultravox
    url, server = project.serve(), project.server
    waiting = project.log("web").count("Waiting for run")
    ultravox.hold_after(0)
    with ThreadPoolExecutor(5) as pool:
        callers = [pool.submit(exchange, url, head(SYNC, KEY)) for _ in range(5)]
        wait_for(lambda: project.log("web").count("Waiting for run") == waiting + 4)
        server.send_signal(signal.SIGTERM)
        wait_for(lambda: "Handling signal: term" in project.log("web"))
        ultravox.release()
        responses = [caller.result() for caller in callers]
    assert [json.loads(body)["stats"] for _, _, body in responses] == [{"synced": 3}] * 5
    assert server.wait(20) == 0
    newest = "SELECT status, error_code FROM voice_sync_runs ORDER BY id DESC LIMIT 1"
    assert project.database.rows(newest) == [("succeeded", "")]
