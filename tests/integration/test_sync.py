"""`sync_voices`, the one service function: which key it uses, what it counts, how it fails."""

from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection

from agencies.models import Agency
from sandbox.catalogue import make_voices
from tests.support.answers import in_confidence, store_raw_key, voice_rows
from tests.support.rows import add_run
from tests.ultravox import API_KEY, Ultravox
from voiceproject.errors import (
    CredentialsUnavailable,
    KeyRejected,
    NoApiKey,
    SaveFailed,
    ServiceError,
    UltravoxError,
    WorkerLost,
)
from voices.models import SyncRun, Voice
from voices.sync import ATTEMPTS, sync_voices

pytestmark = pytest.mark.django_db

UNREADABLE = None  # the key of an agency that cannot be decrypted


@pytest.fixture(autouse=True)
def three_voices(ultravox: Ultravox) -> None:
    ultravox.voices = make_voices(3, base_url=ultravox.url)


def create_agencies(*keys: str | None) -> list[Agency]:
    """Create agencies in the order in which they are tried."""
    agencies = []
    for number, key in enumerate(keys):
        agency = Agency.objects.create(name=f"Agency {number}", ultravox_api_key=key or "")
        if key is UNREADABLE:
            store_raw_key(agency, "gAAAAABbroken")
        agencies.append(agency)
    return agencies


def sent_keys(ultravox: Ultravox) -> list[str]:
    return [request.headers["x-api-key"] for request in ultravox.requests]


def outcomes() -> list[tuple[Any, ...]]:
    return list(SyncRun.objects.order_by("pk").values_list("agency", "status", "error_code"))


# What is stored


def test_distinct_voices_and_skipped_records_are_counted(
    agency: Agency, ultravox: Ultravox
) -> None:
    first, *others = ultravox.voices
    ultravox.voices = [first, *others, {"name": "no id"}, None, first | {"name": "the last one"}]
    run = sync_voices(trigger="service")
    for columns in (run, SyncRun.objects.get()):
        assert (columns.status, columns.synced, columns.skipped) == ("succeeded", 3, 2)
    assert (run.pages, run.message) == (1, "Synced 3 voices from Ultravox")
    assert Voice.objects.get(pk=first["voiceId"]).name == "the last one"


def test_a_sync_updates_and_never_deletes(agency: Agency, ultravox: Ultravox) -> None:
    sync_voices(trigger="service")
    rows = voice_rows()
    voices, ultravox.voices = ultravox.voices, []
    assert sync_voices(trigger="service").message == "No voices found in Ultravox"
    assert voice_rows() == rows
    ultravox.voices = [voices[0] | {"name": "new"}]
    sync_voices(trigger="service")
    assert Voice.objects.count() == 3
    assert Voice.objects.get(pk=voices[0]["voiceId"]).name == "new"


# Which key


def test_the_first_key_that_works_is_used_and_each_one_tried_has_a_run(ultravox: Ultravox) -> None:
    keys = (" ", UNREADABLE, "a line\nbreak", "revoked", API_KEY, "never tried")
    _, unreadable, unsendable, revoked, good, _ = create_agencies(*keys)
    assert sync_voices(trigger="service").agency == good
    assert sent_keys(ultravox) == ["revoked", API_KEY]
    assert outcomes() == [
        (unreadable.pk, "failed", "credentials_unavailable"),
        (unsendable.pk, "failed", "credentials_unavailable"),
        (revoked.pk, "failed", "ultravox_error"),
        (good.pk, "succeeded", ""),
    ]


@pytest.mark.parametrize(
    ("keys", "error"),
    [
        (["", "  "], NoApiKey),
        (["", UNREADABLE], CredentialsUnavailable),
        (["revoked", UNREADABLE, ""], CredentialsUnavailable),
        ([UNREADABLE, "revoked"], KeyRejected),
    ],
)
def test_without_a_key_that_works_the_last_error_is_raised(
    keys: list[str | None], error: type[ServiceError]
) -> None:
    create_agencies(*keys)
    with pytest.raises(error):
        sync_voices(trigger="service")
    assert outcomes()[-1][1:] == ("failed", error.code)
    assert error is not NoApiKey or outcomes()[0][0] is None


@pytest.mark.parametrize("key", [API_KEY, "", UNREADABLE, "revoked"])
def test_an_agency_uses_its_own_key_only(ultravox: Ultravox, key: str | None) -> None:
    _, own = create_agencies("another", key)
    errors = {"": NoApiKey, UNREADABLE: CredentialsUnavailable, "revoked": KeyRejected}
    if key == API_KEY:
        assert sync_voices(trigger="user", agency=own).agency == own
    else:
        with pytest.raises(errors[key]):
            sync_voices(trigger="user", agency=own)
    assert sent_keys(ultravox) == ([key] if key else [])
    assert [agency for agency, _, _ in outcomes()] == [own.pk if key != "" else None]


def test_an_error_of_ultravox_is_not_an_error_of_the_key(ultravox: Ultravox) -> None:
    agency, other = create_agencies(API_KEY, "never tried")
    assert (agency.key_works, other.key_works) == (None, None)
    sync_voices(trigger="service")
    for status, works in ((404, (True, None)), (401, (False, False))):
        ultravox.fault = lambda exchange, status=status: exchange.reply(status)
        with pytest.raises(UltravoxError):
            sync_voices(trigger="service")
        agency.refresh_from_db()
        other.refresh_from_db()
        assert (agency.key_works, other.key_works) == works


# Failures


def lose_last_table(ultravox: Ultravox) -> None:
    """Lose the table that the writer writes last."""
    ultravox.voices = make_voices(250, base_url=ultravox.url)
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE agency_voices RENAME TO lost")


def fault(response: Callable[[Any], None]) -> Callable[[Ultravox], None]:
    def set_up(ultravox: Ultravox) -> None:
        ultravox.voices = make_voices(250, base_url=ultravox.url)
        ultravox.fault = response

    return set_up


ELSEWHERE = {"results": [{"voiceId": "new"}], "next": "http://localhost:9/", "total": 2}
FAILURES: dict[str, tuple[type[ServiceError], Callable[[Ultravox], object]]] = {
    "table lost": (SaveFailed, lose_last_table),
    "error with secrets": (UltravoxError, fault(in_confidence)),
    "next elsewhere": (UltravoxError, fault(lambda exchange: exchange.reply(200, ELSEWHERE))),
    "second page": (UltravoxError, fault(lambda it: it.normal() if it.n % 2 else it.reply(403))),
    "hangs": (UltravoxError, fault(lambda exchange: exchange.hang())),
}


@pytest.mark.parametrize(("error", "set_up"), FAILURES.values(), ids=FAILURES)
def test_a_failed_sync_leaves_the_table_as_it_was(
    agency: Agency,
    ultravox: Ultravox,
    settings: Any,
    error: type[ServiceError],
    set_up: Callable[[Ultravox], object],
) -> None:
    sync_voices(trigger="service")
    rows = voice_rows()
    settings.ULTRAVOX_DEADLINE = 20 if error is SaveFailed else 0.4
    set_up(ultravox)
    with pytest.raises(error) as raised:
        sync_voices(trigger="service")
    assert API_KEY not in raised.value.message
    assert voice_rows() == rows
    run = SyncRun.objects.latest("pk")
    assert (run.status, run.error_code, run.synced) == ("failed", error.code, 0)
    assert run.error_message.startswith(raised.value.message.split(".")[0])


def test_a_task_whose_worker_dies_each_time_is_given_up(agency: Agency, ultravox: Ultravox) -> None:
    for _ in range(ATTEMPTS):
        add_run(None, status="abandoned", task_id="t")
    with pytest.raises(WorkerLost):
        sync_voices(trigger="schedule", task_id="t")
    assert outcomes()[-1] == (None, "failed", "worker_lost")
    assert not ultravox.requests
    assert sync_voices(trigger="schedule", task_id="another").synced == 3
