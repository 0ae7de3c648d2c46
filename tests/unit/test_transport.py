"""Links from Ultravox's responses: only those on Ultravox's own server are allowed."""

import pytest

from ultravox.transport import Transport
from voiceproject.errors import UltravoxError

ORIGIN = "http://127.0.0.1:8765"
PAGE = f"{ORIGIN}/api/voices?pageSize=100"


@pytest.mark.parametrize(
    ("link", "url"),
    [
        (f"{ORIGIN}/api/voices?cursor=x#fragment", f"{ORIGIN}/api/voices?cursor=x"),
        ("/api/voices?cursor=x", f"{ORIGIN}/api/voices?cursor=x"),
        ("?cursor=x", f"{ORIGIN}/api/voices?cursor=x"),
        (f"{ORIGIN}\\@evil.test/x", f"{ORIGIN}/%5C@evil.test/x"),
    ],
)
def test_links_on_the_same_server(link: str, url: str) -> None:
    assert Transport(ORIGIN).resolve(PAGE, link) == url


@pytest.mark.parametrize(
    "link",
    [
        "",
        "http://evil.test/api/voices",
        "http://127.0.0.1:9/api/voices",
        "https://127.0.0.1:8765/api/voices",
        "http://127.0.0.1:8765@evil.test/api/voices",
        "http://user:password@127.0.0.1:8765/api/voices",
        "//evil.test/api/voices",
        "http://127.0.0.1.evil.test:8765/api/voices",
        "http://127.0.0.1:99999999/",
        "http://[::1",
    ],
)
def test_all_other_links(link: str) -> None:
    with pytest.raises(UltravoxError):
        Transport(ORIGIN).resolve(PAGE, link)


def test_default_port() -> None:
    link = "https://api.ultravox.ai:443/api/voices"
    assert Transport("https://api.ultravox.ai").resolve(link, link).endswith(".ai/api/voices")
