"""What strangers may send, what browsers are told, and restarts while requests are under way."""

import contextlib
import http.client
import json
import os
import re
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests
from django.test import Client

from agencies.models import User
from tests.support.environment import OTHER_SERVICE_KEY, SERVICE_KEY
from tests.support.project import ROOT, Database, Project, free_port, wait_for
from tests.ultravox import Ultravox
from voiceproject import server

PASSWORD = "a password of the tests"
SYNC, TOKEN = "/api/voices/sync/", "/api/token/"
PUBLIC = {"DJANGO_ALLOWED_HOSTS": "voices.example.com,127.0.0.1", "DJANGO_HTTPS": "true"}
PATIENT = server.PATIENCE + 5  # seconds


@contextlib.contextmanager
def serving(
    template: Database, folder: Path, *options: str, **environment: str
) -> Iterator[Project]:
    """Serve a project of its own; `project.url` is where."""
    database = Database.create(folder, template)
    project = Project(database, folder, **environment)
    try:
        port = free_port()
        project.start(
            "-m", "gunicorn", "--config", "gunicorn.conf.py", f"--bind=127.0.0.1:{port}", *options,
            log="web",
        )  # fmt: skip
        project.url = f"http://127.0.0.1:{port}"  # type: ignore[attr-defined]
        wait_for(lambda: not refuses(project.url), what="the web server")  # type: ignore[attr-defined]
        yield project
    finally:
        project.stop()
        database.drop()


@pytest.fixture(scope="module")
def server_url(migrated: Database, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server with its defaults, and Ultravox behind it."""
    folder = tmp_path_factory.mktemp("server")
    with (
        Ultravox(count=3) as ultravox,
        serving(migrated, folder, ULTRAVOX_API_URL=ultravox.url) as project,
    ):
        project.seed(is_staff=True, is_superuser=True)
        yield project.url  # type: ignore[attr-defined]


@pytest.fixture(scope="module")
def public_url(migrated: Database, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server as in production, behind one proxy."""
    folder = tmp_path_factory.mktemp("public")
    environment = PUBLIC | {"DJANGO_TRUSTED_PROXIES": "1", "RATE_LIMIT_FAILED": "3/min"}
    with serving(migrated, folder, "--workers=1", **environment) as project:
        project.seed(is_staff=True, is_superuser=True)
        yield project.url  # type: ignore[attr-defined]


@pytest.fixture(scope="module")
def exposed_url(migrated: Database, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server that trusts no proxy."""
    folder = tmp_path_factory.mktemp("exposed")
    with serving(migrated, folder, "--workers=1", **PUBLIC, RATE_LIMIT_FAILED="3/min") as project:
        yield project.url  # type: ignore[attr-defined]


# Settings


def bare_project(folder: Path, **environment: str) -> Project:
    """Return a project without a database, and without the tests' choice of HTTPS."""
    project = Project(Database(f"sqlite:///{folder}/db.sqlite3"), folder, **environment)
    del project.environment["DJANGO_HTTPS"]
    return project


@pytest.mark.parametrize("proxies", ["0", "1"])
def test_check_deploy_has_nothing_to_say(tmp_path: Path, proxies: str) -> None:
    project = bare_project(
        tmp_path,
        DJANGO_ALLOWED_HOSTS="voices.example.com",
        DJANGO_TRUSTED_PROXIES=proxies,
        SERVICE_API_KEYS=f"{SERVICE_KEY},{OTHER_SERVICE_KEY}",
    )
    done = project.manage("check", "--deploy", "--fail-level", "DEBUG")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "System check identified no issues (0 silenced).\n"


def test_check_deploy_warns_of_weak_secrets(tmp_path: Path) -> None:
    project = bare_project(
        tmp_path,
        DJANGO_ALLOWED_HOSTS="voices.example.com",
        DJANGO_SECRET_KEY="short",
        SERVICE_API_KEYS="short",
    )
    done = project.manage("check", "--deploy", "--fail-level", "WARNING")
    assert done.returncode == 1
    assert "security.W009" in done.stderr
    assert "agencies.W001" in done.stderr


def test_passwords_are_hashed_with_argon2(tmp_path: Path) -> None:
    project = bare_project(tmp_path)
    code = """
from django.contrib.auth.hashers import check_password, make_password
from agencies.models import User
user = User()
user.set_password("one of them")
assert user.password.startswith("argon2$argon2id$"), user.password
old = make_password("one of them", hasher="pbkdf2_sha256")
assert check_password("one of them", old, preferred="default")
print("done")
"""
    assert project.shell(code) == "done"


@pytest.mark.parametrize("name", ["requirements.txt", "requirements-dev.txt"])
def test_requirements_are_pinned_by_hash(name: str) -> None:
    text = (ROOT / name).read_text().replace("\\\n", " ")
    lines = [
        line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")
    ]
    assert len(lines) > 30
    pinned = re.compile(
        r"[A-Za-z0-9._-]+(\[[a-z0-9,._-]+\])?==\S+( ;.*?)?(\s+--hash=sha256:[0-9a-f]{64})+"
    )
    assert [
        line for line in lines if not pinned.fullmatch(line.partition("    #")[0].strip())
    ] == []
    source = (ROOT / name).with_suffix(".in").read_text()
    for wanted in re.findall(r"^([A-Za-z][A-Za-z0-9._-]*)", source, re.MULTILINE):
        assert re.search(rf"^{re.escape(wanted)}(\[.*\])?==", text, re.IGNORECASE | re.MULTILINE), (
            wanted
        )


# What browsers are told

POLICY = {
    "default-src": "'self'",
    "img-src": "'self' data:",
    "object-src": "'none'",
    "base-uri": "'self'",
    "form-action": "'self'",
    "frame-ancestors": "'none'",
}
HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}
BY_PROXY = {"Host": "voices.example.com", "X-Forwarded-Proto": "https"}


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/admin/login/", 200),
        ("GET", "/admin/", 302),
        ("GET", "/api/schema/", 200),
        ("POST", SYNC, 401),
        ("OPTIONS", SYNC, 204),
        ("GET", SYNC, 405),
        ("POST", TOKEN, 400),
        ("GET", "/nothing", 404),
        ("POST", "/admin/login/", 403),
    ],
)
def test_security_headers(public_url: str, method: str, path: str, status: int) -> None:
    headers = BY_PROXY | {"X-Forwarded-For": f"{method} {path}"}
    answer = requests.request(
        method, f"{public_url}{path}", headers=headers, allow_redirects=False, timeout=10
    )
    assert answer.status_code == status
    assert {name: answer.headers.get(name) for name in HEADERS} == HEADERS
    assert (
        answer.headers["Strict-Transport-Security"]
        == "max-age=31536000; includeSubDomains; preload"
    )
    policy = dict(
        directive.strip().split(" ", 1)
        for directive in answer.headers["Content-Security-Policy"].split(";")
    )
    assert policy == POLICY
    assert "gunicorn/" not in answer.headers.get("Server", "")


def test_cookies_are_for_https_and_this_site(public_url: str) -> None:
    cookies: dict[str, str] = {}
    form = {"username": "user@example.com", "password": PASSWORD}
    with requests.Session() as session:
        session.get(f"{public_url}/admin/login/", headers=BY_PROXY, timeout=10)
        token = next(cookie for cookie in session.cookies if cookie.name == "csrftoken")
        assert token.secure
        answer = requests.post(
            f"{public_url}/admin/login/",
            data=form | {"csrfmiddlewaretoken": token.value},
            headers=BY_PROXY
            | {"Cookie": f"csrftoken={token.value}", "Referer": "https://voices.example.com/"},
            allow_redirects=False,
            timeout=10,
        )
    assert answer.status_code == 302
    for line in answer.raw.headers.getlist("Set-Cookie"):
        name, _, rest = line.partition("=")
        cookies[name] = rest
    assert set(cookies) == {"csrftoken", "sessionid"}
    for rest in cookies.values():
        assert "; Secure" in rest
        assert "; SameSite=Lax" in rest
    assert "; HttpOnly" in cookies["sessionid"]


def test_http_is_sent_to_https(public_url: str, exposed_url: str) -> None:
    host = {"Host": "voices.example.com"}

    def ask(url: str, **headers: str) -> requests.Response:
        return requests.get(
            f"{url}/admin/login/?x=1", headers=host | headers, allow_redirects=False, timeout=10
        )

    for answer in (
        ask(public_url),
        ask(public_url, **{"X-Forwarded-Proto": "http"}),
        ask(exposed_url),
        # Nobody has said that this header is to be believed.
        ask(exposed_url, **{"X-Forwarded-Proto": "https"}),
        ask(exposed_url, **{"X-Forwarded-Ssl": "on"}),
    ):
        assert answer.status_code == 301
        assert answer.headers["Location"] == "https://voices.example.com/admin/login/?x=1"
    assert ask(public_url, **{"X-Forwarded-Proto": "https"}).status_code == 200


def failures(url: str, forwarded: list[str]) -> list[int]:
    """Return the statuses of failing syncs, each with its X-Forwarded-For."""
    headers = {"Host": "voices.example.com", "X-Forwarded-Proto": "https", "apikey": "wrong"}
    return [
        requests.post(
            f"{url}{SYNC}", headers=headers | {"X-Forwarded-For": address},
            allow_redirects=False, timeout=10,
        ).status_code
        for address in forwarded
    ]  # fmt: skip


def test_limits_are_not_dodged_by_claims(
    migrated: Database, tmp_path: Path, public_url: str
) -> None:
    with serving(migrated, tmp_path, "--workers=1", RATE_LIMIT_FAILED="3/min") as project:
        url = project.url.replace("127.0.0.1", "localhost")  # type: ignore[attr-defined]
        claims = [f"10.0.0.{number}" for number in range(5)]
        headers = [
            {"apikey": "wrong", "X-Forwarded-For": claim, "X-Real-Ip": claim} for claim in claims
        ]
        statuses = [
            requests.post(f"{url}{SYNC}", headers=header, timeout=10).status_code
            for header in headers
        ]
        assert statuses == [401, 401, 401, 429, 429]
    # Behind a proxy, what it adds counts, and not what came before.
    claims = [f"10.0.0.{number}, 192.0.2.1" for number in range(5)]
    assert failures(public_url, claims) == [401, 401, 401, 429, 429]
    assert failures(public_url, ["192.0.2.1, 192.0.2.2"] * 4) == [401, 401, 401, 429]


# What strangers send

HOST = b"Host: localhost\r\n"


def head(
    target: bytes | str = SYNC,
    *fields: bytes,
    method: bytes = b"POST",
    version: bytes = b"HTTP/1.1",
) -> bytes:
    """Return the head of a request."""
    path = target.encode() if isinstance(target, str) else target
    return b"".join(
        [method, b" ", path, b" ", version, b"\r\n", HOST, *[f + b"\r\n" for f in fields], b"\r\n"]
    )


def with_body(body: bytes, *fields: bytes, target: str = TOKEN) -> bytes:
    length = b"Content-Length: %d" % len(body)
    return head(target, b"Content-Type: application/json", length, *fields) + body


CHUNKED = b"Transfer-Encoding: chunked"
KEY = b"apikey: " + SERVICE_KEY.encode()
MALFORMED = {
    "HTTP/0.9": b"GET /nothing\r\n",
    "no version": b"GET /nothing\r\n\r\n",
    "HTTP/2.0 in words": head(version=b"HTTP/2.0"),
    "HTTP/1.10": head(version=b"HTTP/1.10"),
    "HTTP/9.9": head(version=b"HTTP/9.9"),
    "not HTTP": head(version=b"ICAP/1.0"),
    "noise": bytes(range(1, 32)) + b"\r\n\r\n",
    "noise of high bytes": b"\xff\xfe\xfd" * 100 + b"\r\n\r\n",
    "only line ends": b"\r\n\r\n\r\n\r\n",
    "lines end with LF": b"POST /api/token/ HTTP/1.1\nHost: localhost\n\n",
    "an LF among the headers": b"POST / HTTP/1.1\r\nHost: localhost\nX: y\r\n\r\n",
    "a CR among the headers": head(SYNC, b"X: a\rb"),
    "a method in small letters": head(method=b"post"),
    "a method with a space": head(method=b"PO ST"),
    "a method of signs": head(method=b"<>"),
    "a long method": head(method=b"A" * 3000),
    "no method": b" / HTTP/1.1\r\n\r\n",
    "an empty target": b"GET  HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "a space in the target": head("/a b"),
    "NUL in the target": head(b"/\0"),
    "bytes above ASCII in the target": head("/grüße"),
    "a target of 5,000 bytes": head("/" + "a" * 5000),
    "a target of 1 MB": head("/" + "a" * 1_000_000),
    "a query of 1 MB": head("/?" + "a" * 1_000_000),
    "a header of 70,000 bytes": head(SYNC, b"X: " + b"a" * 70_000),
    "headers of 70,000 bytes": head(SYNC, *[b"X: " + b"a" * 7000] * 10),
    "a header of 1 MB": head(SYNC, b"X: " + b"a" * 1_000_000),
    "a token of 1 MB": head(SYNC, b"Authorization: Bearer " + b"a" * 1_000_000),
    "a header's name of 1 MB": head(SYNC, b"X" * 1_000_000 + b": a"),
    "200 headers": head(SYNC, *[b"X-%d: a" % number for number in range(200)]),
    "5,000 headers": head(SYNC, *[b"X-%d: a" % number for number in range(5000)]),
    "5,000 cookies": head(SYNC, *[b"Cookie: a=b"] * 5000),
    "a header without a colon": head(SYNC, b"apikey secret"),
    "a header without a name": head(SYNC, b": secret"),
    "a header's name with a space": head(SYNC, b"apikey : secret"),
    "a header's name of high bytes": head(SYNC, b"\xe4pikey: secret"),
    "a folded header": head(SYNC, b"apikey: a", b" b"),
    "NUL in a header": head(SYNC, b"apikey: a\0b"),
    "a control character in a header": head(SYNC, b"apikey: a\x01b"),
    "two hosts": head(SYNC, b"Host: elsewhere.example"),
    "two lengths": head(TOKEN, b"Content-Length: 2", b"Content-Length: 3") + b"{}",
    "two equal lengths": head(TOKEN, b"Content-Length: 2", b"Content-Length: 2") + b"{}",
    "a list of lengths": head(TOKEN, b"Content-Length: 2, 2") + b"{}",
    "a negative length": head(TOKEN, b"Content-Length: -1"),
    "a signed length": head(TOKEN, b"Content-Length: +2") + b"{}",
    "a length in words": head(TOKEN, b"Content-Length: two") + b"{}",
    "a length in hex": head(TOKEN, b"Content-Length: 0x2") + b"{}",
    "length and chunks": head(TOKEN, b"Content-Length: 5", CHUNKED) + b"0\r\n\r\n",
    "chunks and length": head(TOKEN, CHUNKED, b"Content-Length: 5") + b"0\r\n\r\n",
    "chunked twice": head(TOKEN, CHUNKED, CHUNKED) + b"0\r\n\r\n",
    "chunked, then not": head(TOKEN, b"Transfer-Encoding: chunked, identity") + b"0\r\n\r\n",
    "chunks in HTTP/1.0": head(TOKEN, CHUNKED, version=b"HTTP/1.0") + b"0\r\n\r\n",
    "gzip without chunks": head(TOKEN, b"Transfer-Encoding: gzip"),
    "an unknown coding": head(TOKEN, b"Transfer-Encoding: xchunked"),
    "a coding with a tab": head(TOKEN, b"Transfer-Encoding: \x0bchunked"),
    "another expectation": head(TOKEN, b"Expect: 200-ok"),
}  # fmt: skip
REFUSED = {
    # What Django, not the server, makes of it: the address or the method is none.
    "CONNECT": (head("localhost:443", method=b"CONNECT"), 404),
    "OPTIONS of the server": (head("*", method=b"OPTIONS"), 404),
    "an unknown method": (head(method=b"BREW"), 405),
    "another unknown method": (head(TOKEN, method=b"M-SEARCH"), 405),
    "TRACE": (head(method=b"TRACE"), 405),
    "PRI, of HTTP/2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
    "an absolute target": (head("http://elsewhere.example/nothing"), 404),
    "an absolute target of ours": (head(f"http://localhost{SYNC}"), 401),
    "a host that is not ours": (b"GET /admin/login/ HTTP/1.1\r\nHost: elsewhere.example\r\n\r\n", 400),
    "a host with signs": (b"GET /admin/login/ HTTP/1.1\r\nHost: a b<c>\r\n\r\n", 400),
    "two slashes": (head("//elsewhere.example/admin/"), 404),
    "a backslash": (head("/\\elsewhere.example/admin"), 404),
    "dots": (head("/static/../../voiceproject/settings.py", method=b"GET"), 404),
    "encoded dots": (head("/static/%2e%2e/%2e%2e/.env", method=b"GET"), 404),
    "broken percent signs": (head("/%zz%"), 404),
    "percent signs of no UTF-8": (head("/%ff%c0%80"), 404),
    "percent signs in the query": (head(f"{SYNC}?%zz=%ff&%00=%"), 401),
    "encoded NUL": (head("/%00"), 404),
    "encoded NUL after an address": (head(f"{SYNC}%00"), 404),
    "an encoded line end": (head(f"{SYNC}%0d%0a"), 404),
    "an encoded slash": (head("/api%2ftoken%2f"), 400),
    "a surrogate": (head("/%ed%a0%80"), 404),
    "high bytes in a key": (head(SYNC, b"apikey: \xff\xfe"), 401),
    "high bytes in a token": (head(SYNC, b"Authorization: Bearer \xff\xfe.\x80.\x80"), 401),
    "high bytes in a cookie": (head(SYNC, b"Cookie: sessionid=\xff\xfe"), 401),
    "high bytes in the type": (with_body(b"{}", b"Content-Type: \xff"), 400),
    "high bytes in the agent": (head("/admin/login/", b"User-Agent: \xff\xfe"), 403),
    "a body of no UTF-8": (with_body(b'{"email": "\xff", "password": "\xff"}'), 400),
    "NUL in a body": (with_body(b'{"email": "a\\u0000b", "password": "\\u0000"}'), 400),
    "a surrogate in a body": (with_body(b'{"email": "\\ud800", "password": "\\udfff"}'), 400),
    "a body of 1 MB": (with_body(b"[" * 1_000_000), 400),
    "a body of 10 MB": (with_body(b" " * 10_000_000), 413),
    "a form of 10 MB": (with_body(b"a=" + b"b" * 10_000_000, target="/admin/login/"), 403),
    "a body of 10 MB for the sync": (with_body(b"a" * 10_000_000, target=SYNC), 401),
    "a body of 10 MB for nobody": (with_body(b"a" * 10_000_000, target="/nothing"), 404),
    "broken chunks": (head(TOKEN, CHUNKED) + b"zz\r\n{}\r\n", 400),
    "broken chunks for the sync": (head(SYNC, CHUNKED) + b"-1\r\n{}\r\n", 401),
    "a huge chunk": (head(TOKEN, CHUNKED) + b"f" * 16 + b"\r\n{}", 400),
    "a huge length": (head(SYNC, b"Content-Length: 99999999999999999999"), 401),
    "a boundary of nothing": (
        with_body(b"--", b"X: y", target="/admin/login/").replace(
            b"application/json", b"multipart/form-data; boundary="
        ), 403,
    ),
}  # fmt: skip
ACCEPTED = {
    "a body of 1 MB for the sync": with_body(b"a" * 1_000_000, KEY, target=SYNC),
    "a body of 10 MB for the sync": with_body(b"a" * 10_000_000, KEY, target=SYNC),
    "chunks": head(SYNC, KEY, CHUNKED) + b"2\r\n{}\r\n0\r\n\r\n",
    "broken chunks": head(SYNC, KEY, CHUNKED) + b"zz\r\n",
    "an empty line first": b"\r\n" + head(SYNC, KEY),
    "HTTP/1.0": head(SYNC, KEY, version=b"HTTP/1.0"),
    "no host": head(SYNC, KEY).replace(HOST, b""),
    "an absolute target": head(f"http://localhost{SYNC}", KEY),
    "90 headers": head(SYNC, KEY, *[b"X-%d: a" % number for number in range(90)]),
    "a header of 60,000 bytes": head(SYNC, KEY, b"X: " + b"a" * 60_000),
    "SCRIPT_NAME": head(SYNC, KEY, b"Script_Name: /x"),
}


def connect(url: str, timeout: float = 20) -> socket.socket:
    parts = urlsplit(url)
    return socket.create_connection((parts.hostname, parts.port), timeout=timeout)


def refuses(url: str) -> bool:
    try:
        connect(url, 1).close()
    except ConnectionRefusedError:
        return True
    except OSError:
        pass
    return False


def send(connection: socket.socket, request: bytes) -> None:
    with contextlib.suppress(ConnectionError):  # it may answer, and leave, before the end
        connection.sendall(request)


class Answers:
    """Reads one answer after another: HTTPResponse throws away what it has read of the next one."""

    def __init__(self, connection: socket.socket) -> None:
        self._file = connection.makefile("rb")

    def makefile(self, mode: str) -> "Answers":
        return self

    def close(self) -> None:
        pass

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


def receive(connection: socket.socket | Answers) -> tuple[int, http.client.HTTPMessage, bytes]:
    """Return status, headers and body of the next answer."""
    answer = http.client.HTTPResponse(connection)  # type: ignore[arg-type]
    answer.begin()
    return answer.status, answer.headers, answer.read()


def exchange(url: str, request: bytes) -> tuple[int, http.client.HTTPMessage, bytes]:
    with connect(url) as connection:
        send(connection, request)
        return receive(connection)


def assert_error(answer: tuple[int, http.client.HTTPMessage, bytes], statuses: set[int]) -> None:
    status, headers, content = answer
    assert status in statuses, (status, content)
    assert headers["Content-Type"] == "application/json"
    body = json.loads(content)
    assert list(body) == ["success", "code", "message"]
    assert body["success"] is False
    for inside in ("secret", "Traceback", "gunicorn", "Invalid", "<"):
        assert inside not in content.decode()


def assert_answers(url: str) -> None:
    """See that the server still does what it is for."""
    began = time.monotonic()
    status, _, body = exchange(url, head(SYNC, KEY))
    assert (status, json.loads(body)["success"]) == (200, True)
    assert time.monotonic() - began < 5


@pytest.mark.parametrize("name", MALFORMED)
def test_malformed_requests(server_url: str, name: str) -> None:
    began = time.monotonic()
    assert_error(exchange(server_url, MALFORMED[name]), {400, 414, 417, 431})
    assert time.monotonic() - began < 5  # it was not waited for the rest
    assert_answers(server_url)


@pytest.mark.parametrize("name", REFUSED)
def test_odd_requests(server_url: str, name: str) -> None:
    request, status = REFUSED[name]
    assert_error(exchange(server_url, request), {status})
    assert_answers(server_url)


@pytest.mark.parametrize("name", ACCEPTED)
def test_unusual_requests(server_url: str, name: str) -> None:
    status, _, body = exchange(server_url, ACCEPTED[name])
    assert (status, json.loads(body)["success"]) == (200, True)


def test_sizes_that_are_too_large_are_named(server_url: str) -> None:
    for name, status in (
        ("a target of 1 MB", 414), ("a target of 5,000 bytes", 414), ("a header of 1 MB", 431),
        ("a header of 70,000 bytes", 431), ("5,000 headers", 431),
    ):  # fmt: skip
        assert_error(exchange(server_url, MALFORMED[name]), {status})


def test_what_follows_an_ambiguous_request_is_not_answered(server_url: str) -> None:
    """A second request hidden in the first one's body would be that of somebody else."""
    hidden = head("/nothing", method=b"GET")
    for fields in (
        (b"Content-Length: 0", CHUNKED),
        (CHUNKED, b"Content-Length: 4"),
        (b"Transfer-Encoding: xchunked",),
        (b"Content-Length: 0", b"Content-Length: %d" % len(hidden)),
        (b"Content-Length: 0\x0b",),
    ):
        with connect(server_url) as connection:
            send(connection, head(TOKEN, *fields) + b"0\r\n\r\n" + hidden)
            assert_error(receive(connection), {400})
            assert connection.recv(1) == b""


def test_requests_one_after_another_on_a_connection(server_url: str) -> None:
    sync, other = head(SYNC, KEY), head("/nothing", method=b"GET")
    body = with_body(b"x" * 1000, KEY, target=SYNC)
    with connect(server_url) as connection:
        answers = Answers(connection)
        send(connection, sync + other + body + sync[:20])
        assert [receive(answers)[0] for _ in range(3)] == [200, 404, 200]
        send(connection, sync[20:])
        assert receive(answers)[0] == 200
        for byte in body:
            send(connection, bytes([byte]))
        assert receive(answers)[0] == 200


def test_a_client_that_waits_to_be_asked_for_its_body(server_url: str) -> None:
    body = b'{"email": "user@example.com", "password": "wrong"}'
    request = with_body(body, b"Expect: 100-continue")
    with connect(server_url) as connection:
        send(connection, request[: -len(body)])
        assert connection.recv(1000) == b"HTTP/1.1 100 Continue\r\n\r\n"
        send(connection, body)
        assert receive(connection)[0] == 401


# What staff may send


@pytest.mark.parametrize(
    "address",
    [
        "voices/voice/_00/change/", "voices/voice/%00/history/", "voices/voice/?q=%00",
        "voices/voice/?provider__exact=%00", "voices/voice/?name__icontains=%00",
        "voices/voice/?name__regex=[",
        "voices/voice/?last_synced_at__year=999999999999",
        "voices/voice/?p=99999999999999999999", "voices/voice/?p=x",
        "voices/voice/?o=9.9.-9.x", "voices/voice/?last_synced_at__gte=x",
        "voices/syncrun/?pages=" + "9" * 30,
        "voices/syncrun/?error_message__contains=%00", "voices/syncrun/?agency__id__exact=x",
        "voices/syncrun/?started_at__year=99999&started_at__month=13&started_at__day=40",
        "voices/syncrun/99999999999999999999999/change/", "voices/syncrun/x/change/",
        "agencies/agency/x/change/", "agencies/agency/_00/delete/", "agencies/user/x/password/",
        "agencies/user/?agency__isnull=maybe", "agencies/user/?agency__id__exact=%00",
        "agencies/user/?_popup=1&_to_field=password", "autocomplete/",
        "autocomplete/?app_label=agencies&model_name=user&field_name=agency&term=%00",
        "autocomplete/?app_label=%00&model_name=x&field_name=y", "r/1/1/", "r/7/%00/", "jsi18n/?x=%ff",
        "axes/accessattempt/?username=%00", "django_celery_beat/periodictask/_00/change/",
        "django_celery_beat/periodictask/99999999999999999999/change/",
        "login/?next=//elsewhere.example", "password_change/?%00", "%00", "voices/%ff/",
    ],
)  # fmt: skip
def test_no_address_of_the_admin_breaks_it(client: Client, staff: User, address: str) -> None:
    client.raise_request_exception = False
    client.force_login(staff)
    answer = client.get(f"/admin/{address}")
    assert answer.status_code < 500
    if answer.status_code >= 400:
        assert answer.headers["Content-Type"] == "application/json"
    assert "elsewhere" not in answer.headers.get("Location", "")


# Slow clients


def test_slow_clients_keep_nobody_out(server_url: str) -> None:
    body = with_body(b'{"email": "x", "password": "y"}')
    halves = [
        head(SYNC)[:30], head(SYNC)[:-2], body[:-1], body[: body.index(b"{") + 1],
        with_body(b"x" * 100, target=SYNC)[:-50], b"P",
    ]  # fmt: skip
    with contextlib.ExitStack() as stack:
        slow = [stack.enter_context(connect(server_url)) for _ in range(300)]
        began = time.monotonic()
        for number, connection in enumerate(slow):
            send(connection, halves[number % len(halves)])
        silent = [stack.enter_context(connect(server_url)) for _ in range(100)]
        for _ in range(5):
            assert_answers(server_url)
        answered = [stack.enter_context(connect(server_url)) for _ in range(100)]
        for connection in answered:  # who does not close the connection after an answer
            send(connection, MALFORMED["HTTP/0.9"])
            assert receive(connection)[0] == 400
        assert_answers(server_url)
        assert time.monotonic() - began < server.PATIENCE  # the slow ones were still there
        while time.monotonic() < began + PATIENT - 1:  # and send a byte now and then
            time.sleep(1)
            for connection in slow[::7]:
                send(connection, b"x")
        for number, connection in enumerate(slow):
            if number % 7:
                assert_error(receive(connection), {408})
        for connection in silent:
            assert connection.recv(1) == b""
    assert_answers(server_url)


# Restarts


@pytest.fixture
def busy(project: Callable[..., Project], ultravox: Ultravox) -> Project:
    """A project whose syncs take a while."""
    made = project(ULTRAVOX_API_URL=ultravox.url)
    made.seed()
    made.url = made.serve()  # type: ignore[attr-defined]
    return made


def runs(project: Project) -> set[tuple[str, str]]:
    return set(project.database.rows("SELECT status, error_code FROM voice_sync_runs"))


def test_a_reload_under_load_loses_no_request(busy: Project, ultravox: Ultravox) -> None:
    ultravox.latency = 0.1
    url: str = busy.url  # type: ignore[attr-defined]
    reloaded, answers = threading.Event(), []
    children = Path(f"/proc/{busy.server.pid}/task/{busy.server.pid}/children")

    def call() -> None:
        while not reloaded.is_set():
            answers.append(exchange(url, head(SYNC, KEY, b"Connection: close"))[0])

    with ThreadPoolExecutor(20) as pool:
        calls = [pool.submit(call) for _ in range(20)]
        try:
            for _ in range(2):
                before, count = set(children.read_text().split()), len(answers)
                os.kill(busy.server.pid, signal.SIGHUP)
                wait_for(lambda b=before: not b & set(children.read_text().split()), 40)
                wait_for(lambda c=count: len(answers) > c + 20)
        finally:
            reloaded.set()
    for done in calls:
        done.result()
    assert len(answers) > 40
    assert set(answers) == {200}
    assert runs(busy) == {("succeeded", "")}


def test_sigterm_under_load_loses_no_request(busy: Project, ultravox: Ultravox) -> None:
    """Requests that have reached the server are answered, the queued ones too; others are refused."""
    url: str = busy.url  # type: ignore[attr-defined]
    ultravox.hold_after(1)
    with contextlib.ExitStack() as stack:
        connections = [stack.enter_context(connect(url, 60)) for _ in range(15)]
        for connection in connections:
            send(connection, head(SYNC, KEY))
        ultravox.wait_until(lambda: ultravox.held > 0, 20)
        late = [stack.enter_context(connect(url, 60)) for _ in range(5)]
        for connection in late:
            send(connection, head(SYNC, KEY))
        busy.server.send_signal(signal.SIGTERM)

        wait_for(lambda: refuses(url), what="new connections are refused")
        assert busy.server.poll() is None
        assert runs(busy) == {("running", "")}
        ultravox.release()
        for connection in connections + late:
            status, _, body = receive(connection)
            assert (status, json.loads(body)["stats"]) == (200, {"synced": 300})
    assert busy.server.wait(20) == 0
    assert runs(busy) == {("succeeded", "")}
