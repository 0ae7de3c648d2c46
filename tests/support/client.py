"""A client of Ultravox that does not wait long, and what must be left of it: nothing."""

import threading
import time
from typing import Any

import pytest

from tests.ultravox import API_KEY, Ultravox
from ultravox import UltravoxClient, client
from voiceproject import threads

DEADLINE = 8.0  # seconds


def hurry(monkeypatch: pytest.MonkeyPatch, *, backoff: float = 0.01) -> None:
    """Let clients wait so many seconds before a retry, look often at what is under way, and take little."""
    monkeypatch.setattr(client, "BACKOFF", backoff)
    for limit, most in {"MAX_PAGES": 8, "MAX_PAGE_BYTES": 1 << 18, "MAX_BYTES": 1 << 19}.items():
        monkeypatch.setattr(client, limit, most)
    monkeypatch.setattr(threads, "TICK", 0.02)


def client_of(ultravox: Ultravox, **changes: Any) -> UltravoxClient:
    options: dict[str, Any] = {
        "api_url": ultravox.url,
        "api_key": API_KEY,
        "timeout": 5,
        "deadline": time.monotonic() + DEADLINE,
    }
    return UltravoxClient(**(options | changes))


def assert_nothing_is_left(ultravox: Ultravox) -> None:
    """Check that no thread and no connection outlives a listing, and that the decoy saw nobody."""
    ultravox.wait_until(lambda: ultravox.open_connections == 0)
    assert not [thread for thread in threading.enumerate() if thread.name == "read-ahead"]
    assert ultravox.decoy.connections == 0
