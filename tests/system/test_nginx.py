"""The web server as in production, nginx in front: what strangers send, what browsers are told, restarts."""

import contextlib
import http.client
import json
import os
import re
import runpy
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import pytest
import requests

from tests.support.environment import SERVICE_KEY
from tests.support.nginx import CONFIGURATION, Nginx
from tests.support.project import (
    ROOT,
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

pytestmark = on_sqlite  # or any database: nginx knows none

SYNC, TOKEN, LOGIN = "/api/voices/sync/", "/api/token/", "/admin/login/"
HOST = {"Host": "voices.example.com"}
PUBLIC = {
    "DJANGO_ALLOWED_HOSTS": "voices.example.com,127.0.0.1",
    "DJANGO_HTTPS": "true",
    "RATE_LIMIT_FAILED": "3/min",
    "WEB_CONCURRENCY": "1",
}
LATE = 10  # seconds that nginx waits for a client
MARKER = "a-marker-that-nobody-logs"

Answer = tuple[int, http.client.HTTPMessage, bytes]


class Site(NamedTuple):
    """A web server and the nginx in front of it."""

    project: Project
    web: str  # the address of gunicorn
    nginx: Nginx

    @property
    def url(self) -> str:
        return self.nginx.url


@contextlib.contextmanager
def serving(template: Database, folder: Path, **environment: str) -> Iterator[Site]:
    with own_project(template, folder, DJANGO_TRUSTED_PROXIES="1", **environment) as project:
        add_user(project, add_agency(project), is_staff=True, is_superuser=True)
        web = project.serve()
        with Nginx(web, folder) as nginx:
            yield Site(project, web, nginx)


@pytest.fixture(scope="module")
def site(migrated: Database, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A site with Ultravox behind it, whose pages do without HTTPS."""
    folder = tmp_path_factory.mktemp("site")
    with (
        Ultravox(count=3) as ultravox,
        serving(migrated, folder, ULTRAVOX_API_URL=ultravox.url) as site,
    ):
        yield site


@pytest.fixture(scope="module")
def public(migrated: Database, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with serving(migrated, tmp_path_factory.mktemp("public"), **PUBLIC) as site:
        yield site


@pytest.fixture
def busy(migrated: Database, tmp_path: Path, ultravox: Ultravox) -> Iterator[Site]:
    """A site of the test's own, whose syncs take as long as it likes."""
    with serving(migrated, tmp_path, ULTRAVOX_API_URL=ultravox.url) as site:
        yield site


# The configuration


def test_the_configuration_is_sound(site: Site) -> None:
    lines = site.nginx.check().strip().splitlines()
    assert [line for line in lines if " is ok" not in line and " is successful" not in line] == []
    text = CONFIGURATION.read_text()
    gunicorn = runpy.run_path(str(ROOT / "gunicorn.conf.py"))

    def seconds(name: str) -> int:
        return int(re.findall(rf"^\s*{name} (\d+)s;", text, re.MULTILINE)[0])

    assert gunicorn["keepalive"] > seconds("keepalive_timeout")
    assert seconds("proxy_read_timeout") > gunicorn["graceful_timeout"]
    assert seconds("client_header_timeout") == seconds("client_body_timeout") == LATE


def test_errors_have_the_words_of_the_application() -> None:
    """nginx answers 500 where it has no better word."""
    found = re.findall(r"^\s+(\d{3}|default) '({.*})';$", CONFIGURATION.read_text(), re.MULTILINE)
    assert len(found) == 7
    for status, text in found:
        error = json.loads(text.replace(r"\'", "'"))
        assert list(error) == ["success", "code", "message"]
        answer = (int(status.replace("default", "500")), error["message"])
        expected = ERRORS[error["code"]]
        assert answer == (expected.status, expected.sentence)


# What strangers send


def head(target: str | bytes = SYNC, *fields: bytes, method: bytes = b"POST") -> bytes:
    """Return the head of a request."""
    path = target.encode() if isinstance(target, str) else target
    lines = (method + b" " + path + b" HTTP/1.1", b"Host: localhost", *fields, b"", b"")
    return b"\r\n".join(lines)


def with_body(body: bytes, *fields: bytes, target: str = TOKEN) -> bytes:
    length = b"Content-Length: %d" % len(body)
    return head(target, b"Content-Type: application/json", length, *fields) + body


CHUNKED, END = b"Transfer-Encoding: chunked", b"0\r\n\r\n"
KEY = b"apikey: " + SERVICE_KEY.encode()
MB = 1_000_000


def like(version: bytes, request: bytes) -> bytes:
    return request.replace(b"HTTP/1.1", version)


def named(host: bytes, request: bytes) -> bytes:
    return request.replace(b"Host: localhost\r\n", host)


METHODS = {
    b"post": 400,
    b"PO ST": 400,
    b"<>": 400,
    b"A": 400,
    b"A" * 3000: 400,
    b"": 400,
    b"BREW": 405,
    b"M-SEARCH": 405,
    b"TRACE": 405,
}
TARGETS: dict[str | bytes, int] = {
    "": 400,
    "*": 400,
    "localhost:443": 400,
    "/a b": 400,
    b"/\0": 400,
    "/grüße": 400,
    "/static/grüße": 400,
    "/" + "a" * 5000: 404,
    "/" + "a" * 60_000: 404,
    "/" + "a" * 70_000: 414,
    "/?" + "a" * MB: 414,
    "http://a.example/nothing": 404,
    f"http://localhost{SYNC}": 401,
    "//a.example/admin/": 404,
    "/\\a.example/admin": 404,
    "/static/../../manage.py": 400,
    "/static/../manage.py": 404,
    "/static/%2e%2e/%2e%2e/.env": 400,
    "/%zz%": 400,
    "/%ff%c0%80": 404,
    f"{SYNC}?%zz=%ff&%00=%": 401,
    f"{SYNC}%00": 400,
    f"{SYNC}%0d%0a": 405,
    "/api%2ftoken%2f": 400,
    "/%ed%a0%80": 404,
    "/error.json": 404,
}
FIELDS = {
    b"X: a\rb": 400,
    b"apikey secret": 400,
    b": secret": 400,
    b"apikey : secret": 400,
    b"apikey: a\r\n b": 400,
    b"apikey: a\0b": 400,
    b"apikey: a\x01b": 400,
    b"\xe4pikey: secret": 401,
    b"Authorization: Bearer a\x7f": 400,
    b"Authorization: Bearer \xff\xfe.\x80.\x80": 401,
    b"Authorization: Bearer " + b"a" * 30_000: 401,
    b"apikey: " + b"a" * 30_000: 401,
    b"apikey: \xff\xfe": 401,
    b"Cookie: sessionid=\xff": 401,
    b"User-Agent: \xff\xfe": 401,
    b"Content-Type: a\r\nContent-Type: \xff": 401,
    b"Host: a.example": 400,
    b"X" * MB + b": a": 431,
    b"X: " + b"a" * 70_000: 431,
    b"\r\n".join([b"X: " + b"a" * 7000] * 10): 431,
    b"Authorization: Bearer " + b"a" * MB: 431,
    b"\r\n".join(b"X-%d: a" % n for n in range(10_000)): 431,
}
FRAMES = [  # of the bodies {} and none
    *(
        b"Content-Length: " + length
        for length in (b"2, 2", b"-1", b"+2", b"two", b"0x2", b"9" * 20)
    ),
    b"Content-Length: 2\r\nContent-Length: 3",
    b"Content-Length: 2\r\nContent-Length: 2",
    b"Content-Length: 5\r\n" + CHUNKED,
    CHUNKED + b"\r\nContent-Length: 5",
    CHUNKED + b"\r\n" + CHUNKED,
    CHUNKED + b", identity",
    CHUNKED + b", chunked",
    b"Transfer-Encoding: gzip",
    b"Transfer-Encoding: xchunked",
    b"Transfer-Encoding: \x0bchunked",
]
WHOLE = {
    like(b"HTTP/2.0", head()): 400,
    like(b"HTTP/9.9", head()): 400,
    like(b"ICAP/1.0", head()): 400,
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n": 400,
    bytes(range(1, 32)) + b"\r\n\r\n": 400,
    b"\xff\xfe\xfd" * 100 + b"\r\n\r\n": 400,
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03" + bytes(100): 400,
    named(b"", head()): 400,
    named(b"Host: a.example\r\n", head(TOKEN, method=b"GET")): 400,
    named(b"Host: a b<c>\r\n", head(TOKEN, method=b"GET")): 400,
    like(b"HTTP/1.0", head(TOKEN, CHUNKED) + END): 400,
    head(TOKEN, CHUNKED) + b"zz\r\n{}\r\n": 400,
    head(TOKEN, CHUNKED) + b"f" * 16 + b"\r\n{}": 400,
    with_body(b'{"email": "\xff", "password": "\xff"}'): 400,
    with_body(b'{"email": "a\\u0000b", "password": "\\udfff"}'): 400,
    with_body(b"[" * MB): 400,
    with_body(b" " * 10 * MB): 413,
    with_body(b" " * 20 * MB, target=SYNC): 413,
    with_body(b"a" * 10 * MB, target=SYNC): 401,
    with_body(b"a" * 10 * MB, target="/nothing"): 404,
    with_body(b"a=" + b"b" * 10 * MB, target=LOGIN): 403,
    with_body(b"--", target=LOGIN).replace(
        b"application/json", b"multipart/form-data; boundary="
    ): 403,
}
REFUSED = WHOLE | {head(TOKEN, frame) + b"{}" + END: 400 for frame in FRAMES}
REFUSED |= {head(method=method): status for method, status in METHODS.items()}
REFUSED |= {head(target): status for target, status in TARGETS.items()}
REFUSED |= {head(SYNC, field): status for field, status in FIELDS.items()}
ACCEPTED = [
    with_body(b"a" * 10 * MB, KEY, target=SYNC),
    head(SYNC, KEY, CHUNKED) + b"2\r\n{}\r\n" + END,
    b"\r\n" + head(SYNC, KEY),
    head(SYNC, KEY).replace(b"\r\n", b"\n"),
    like(b"HTTP/1.0", head(SYNC, KEY)),
    like(b"HTTP/1.0", named(b"", head(SYNC, KEY))),
    head(f"http://localhost{SYNC}", KEY),
    with_body(b"{}", KEY, b"Content-Encoding: gzip", target=SYNC),
    head(SYNC, KEY, b"Expect: 200-ok"),
    head(SYNC, KEY, *[b"X-%d: a" % n for n in range(900)]),
    head(SYNC, KEY, b"X: " + b"a" * 60_000),
    head(SYNC, KEY, b"Script_Name: /x"),
]


class Client:
    """A connection, and the answers that come by it."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self.socket = socket.create_connection((parts.hostname, parts.port), timeout=60)
        self.stream = self.socket.makefile("rb")

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *error: object) -> None:
        self.stream.close()
        self.socket.close()

    def send(self, request: bytes) -> None:
        with contextlib.suppress(ConnectionError):  # nginx may answer, and leave, before the end
            self.socket.sendall(request)

    def receive(self, *, head_only: bool = False) -> Answer:
        """Return status, headers and body of the next answer."""
        status = int(self.stream.readline().split()[1])
        headers, body = http.client.parse_headers(self.stream), b""
        if headers["Transfer-Encoding"] != "chunked":
            length = 0 if head_only else int(headers["Content-Length"])
            return status, headers, self.stream.read(length)
        while size := int(self.stream.readline(), 16):
            body += self.stream.read(size + 2)[:-2]
        return status, headers, body + self.stream.readline()[2:]


def exchange(url: str, request: bytes) -> Answer:
    with Client(url) as client:
        client.send(request)
        return client.receive()


def assert_error(answer: Answer, status: int, code: str = "") -> None:
    assert answer[0] == status, answer
    assert answer[1]["Content-Type"] == "application/json"
    assert answer[1]["Server"] == "nginx"  # and no version
    body = json.loads(answer[2])
    assert list(body) == ["success", "code", "message"]
    assert (body["success"], code or body["code"]) == (False, body["code"])
    for inside in ("secret", "Traceback", "gunicorn", "nginx", "Invalid", "<"):
        assert inside not in answer[2].decode()


def assert_synced(url: str, request: bytes = head(SYNC, KEY)) -> None:
    began = time.monotonic()
    status, _, body = exchange(url, request)
    assert (status, json.loads(body)["success"]) == (200, True)
    assert time.monotonic() - began < 5


@pytest.mark.parametrize("sent", REFUSED, ids=lambda sent: repr(sent)[:60])
def test_odd_requests(site: Site, sent: bytes) -> None:
    began = time.monotonic()
    answer = exchange(site.url, sent)
    codes = {413: "body_too_large", 414: "address_too_long", 431: "header_too_large"}
    if LOGIN.encode() in sent:  # a page
        assert answer[0] == REFUSED[sent]
    else:
        assert_error(answer, REFUSED[sent], codes.get(REFUSED[sent], ""))
    assert answer[0] != 405 or answer[1]["Allow"]
    assert time.monotonic() - began < 5  # it was not waited for the rest
    assert_synced(site.url)


@pytest.mark.parametrize("sent", ACCEPTED, ids=lambda sent: repr(sent)[:60])
def test_unusual_requests(site: Site, sent: bytes) -> None:
    assert_synced(site.url, sent)


def test_what_follows_an_ambiguous_request_is_not_answered(site: Site) -> None:
    """A second request hidden in the first one's body would be that of somebody else."""
    hidden = head("/nothing", method=b"GET")
    for fields in (
        (b"Content-Length: 0", CHUNKED),
        (CHUNKED, b"Content-Length: 4"),
        (b"Content-Length: 0\x0b",),
        (b"Transfer-Encoding: xchunked",),
        (b"Content-Length: 0", b"Content-Length: %d" % len(hidden)),
    ):
        with Client(site.url) as client:
            client.send(head(TOKEN, *fields) + END + hidden)
            assert_error(client.receive(), 400)
            assert client.stream.read(1) == b""


def test_requests_one_after_another_on_a_connection(site: Site) -> None:
    sync, other = head(SYNC, KEY), head("/nothing", method=b"GET")
    body = with_body(b"x" * 1000, KEY, target=SYNC)
    with Client(site.url) as client:
        client.send(sync + other + body + head("/nothing", method=b"HEAD") + sync[:20])
        assert [client.receive()[0] for _ in range(3)] == [200, 404, 200]
        assert client.receive(head_only=True)[0] == 404
        client.send(sync[20:])
        assert client.receive()[0] == 200
        for byte in body:
            client.send(bytes([byte]))
        assert client.receive()[0] == 200


def test_slow_clients_keep_nobody_out(site: Site) -> None:
    body = with_body(b'{"email": "x", "password": "y"}')
    halves = [
        head()[:30],
        head()[:-2] + b"X: ",
        body[:-1],
        body[: body.index(b"{") + 1],
        b"P",
        b"",
        with_body(b"x" * 100, target=SYNC)[:-50],
    ]
    with contextlib.ExitStack() as stack:
        began = time.monotonic()
        slow = [stack.enter_context(Client(site.url)) for _ in range(350)]
        for number, client in enumerate(slow):
            client.send(halves[number % len(halves)])
        for client in [stack.enter_context(Client(site.url)) for _ in range(100)]:
            client.send(head(method=b"<>"))  # and does not close the connection after the answer
            assert_error(client.receive(), 400)
        for _ in range(5):
            assert_synced(site.url)
        assert time.monotonic() - began < LATE  # the slow ones were still there
        while time.monotonic() < began + LATE + 1:
            time.sleep(1)
            for client in slow[1::49]:  # a head that goes on and on has no longer
                client.send(b"x")
        assert_synced(site.url)
        for client in slow:
            with contextlib.suppress(ConnectionResetError):
                assert client.stream.read(1) == b""  # without an answer: nginx gives none


# What nginx hands on, and what it does without anybody to hand it to


class Upstream:
    """Stands for gunicorn: keeps what it was sent, and breaks off where nothing is left to answer."""

    def __init__(self, *answers: bytes) -> None:
        self.answers, self.requests = list(answers), list[str]()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            connection, _ = self._listener.accept()
            with connection:
                while request := connection.recv(100_000):
                    self.requests.append(request.decode())
                    if not self.answers or not (answer := self.answers.pop(0)):
                        break
                    connection.sendall(answer)


OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"


def test_what_the_application_sees(tmp_path: Path) -> None:
    upstream = Upstream(OK)
    claims = [
        b"X-Forwarded-For: 192.0.2.1",
        b"X_Forwarded_For: 192.0.2.1",
        b"X-Forwarded-Proto: https",
        b"Host: voices.example.com:8443",
        b"Content-Type: text/plain",
        b"Upgrade: h2c",
        b"Expect: 200-ok",
        b"X\xe4: 1",
        b"Apikey: one",
        b"Connection: X-Forwarded-Proto",
        b"X-Request-ID: one",
        CHUNKED,
    ]
    request = head("/a%2Fb//c/../d?e=%2F", *claims).replace(b"Host: localhost\r\n", b"")
    with Nginx(upstream.url, tmp_path) as nginx:
        assert exchange(nginx.url, request + b"2\r\n{}\r\n" + END)[0] == 200
    line, *fields = upstream.requests[0].removesuffix("\r\n\r\n{}").split("\r\n")
    assert line == "POST /a%2Fb//c/../d?e=%2F HTTP/1.1"
    assert sorted(fields) == [
        "Apikey: one",
        "Content-Length: 2",
        "Content-Type: text/plain",
        "Host: voices.example.com:8443",
        "X-Forwarded-For: 127.0.0.1",
        "X-Forwarded-Proto: http",
        "X-Request-ID: one",
    ]


def test_no_post_is_sent_twice(tmp_path: Path) -> None:
    """A GET may be, on a connection that was closed meanwhile; the application never sees two syncs."""
    upstream = Upstream(OK, b"", OK, b"", OK)
    with Nginx(upstream.url, tmp_path) as nginx, Client(nginx.url) as client:
        for method, status in ((b"POST", 200), (b"POST", 503), (b"GET", 200), (b"GET", 200)):
            client.send(head("/x", b"Content-Length: 0", method=method))
            assert client.receive()[0] == status
    assert [request.split()[0] for request in upstream.requests] == ["POST"] * 2 + ["GET"] * 3


def test_nobody_there(tmp_path: Path) -> None:
    with Nginx(f"http://127.0.0.1:{free_port()}", tmp_path) as nginx:
        for method in (b"POST", b"GET"):
            answer = exchange(nginx.url, head(SYNC, method=method))
            assert_error(answer, 503, "unavailable")
            assert answer[1]["Retry-After"] == "10"


def test_a_request_has_one_id_everywhere(site: Site, tmp_path: Path) -> None:
    for given, kept in (("of-the_Client-1", "of-the_Client-1"), ("no id", "[0-9a-f]{32}")):
        answer = requests.get(f"{site.url}/nothing", headers={"X-Request-ID": given}, timeout=10)
        request_id = answer.headers["X-Request-ID"]
        assert re.fullmatch(kept, request_id)
        assert f"request {request_id} " in site.nginx.logs()
        assert f"[request {request_id}]" in site.project.log("web")
    with Nginx("http://127.0.0.1:9", tmp_path) as lonely:
        answer = requests.get(lonely.url, headers={"X-Request-ID": "mine"}, timeout=10)
        assert (answer.status_code, answer.headers["X-Request-ID"]) == (503, "mine")


def test_nothing_secret_is_logged(site: Site, tmp_path: Path) -> None:
    marked = MARKER.encode()
    secrets = [b"apikey: " + marked, b"Authorization: Bearer " + marked, b"Cookie: a=" + marked]
    target = b"/nothing?signature=" + marked
    referer = b"Referer: http://localhost/?" + marked
    assert_synced(site.url)
    with Nginx("http://127.0.0.1:9", tmp_path) as lonely:
        for url in (site.url, site.web, lonely.url):
            assert exchange(url, head(target, *secrets, referer))[0] in {404, 503}
            for field in (
                b"apikey " + marked,
                b"apikey : " + marked,
                b"a\xe4: " + marked,
                b" " + marked,
                b"apikey: a\0" + marked,
                b"_: " + marked,
                b"Transfer-Encoding: " + marked,
                b"Expect: " + marked,
                b"Host: " + marked,
                b"Content-Length: " + marked,
            ):
                exchange(url, head(target, field))
            for sent in (
                head(b"/\xe4?" + marked),
                head(target, method=marked),
                marked + b"\r\n\r\n",
            ):
                exchange(url, sent)
        assert "POST /nothing" in lonely.logs()
        assert f'"POST {SYNC}" HTTP/1.1 200' in site.nginx.logs()
        assert MARKER not in site.nginx.logs() + lonely.logs()
    log = site.project.log("web")
    assert set(re.findall(r"Invalid request.*", log)) == {"Invalid request from ip=127.0.0.1"}
    assert MARKER not in log


# What browsers are told

HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}
POLICY = [
    "base-uri 'self'",
    "default-src 'self'",
    "form-action 'self'",
    "frame-ancestors 'none'",
    "img-src 'self' data:",
    "media-src 'self' https:",
    "object-src 'none'",
]
Ask = Callable[..., requests.Response]


@pytest.fixture
def ask(public: Site) -> Iterator[Ask]:
    """Speaks HTTPS to the public site."""
    with requests.Session() as session:
        session.trust_env = False  # a bundle that the environment names would win
        session.verify = str(public.nginx.certificate)
        session.headers.update(HOST)

        def ask(method: str, path: str, **options: Any) -> requests.Response:
            url = public.nginx.https_url + path
            return session.request(method, url, allow_redirects=False, timeout=10, **options)

        yield ask


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", LOGIN, 200),
        ("GET", "/admin/", 302),
        ("GET", "/api/schema/", 200),
        ("OPTIONS", SYNC, 204),
        ("GET", SYNC, 405),
        ("POST", TOKEN, 400),
        ("GET", "/nothing", 404),
        ("POST", LOGIN, 403),
    ],
)
def test_security_headers(ask: Ask, method: str, path: str, status: int) -> None:
    answer = ask(method, path)
    assert answer.status_code == status
    assert {name: answer.headers.get(name) for name in HEADERS} == HEADERS
    assert answer.headers["Strict-Transport-Security"].split(";")[0] == "max-age=31536000"
    policy = answer.headers["Content-Security-Policy"]
    assert sorted(directive.strip() for directive in policy.split(";")) == POLICY


def test_cookies_are_for_https_and_this_site(ask: Ask) -> None:
    token = ask("GET", LOGIN).cookies["csrftoken"]
    form = {"username": "user@example.com", "password": "a password of the tests"}
    headers = {"Cookie": f"csrftoken={token}", "Referer": "https://voices.example.com/"}
    answer = ask("POST", LOGIN, data=form | {"csrfmiddlewaretoken": token}, headers=headers)
    assert answer.status_code == 302
    cookies = dict(line.split("=", 1) for line in answer.raw.headers.getlist("Set-Cookie"))
    assert set(cookies) == {"csrftoken", "sessionid"}
    assert all("; Secure" in rest and "; SameSite=Lax" in rest for rest in cookies.values())
    assert "; HttpOnly" in cookies["sessionid"]


def test_pages_are_sent_to_https(public: Site) -> None:
    alone = public.project.serve(DJANGO_TRUSTED_PROXIES="0")
    for url in (public.url, alone):  # nginx replaces the claim; without nginx nobody believes it
        for claim in ({}, {"X-Forwarded-Proto": "https"}, {"X-Forwarded-Ssl": "on"}):
            answer = requests.get(
                f"{url}{LOGIN}?x=1", headers=HOST | claim, allow_redirects=False, timeout=10
            )
            assert answer.status_code == 301
            assert answer.headers["Location"] == f"https://voices.example.com{LOGIN}?x=1"


def test_limits_are_not_dodged_by_claims(ask: Ask) -> None:
    def fail(claim: str) -> int:
        names = ("X-Forwarded-For", "X_Forwarded_For", "X-Real-Ip")
        headers = dict.fromkeys(names, claim) | {"apikey": "wrong", "Forwarded": f"for={claim}"}
        return ask("POST", SYNC, headers=headers).status_code

    assert [fail(f"10.0.0.{number}") for number in range(5)] == [401, 401, 401, 429, 429]


def test_http_2(public: Site) -> None:
    command = [find("curl"), "-s", "-H", "Expect:", "--cacert", str(public.nginx.certificate)]
    command += ["-w", " %{http_version} %{http_code}", "--data-binary", "@-"]
    command += [public.nginx.https_url + TOKEN]
    for size, status, code in ((20 * MB, b"413", "body_too_large"), (2, b"400", "invalid_request")):
        done = subprocess.run(command, input=b"a" * size, capture_output=True, check=True)
        body, *rest = done.stdout.rsplit(b" ", 2)
        assert rest == [b"2", status]
        assert json.loads(body)["code"] == code


def test_only_what_everybody_may_see_is_compressed(ask: Ask) -> None:
    for path in ("/static/admin/css/base.css", LOGIN, "/api/schema/"):
        answer = ask("GET", path)
        assert answer.status_code == 200
        assert len(answer.content) > 2000
        assert ("Content-Encoding" in answer.headers) is path.startswith("/static/")


# Restarts


def runs(site: Site) -> set[tuple[str, str]]:
    return set(site.project.database.rows("SELECT status, error_code FROM voice_sync_runs"))


@pytest.mark.parametrize("which", ["nginx", "gunicorn"])
def test_a_reload_under_load_loses_no_request(busy: Site, ultravox: Ultravox, which: str) -> None:
    ultravox.latency = 0.1
    reloaded, answers = threading.Event(), list[int]()
    pid = (busy.nginx.process if which == "nginx" else busy.project.server).pid

    def call() -> None:
        while not reloaded.is_set():
            answers.append(exchange(busy.url, head(SYNC, KEY, b"Connection: close"))[0])

    with ThreadPoolExecutor(20) as pool:
        calls = [pool.submit(call) for _ in range(20)]
        try:
            for _ in range(2):
                before, count = set(children(pid)), len(answers)
                os.kill(pid, signal.SIGHUP)
                wait_for(lambda b=before: not b & set(children(pid)), 40)
                wait_for(lambda c=count: len(answers) > c + 20)
        finally:
            reloaded.set()
    for done in calls:
        done.result()
    assert len(answers) > 40
    assert set(answers) == {200}
    assert runs(busy) == {("succeeded", "")}


def test_sigterm_lets_syncs_end(busy: Site, ultravox: Ultravox) -> None:
    ultravox.hold_after(1)
    with contextlib.ExitStack() as stack:
        callers = [stack.enter_context(Client(busy.url)) for _ in range(15)]
        for caller in callers:
            caller.send(head(SYNC, KEY))
        ultravox.wait_until(lambda: ultravox.held > 0, 20)
        wait_for(lambda: busy.project.log("web").count("Waiting for run") == 14)
        assert runs(busy) == {("running", "")}
        busy.project.server.send_signal(signal.SIGTERM)
        wait_for(lambda: "Handling signal: term" in busy.project.log("web"))
        ultravox.release()
        for caller in callers:
            status, _, body = caller.receive()
            assert (status, json.loads(body)["stats"]) == (200, {"synced": 300})
    assert busy.project.server.wait(20) == 0
    assert runs(busy) == {("succeeded", "")}
    assert_error(exchange(busy.url, head(SYNC, KEY)), 503, "unavailable")
