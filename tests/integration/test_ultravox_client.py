"""The client of Ultravox: every fault, then its rules one by one."""

import socket
import ssl
import subprocess
import threading
import time
import tracemalloc
from collections.abc import Iterator
from contextlib import closing
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.support.client import DEADLINE, assert_nothing_is_left, hurry, make_client
from tests.support.nginx import CREATE_CERTIFICATE
from tests.support.tools import find
from tests.ultravox import API_KEY, FAULTS, Exchange, Fault, Ultravox, scripts
from ultravox import check_key, client
from voiceproject.errors import KeyRejected, UltravoxError


@pytest.fixture(scope="module")
def server() -> Iterator[Ultravox]:
    """A listing of three pages."""
    with Ultravox(count=5, max_page_size=2) as server:
        server.drip_interval = 0.02
        yield server


@pytest.fixture
def ultravox(server: Ultravox, monkeypatch: pytest.MonkeyPatch) -> Iterator[Ultravox]:
    hurry(monkeypatch)
    server.reset()
    server.latency = 0
    yield server
    assert_nothing_is_left(server)


def read(ultravox: Ultravox, **options: Any) -> list[Any]:
    pages = make_client(ultravox, **options).pages()
    return [record for page in pages for record in page.records]


def fail(ultravox: Ultravox, **options: Any) -> UltravoxError:
    """Return the error of a listing that fails long before its deadline."""
    start = time.monotonic()
    with pytest.raises(UltravoxError) as raised:
        read(ultravox, **options)
    assert time.monotonic() - start < DEADLINE / 2
    return raised.value


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_fault(fault: Fault, ultravox: Ultravox, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "ultravox")  # shown if the test fails
    ultravox.fault = fault
    # A client that waits in vain waits until its timeout, and another one for the whole response.
    timeout = 5 if not fault.slow else 0.1 if fault.error else 0.4
    start = time.monotonic()
    if fault.error:
        with pytest.raises(UltravoxError) as raised:
            read(ultravox, timeout=timeout)
        assert raised.type is fault.error
    else:
        records = read(ultravox, timeout=timeout)
        ids = [record["voiceId"] for record in records if record]
        assert ids == [voice["voiceId"] for voice in ultravox.voices]
        assert (records == ultravox.voices) is fault.exact
    assert time.monotonic() - start < DEADLINE
    assert len(ultravox.listings) <= fault.requests


def test_listing(ultravox: Ultravox) -> None:
    pages = list(make_client(ultravox, api_url=ultravox.url + "/").pages())
    assert [record for page in pages for record in page.records] == ultravox.voices
    assert [(len(page.records), page.total) for page in pages] == [(2, 5), (2, 5), (1, 5)]
    urls = [ultravox.url + request.target for request in ultravox.listings]
    assert [page.next for page in pages] == [*urls[1:], None]
    assert ultravox.connections == 1
    first, *_ = ultravox.requests
    assert (first.method, first.path) == ("GET", "/api/voices")
    assert first.query == {"pageSize": "100", "limit": "100"}
    for request in ultravox.requests:
        assert request.headers["x-api-key"] == API_KEY
        assert request.headers["host"] == ultravox.url.removeprefix("http://")
        names = {"x-api-key", "host", "accept", "accept-encoding", "user-agent"}
        assert request.headers.keys() == names


@pytest.mark.parametrize(
    ("fault", "definition"),
    [("number_64_bits", [2**63, -(10**30)]), ("number_5000_digits", "7" * 5_000)],
)
def test_long_numbers_keep_all_digits(ultravox: Ultravox, fault: str, definition: Any) -> None:
    ultravox.fault = fault
    assert read(ultravox)[0]["definition"] == definition


def test_proxies_and_netrc_are_ignored(
    ultravox: Ultravox, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login me password secret\n")
    monkeypatch.setenv("NETRC", str(netrc))
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, ultravox.decoy.url)
    assert read(ultravox) == ultravox.voices
    assert "authorization" not in ultravox.requests[0].headers


@pytest.mark.parametrize("url", ["http://no-such-host.invalid", "http://127.0.0.1:9", "http://[::"])
def test_wrong_api_url(ultravox: Ultravox, url: str) -> None:
    assert API_KEY not in str(fail(ultravox, api_url=url))


def test_check_key(ultravox: Ultravox) -> None:
    limits = {"timeout": 5.0, "deadline": time.monotonic() + DEADLINE}
    check_key(API_KEY, api_url=ultravox.url, **limits)
    assert [request.query for request in ultravox.requests] == [{"pageSize": "1", "limit": "1"}]
    with pytest.raises(KeyRejected):
        check_key("another key", api_url=ultravox.url, **limits)
    ultravox.fault = "body_html"
    with pytest.raises(UltravoxError, match="not JSON"):
        check_key(API_KEY, api_url=ultravox.url, **limits)


@pytest.mark.parametrize("form", ["seconds", "date"])
def test_retry_after(ultravox: Ultravox, form: str) -> None:
    until: list[float] = []

    def refuse(exchange: Exchange) -> None:
        until.append(int(time.time()) + 1 if form == "date" else time.time() + 1)
        wait = formatdate(until[0], usegmt=True) if form == "date" else "1"
        exchange.reply(429, headers={"Retry-After": wait})

    ultravox.fault = scripts.once(refuse)
    assert read(ultravox) == ultravox.voices
    retried_at = ultravox.listings[1].at - time.monotonic() + time.time()
    assert -0.1 < retried_at - until[0] < 2


@pytest.mark.parametrize("wait", ["", "9", "9" * 99, "Fri, 31 Dec 9999 23:59:59 GMT"])
def test_no_retry_after_the_deadline(
    ultravox: Ultravox, monkeypatch: pytest.MonkeyPatch, wait: str
) -> None:
    hurry(monkeypatch, backoff=60)
    ultravox.fault = lambda exchange: exchange.reply(503, headers={"Retry-After": wait})
    fail(ultravox)
    assert len(ultravox.listings) == 1


def test_each_page_has_its_own_retries(ultravox: Ultravox) -> None:
    ultravox.fault = lambda exchange: (
        exchange.reply(502) if exchange.attempt <= 3 else exchange.normal()
    )
    client = make_client(ultravox)
    list(client.pages())
    assert len(ultravox.listings) == 3 * 4
    assert client.retries == 3 * 3


@pytest.mark.parametrize("status", [400, 401, 429, 500])
def test_error_message_has_only_the_status(ultravox: Ultravox, status: int) -> None:
    content = {"detail": "confidential", "key": API_KEY}
    ultravox.fault = lambda exchange: exchange.reply(status, content, reason="confidential")
    error = fail(ultravox)
    assert f"({status})" in str(error)
    assert API_KEY not in str(error)
    assert "confidential" not in str(error)
    assert isinstance(error, KeyRejected) == (status in (401, 429))


@pytest.mark.parametrize("fault", ["hang", "drip_headers", "drip_body"])
def test_deadline_ends_a_request(ultravox: Ultravox, fault: str) -> None:
    ultravox.fault = fault
    error = fail(ultravox, timeout=30, deadline=time.monotonic() + 0.3)
    assert "took too long" in str(error)
    assert len(ultravox.listings) == 1


def test_deadline_is_for_the_whole_listing(ultravox: Ultravox) -> None:
    ultravox.latency = 0.2
    fail(ultravox, deadline=time.monotonic() + 0.5)


def test_deadline_ends_a_tls_handshake(ultravox: Ultravox) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"https://127.0.0.1:{silent.getsockname()[1]}"
        fail(ultravox, api_url=url, timeout=30, deadline=time.monotonic() + 0.3)


def test_certificate_must_be_trusted(
    ultravox: Ultravox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = [find("openssl"), *CREATE_CERTIFICATE.split()[1:]]
    subprocess.run(command, cwd=tmp_path, capture_output=True, check=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate := tmp_path / "certificate.pem")
    with HTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, args=[0.01]).start()
        url = f"https://127.0.0.1:{server.server_port}"
        assert "TLS" in str(fail(ultravox, api_url=url))
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        assert "501" in str(fail(ultravox, api_url=url))
        server.shutdown()


def test_large_page_is_not_held_in_memory(ultravox: Ultravox) -> None:
    ultravox.fault = "body_gzip_bomb"
    tracemalloc.start()
    try:
        assert "bytes" in str(fail(ultravox))
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("limit", ["MAX_PAGE_BYTES", "MAX_BYTES", "MAX_PAGES"])
def test_limits(ultravox: Ultravox, limit: str, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = [page.size for page in make_client(ultravox).pages()]
    most = {"MAX_PAGE_BYTES": max(sizes), "MAX_BYTES": sum(sizes), "MAX_PAGES": len(sizes)}[limit]
    monkeypatch.setattr(client, limit, most)
    assert read(ultravox) == ultravox.voices
    monkeypatch.setattr(client, limit, most - 1)
    assert limit.rpartition("_")[2].lower() in str(fail(ultravox))


@pytest.mark.parametrize("fault", ["hang_later_page", "second_page_500"])
def test_caller_stops_early(
    ultravox: Ultravox, fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    hurry(monkeypatch, backoff=3)
    ultravox.fault = fault
    with closing(make_client(ultravox).pages()) as pages:
        next(pages)
        ultravox.wait_for_requests(2)
        start = time.monotonic()
    assert time.monotonic() - start < 1
