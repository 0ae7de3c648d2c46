"""Ultravox misbehaves in each way of the catalogue of faults, through a real socket."""

import time
from collections.abc import Iterator
from typing import Any

import pytest

from agencies.models import Agency
from tests.support.client import DEADLINE, assert_nothing_is_left, client_of, hurry
from tests.ultravox import FAULTS, Fault, Ultravox
from voiceproject.errors import KeyRejected, UltravoxError
from voices.models import SyncRun, Voice
from voices.records import UnusableRecord, to_row
from voices.sync import sync_voices

# One of each group and of each outcome goes all the way into the table.
THROUGH_A_SYNC = (
    "status_403",
    "status_503_always",
    "status_500_thrice",
    "redirect_302_elsewhere",
    "content_length_missing_cut_once",
    "hang_later_page",
    "close_in_body_always",
    "body_gzip_bomb",
    "records_bad_many",
    "voice_id_surrogate",
    "number_5000_digits",
    "definition_nested_900",
    "voice_twice_over_pages",
    "next_endless",
    "second_page_401",
)


@pytest.fixture
def ultravox(settings: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Ultravox]:
    """A listing of three pages, and a client that does not wait long."""
    hurry(monkeypatch)
    with Ultravox(count=5, max_page_size=2) as ultravox:
        ultravox.drip_interval = 0.05
        settings.ULTRAVOX_API_URL = ultravox.url
        yield ultravox


def timeout(fault: Fault) -> float:
    """Return the seconds for one request: few where they will be waited for in vain."""
    return 5 if not fault.slow else 0.1 if fault.fails else 0.4


def assert_ended(ultravox: Ultravox, fault: Fault, began: float) -> None:
    assert time.monotonic() - began < DEADLINE
    assert fault.requests is None or len(ultravox.listings) <= fault.requests
    assert_nothing_is_left(ultravox)


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_client_meets(fault: Fault, ultravox: Ultravox) -> None:
    ultravox.fault = fault
    began = time.monotonic()
    client = client_of(ultravox, timeout=timeout(fault))
    if fault.fails:
        with pytest.raises(UltravoxError) as raised:
            list(client.pages())
        assert (raised.type is KeyRejected) == (fault.expect == "key_rejected")
    else:
        records = [record for page in client.pages() for record in page.records]
        ids, skipped = set(), 0
        for record in records:
            try:
                ids.add(to_row(record)[0])
            except UnusableRecord:
                skipped += 1
        assert ids >= {voice["voiceId"] for voice in ultravox.voices}
        assert (len(ids), skipped) == (len(ultravox.voices) + fault.extra, fault.skipped)
        if fault.group not in ("records", "paging"):
            assert records == ultravox.voices
    assert_ended(ultravox, fault, began)


@pytest.mark.parametrize("fault", [FAULTS[name] for name in THROUGH_A_SYNC], ids=THROUGH_A_SYNC)
@pytest.mark.django_db(transaction=True)
def test_sync_meets(fault: Fault, ultravox: Ultravox, agency: Agency, settings: Any) -> None:
    settings.ULTRAVOX_TIMEOUT, settings.ULTRAVOX_DEADLINE = timeout(fault), DEADLINE
    Voice.objects.create(id="kept", name="Kept", last_synced_at="2020-01-01T00:00:00Z")
    before = list(Voice.objects.values_list())
    ultravox.fault = fault
    began = time.monotonic()
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
    assert_ended(ultravox, fault, began)
