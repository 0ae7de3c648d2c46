"""The client's rules, each on the client: `test_ultravox_faults.py` has what can go wrong."""

import datetime
import ipaddress
import itertools
import socket
import ssl
import time
import tracemalloc
from collections.abc import Iterator
from contextlib import closing
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tests.support.client import DEADLINE, assert_nothing_is_left, client_of, hurry
from tests.ultravox import API_KEY, Exchange, Ultravox
from ultravox import client
from voiceproject.errors import KeyRejected, UltravoxError


@pytest.fixture
def ultravox(monkeypatch: pytest.MonkeyPatch) -> Iterator[Ultravox]:
    """A listing of three pages, of which no client leaves a trace."""
    hurry(monkeypatch)
    with Ultravox(count=5, max_page_size=2) as ultravox:
        ultravox.drip_interval = 0.02
        yield ultravox
        assert_nothing_is_left(ultravox)


def read(ultravox: Ultravox, **changes: Any) -> list[Any]:
    return [voice for page in client_of(ultravox, **changes).pages() for voice in page.records]


def fail(ultravox: Ultravox, **changes: Any) -> UltravoxError:
    """Read a listing that fails, long before whatever else would end it; return the error."""
    began = time.monotonic()
    with pytest.raises(UltravoxError) as raised:
        read(ultravox, **changes)
    assert time.monotonic() - began < DEADLINE / 2
    return raised.value


# Requests


def test_listing_comes_whole_over_one_connection(ultravox: Ultravox) -> None:
    pages = list(client_of(ultravox).pages())
    assert [voice for page in pages for voice in page.records] == ultravox.voices
    assert [(len(page.records), page.total) for page in pages] == [(2, 5), (2, 5), (1, 5)]
    asked = [ultravox.url + request.target for request in ultravox.listings]
    assert [page.next for page in pages] == [*asked[1:], None]
    assert ultravox.connections == 1


@pytest.mark.parametrize(
    ("fault", "value"),
    [("number_64_bits", [2**63, -(10**30)]), ("number_5000_digits", "7" * 5_000)],
)
def test_long_numbers_lose_no_digit(ultravox: Ultravox, fault: str, value: Any) -> None:
    ultravox.fault = fault
    assert read(ultravox)[0]["definition"] == value


def test_requests_say_what_is_documented(ultravox: Ultravox) -> None:
    read(ultravox, api_url=ultravox.url + "/")
    first = ultravox.requests[0]
    assert (first.method, first.path) == ("GET", "/api/voices")
    assert first.query == {"pageSize": "100", "limit": "100"}
    for request in ultravox.requests:
        headers = dict(request.headers)
        assert headers.pop("x-api-key") == API_KEY
        assert headers.pop("host") == ultravox.url.removeprefix("http://")
        assert headers.pop("accept") == "application/json"
        assert headers.keys() <= {"accept-encoding", "user-agent", "connection"}


def test_environment_sends_the_key_nowhere(
    ultravox: Ultravox, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login me password secret\n")
    monkeypatch.setenv("NETRC", str(netrc))
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, ultravox.decoy.url)
    assert read(ultravox) == ultravox.voices
    assert "authorization" not in ultravox.requests[0].headers


@pytest.mark.parametrize("key", ["snow\u2603", "key\r\nX-Injected: yes", "key\n"])
def test_a_key_that_no_header_holds_is_not_sent(ultravox: Ultravox, key: str) -> None:
    assert key.strip() not in str(fail(ultravox, api_key=key))
    assert ultravox.requests == []


@pytest.mark.parametrize("url", ["http://no-such-host.invalid", "http://127.0.0.1:9", "http://[::"])
def test_an_address_that_is_none(ultravox: Ultravox, url: str) -> None:
    assert API_KEY not in str(fail(ultravox, api_url=url))


# Retries


@pytest.mark.parametrize("form", ["seconds", "date"])
def test_waits_as_long_as_it_is_told(ultravox: Ultravox, form: str) -> None:
    until: list[float] = []

    def refuse_once(exchange: Exchange) -> None:
        if exchange.n > 1:
            exchange.normal()
            return
        until.append(int(time.time()) + 1 if form == "date" else time.time() + 1)
        wait = formatdate(until[0], usegmt=True) if form == "date" else "1"
        exchange.reply(429, {}, headers={"Retry-After": wait})

    ultravox.fault = refuse_once
    assert read(ultravox) == ultravox.voices
    retried = ultravox.listings[1].at - time.monotonic() + time.time()
    assert -0.1 < retried - until[0] < 2


@pytest.mark.parametrize("wait", ["9", "31536000", "9" * 99])
def test_does_not_wait_beyond_the_deadline(ultravox: Ultravox, wait: str) -> None:
    ultravox.fault = lambda exchange: exchange.reply(503, {}, headers={"Retry-After": wait})
    fail(ultravox)
    assert len(ultravox.listings) == 1


def test_waits_longer_each_time(ultravox: Ultravox, monkeypatch: pytest.MonkeyPatch) -> None:
    hurry(monkeypatch, backoff=0.05)
    ultravox.fault = "status_500_always"
    fail(ultravox)
    times = [request.at for request in ultravox.listings]
    first, second, third = (after - before for before, after in itertools.pairwise(times))
    assert 0.03 < first < 1
    assert second > 0.07
    assert third > 0.14


def test_each_page_has_its_own_retries(ultravox: Ultravox) -> None:
    ultravox.fault = lambda exchange: (
        exchange.reply(502) if exchange.attempt <= 3 else exchange.normal()
    )
    assert read(ultravox) == ultravox.voices
    assert len(ultravox.listings) == 3 * 4


@pytest.mark.parametrize("status", [400, 401, 429, 500])
def test_error_names_the_status_and_nothing_else(ultravox: Ultravox, status: int) -> None:
    answer = {"detail": "said in confidence", "key": API_KEY}
    ultravox.fault = lambda exchange: exchange.reply(status, answer, reason="in confidence")
    error = fail(ultravox)
    assert str(status) in str(error)
    assert API_KEY not in str(error)
    assert "confidence" not in str(error)
    assert isinstance(error, KeyRejected) == (status in (401, 429))


# The deadline


@pytest.mark.parametrize(
    "fault",
    ["hang", "hang_in_headers", "hang_in_body", "drip_headers", "drip_body", "continue_endless"],
)
def test_deadline_cuts_off_whatever_is_under_way(ultravox: Ultravox, fault: str) -> None:
    ultravox.fault = fault
    error = fail(ultravox, timeout=30, deadline=time.monotonic() + 0.3)
    assert "too long" in str(error)
    assert len(ultravox.listings) == 1


def test_deadline_is_of_the_whole_listing(ultravox: Ultravox) -> None:
    ultravox.latency = 0.2
    fail(ultravox, deadline=time.monotonic() + 0.5)


def test_deadline_ends_retries(ultravox: Ultravox, monkeypatch: pytest.MonkeyPatch) -> None:
    hurry(monkeypatch, backoff=60)
    ultravox.fault = "status_503_always"
    fail(ultravox)


def test_nothing_is_asked_after_the_deadline(ultravox: Ultravox) -> None:
    fail(ultravox, deadline=time.monotonic() - 1)
    assert ultravox.requests == []


def test_deadline_cuts_off_a_handshake(ultravox: Ultravox) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"https://127.0.0.1:{silent.getsockname()[1]}"
        fail(ultravox, api_url=url, timeout=30, deadline=time.monotonic() + 0.3)


# Limits


@pytest.mark.parametrize("fault", ["body_gzip_bomb", "body_deflate_bomb", "body_huge"])
def test_a_page_too_large_is_not_held_in_memory(ultravox: Ultravox, fault: str) -> None:
    ultravox.fault = fault
    fail(ultravox)  # makes the bomb
    tracemalloc.start()
    try:
        assert "bytes" in str(fail(ultravox))
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("limit", ["MAX_PAGE_BYTES", "MAX_BYTES", "MAX_PAGES"])
def test_listing_is_limited(
    ultravox: Ultravox, limit: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []

    def measure(exchange: Exchange) -> None:
        sizes.append(len(exchange.page_json()))
        exchange.normal()

    ultravox.fault = measure
    read(ultravox)
    most = {"MAX_PAGE_BYTES": max(sizes), "MAX_BYTES": sum(sizes), "MAX_PAGES": len(sizes)}[limit]
    monkeypatch.setattr(client, limit, most)
    assert read(ultravox) == ultravox.voices
    monkeypatch.setattr(client, limit, most - 1)
    assert limit.rpartition("_")[2].lower() in str(fail(ultravox))


def test_redirects_of_a_page_are_limited(ultravox: Ultravox) -> None:
    def redirect(exchange: Exchange, hops: int) -> None:
        moved = exchange.request.target.count("moved")
        if moved == hops:
            exchange.normal()
        else:
            exchange.reply(302, headers={"Location": f"{exchange.request.target}&moved"})

    ultravox.fault = lambda exchange: redirect(exchange, 5)
    assert read(ultravox) == ultravox.voices
    ultravox.fault = lambda exchange: redirect(exchange, 6)
    assert "redirected" in str(fail(ultravox))


# The thread


def test_reads_no_more_than_a_few_pages_ahead() -> None:
    with Ultravox(count=20, max_page_size=1) as ultravox:
        with closing(client_of(ultravox).pages()) as pages:
            next(pages)
            ultravox.wait_for_requests(3)
            with pytest.raises(TimeoutError):
                ultravox.wait_for_requests(5, timeout=0.2)
        assert_nothing_is_left(ultravox)


@pytest.mark.parametrize("fault", [None, "hang_later_page", "second_page_500"])
def test_caller_may_leave_early(
    ultravox: Ultravox, fault: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    hurry(monkeypatch, backoff=3)
    ultravox.fault = fault
    with pytest.raises(InterruptedError), closing(client_of(ultravox).pages()) as pages:  # noqa: PT012
        next(pages)
        ultravox.wait_for_requests(2)
        raise InterruptedError
    assert_nothing_is_left(ultravox)


def test_tick_is_called_while_waiting(ultravox: Ultravox) -> None:
    ultravox.latency = 0.2
    ticks: list[float] = []
    list(client_of(ultravox).pages(tick=lambda: ticks.append(time.monotonic())))
    assert len(ticks) > 8


def test_tick_may_end_it(ultravox: Ultravox) -> None:
    ultravox.fault = "hang"

    def tick() -> None:
        if ultravox.requests:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        list(client_of(ultravox).pages(tick=tick))


# TLS


@pytest.fixture
def tls(tmp_path: Path) -> Iterator[tuple[Ultravox, Path]]:
    """Ultravox by TLS, and its own certificate."""
    key, day = ec.generate_private_key(ec.SECP256R1()), datetime.timedelta(days=1)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "Ultravox")])
    now = datetime.datetime.now(datetime.UTC)
    address = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, now - day, now + day)
    certificate = builder.add_extension(address, critical=False).sign(key, hashes.SHA256())
    file = tmp_path / "certificate.pem"
    pem, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    private = key.private_bytes(pem, form, serialization.NoEncryption())
    file.write_bytes(private + certificate.public_bytes(pem))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    with Ultravox(count=5, max_page_size=2, ssl_context=context) as ultravox:
        yield ultravox, file
        assert_nothing_is_left(ultravox)


def test_certificate_must_be_trusted(
    tls: tuple[Ultravox, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    ultravox, certificate = tls
    hurry(monkeypatch)
    assert "TLS" in str(fail(ultravox))
    assert ultravox.requests == []
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    assert read(ultravox) == ultravox.voices
