"""Ultravox misbehaves in every way that `FAULTS` lists, over real sockets."""

import time
from collections.abc import Iterator
from typing import Any

import pytest

from agencies.models import Agency
from tests.support.client import DEADLINE, assert_nothing_is_left, hurry, make_client
from tests.ultravox import FAULTS, Fault, Ultravox
from voiceproject.errors import KeyRejected, UltravoxError
from voices.models import SyncRun, Voice
from voices.sync import sync_voices

# At least one for each kind and each outcome
FAULTS_OF_A_SYNC = (
    "status_403",
    "status_500_thrice",
    "redirect_away",
    "hang_later_page",
    "records_bad_many",
    "voice_id_surrogate",
    "number_nan",
    "number_5000_digits",
    "definition_nested_900",
    "voice_twice_on_each_page",
    "second_page_401",
)


@pytest.fixture(scope="module")
def server() -> Iterator[Ultravox]:
    """A listing of three pages."""
    with Ultravox(count=5, max_page_size=2) as server:
        server.drip_interval = 0.05
        yield server


@pytest.fixture
def ultravox(server: Ultravox, settings: Any, monkeypatch: pytest.MonkeyPatch) -> Ultravox:
    hurry(monkeypatch)
    server.reset()
    settings.ULTRAVOX_API_URL = server.url
    return server


def timeout_for(fault: Fault) -> float:
    """Return seconds for one request, few if the client will wait in vain."""
    return 5 if not fault.slow else 0.1 if fault.fails else 0.4


def assert_ended(ultravox: Ultravox, fault: Fault, start: float) -> None:
    assert time.monotonic() - start < DEADLINE
    assert fault.requests is None or len(ultravox.listings) <= fault.requests
    assert_nothing_is_left(ultravox)


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_client(fault: Fault, ultravox: Ultravox) -> None:
    ultravox.fault = fault
    start = time.monotonic()
    client = make_client(ultravox, timeout=timeout_for(fault))
    if fault.fails:
        with pytest.raises(UltravoxError) as raised:
            list(client.pages())
        assert (raised.type is KeyRejected) == (fault.expect == "key_rejected")
    else:
        records = [record for page in client.pages() for record in page.records]
        if fault.exact:
            assert records == ultravox.voices
        ids = {record["voiceId"] for record in records if record}
        assert ids >= {voice["voiceId"] for voice in ultravox.voices}
        assert len(ids) == len(ultravox.voices) + fault.extra
    assert_ended(ultravox, fault, start)


@pytest.mark.parametrize("name", FAULTS_OF_A_SYNC)
@pytest.mark.django_db(transaction=True)
def test_sync(name: str, ultravox: Ultravox, agency: Agency, settings: Any) -> None:
    fault = FAULTS[name]
    settings.ULTRAVOX_TIMEOUT, settings.ULTRAVOX_DEADLINE = timeout_for(fault), DEADLINE
    Voice.objects.create(id="old", name="Old", last_synced_at="2020-01-01T00:00:00Z")
    before = list(Voice.objects.values_list())
    ultravox.fault = fault
    start = time.monotonic()
    if fault.fails:
        with pytest.raises(UltravoxError):
            sync_voices(trigger="service")
        assert list(Voice.objects.values_list()) == before
        run = SyncRun.objects.get()
        assert (run.status, run.error_code) == ("failed", "ultravox_error")
    else:
        run = sync_voices(trigger="service")
        assert (run.status, run.skipped) == ("succeeded", fault.skipped)
        assert run.synced == len(ultravox.voices) + fault.extra == Voice.objects.count() - 1
    assert_ended(ultravox, fault, start)
