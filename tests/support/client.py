"""An UltravoxClient that waits little, and a check that it leaves nothing behind."""

import threading
import time
from typing import Any

import pytest

from tests.ultravox import API_KEY, Ultravox
from ultravox import UltravoxClient, client
from voiceproject import threads

DEADLINE = 8.0  # seconds


def hurry(monkeypatch: pytest.MonkeyPatch, *, backoff: float = 0.01) -> None:
    """Shorten the client's waits, and lower its limits."""
    monkeypatch.setattr(client, "BACKOFF", backoff)
    for limit, most in {"MAX_PAGES": 8, "MAX_PAGE_BYTES": 1 << 18, "MAX_BYTES": 1 << 19}.items():
        monkeypatch.setattr(client, limit, most)
    monkeypatch.setattr(threads, "TICK", 0.02)


def make_client(ultravox: Ultravox, **options: Any) -> UltravoxClient:
    defaults: dict[str, Any] = {
        "api_url": ultravox.url,
        "api_key": API_KEY,
        "timeout": 5,
        "deadline": time.monotonic() + DEADLINE,
    }
    return UltravoxClient(**(defaults | options))


def assert_nothing_is_left(ultravox: Ultravox) -> None:
    """Check that no thread and no connection is left, and that the decoy got no connection."""
    ultravox.wait_until(lambda: ultravox.open_connections == 0)
    assert not [thread for thread in threading.enumerate() if thread.name == "read-ahead"]
    assert ultravox.decoy.connections == 0
