"""Ultravox misbehaves in each way of the catalogue of faults, through a real socket."""

import threading
import time
from typing import Any

import pytest

from agencies.models import Agency
from tests.support.reliability import shows
from tests.ultravox import FAULTS, Fault, Ultravox
from voices import ultravox as client
from voices.models import SyncRun, Voice
from voices.sync import sync_voices
from voices.ultravox import UltravoxError

TIMEOUT, DEADLINE = 0.6, 4.0  # seconds

pytestmark = pytest.mark.django_db(transaction=True)


def table() -> list[tuple[Any, ...]]:
    return list(Voice.objects.order_by("id").values_list())


@pytest.fixture(autouse=True)
def impatient(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.ULTRAVOX_TIMEOUT = TIMEOUT
    settings.ULTRAVOX_DEADLINE = DEADLINE
    settings.ULTRAVOX_MAX_PAGE_BYTES = 4 * 1024 * 1024
    settings.ULTRAVOX_MAX_PAGES = 50
    monkeypatch.setattr(client.client, "BACKOFF", 0.02)
    monkeypatch.setattr(client.read_ahead, "TICK", 0.05)


@pytest.mark.parametrize("fault", FAULTS.values(), ids=lambda fault: fault.name)
@shows("fault")
def test_fault(fault: Fault, ultravox: Ultravox, agency: Agency) -> None:
    Voice.objects.create(id="kept", name="Kept", last_synced_at="2020-01-01T00:00:00Z")
    before = table()
    ultravox.drip_interval = 0.2
    ultravox.fault = fault.name
    began = time.monotonic()
    if fault.expect == "ultravox_error":
        with pytest.raises(UltravoxError):
            sync_voices(trigger="service")
        assert table() == before
        run = SyncRun.objects.get()
        assert (run.status, run.error_code) == ("failed", "ultravox_error")
    else:
        run = sync_voices(trigger="service")
        assert run.status == "succeeded"
        assert run.skipped == fault.skipped
        assert run.synced == fault.synced(len(ultravox.voices)) == Voice.objects.count() - 1
    assert time.monotonic() - began < DEADLINE + 2
    if fault.requests is not None:
        assert len(ultravox.listings) <= fault.requests
    assert ultravox.decoy.connections == 0
    ultravox.wait_until(lambda: ultravox.open_connections == 0)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("ultravox")]
