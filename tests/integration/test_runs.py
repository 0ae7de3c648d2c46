"""A run is the lock on its agency's key: it is opened or joined, kept alive, and abandoned if dead."""

import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from django.db import OperationalError, connection, connections
from django.utils import timezone

from agencies.models import Agency
from tests.support.environment import ENVIRONMENT
from tests.support.project import END_OTHER_SESSIONS, SLOW, STEPS, Database, wait_for
from tests.ultravox import Ultravox
from voiceproject.errors import KeyRejected, SaveFailed, UltravoxError
from voices import runs
from voices.models import SyncRun, Voice
from voices.sync import sync_voices

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def is_waiting(caplog: pytest.LogCaptureFixture) -> Callable[[], bool]:
    caplog.set_level("INFO", "voices")
    return lambda: "Waiting for run" in caplog.text


def open_run(agency: Agency, **columns: Any) -> SyncRun:
    """Open a run, as another process does."""
    now = timezone.now()
    columns = {"trigger": "user", "started_at": now, "heartbeat_at": now} | columns
    return SyncRun.objects.create(agency=agency, **columns)


def close(run: SyncRun, status: str, **columns: Any) -> None:
    SyncRun.objects.filter(pk=run.pk).update(status=status, **columns)


def in_thread(call: Callable[[], Any]) -> Future[Any]:
    def call_and_close() -> Any:
        try:
            return call()
        finally:
            connection.close()

    return ThreadPoolExecutor(1).submit(call_and_close)


def create_revoked() -> Agency:
    """Create an agency that is tried first, and whose key Ultravox rejects."""
    return Agency.objects.create(
        name="Revoked", ultravox_api_key="revoked", created_at="2020-01-01T00:00:00Z"
    )


def statuses() -> list[str]:
    return list(SyncRun.objects.order_by("pk").values_list("status", flat=True))


# Joining


def test_a_sync_waits_no_longer_than_its_own_deadline(
    ultravox: Ultravox, agency: Agency, settings: Any
) -> None:
    settings.ULTRAVOX_DEADLINE = 0.5
    open_run(agency)
    began = time.monotonic()
    with pytest.raises(UltravoxError, match="takes too long"):
        sync_voices(trigger="service")
    assert 0.5 <= time.monotonic() - began < 1.5
    assert statuses() == ["running"]
    assert ultravox.listings == []


def test_a_sync_that_joined_an_interrupted_run_starts_its_own(
    ultravox: Ultravox, agency: Agency, is_waiting: Callable[[], bool]
) -> None:
    def interrupt(*_: Any) -> None:
        wait_for(is_waiting)
        raise KeyboardInterrupt

    ultravox.hold_after(1)
    first = in_thread(lambda: sync_voices(trigger="command", progress=interrupt))
    ultravox.wait_for_requests(2)
    joined = in_thread(lambda: sync_voices(trigger="service"))
    wait_for(is_waiting)
    ultravox.release()
    with pytest.raises(KeyboardInterrupt):
        first.result()
    assert joined.result().synced == 300
    assert statuses() == ["failed", "succeeded"]
    assert SyncRun.objects.earliest("pk").error_code == "interrupted"


def test_a_rejected_key_is_one_run_and_one_error(
    ultravox: Ultravox, is_waiting: Callable[[], bool]
) -> None:
    agency = create_revoked()
    ultravox.hold_after(0)
    calls = [
        in_thread(lambda: sync_voices(trigger="user", agency=agency)),
        in_thread(lambda: sync_voices(trigger="admin")),
    ]
    wait_for(is_waiting)
    ultravox.release()
    first, second = (call.exception(20) for call in calls)
    assert isinstance(first, KeyRejected)
    assert isinstance(second, KeyRejected)
    run = SyncRun.objects.get()
    assert (run.agency, run.status) == (agency, "failed")
    assert run.error_message == str(first) == str(second)


def test_a_sync_with_any_key_continues_when_the_joined_key_was_rejected(
    ultravox: Ultravox, agency: Agency, is_waiting: Callable[[], bool]
) -> None:
    run = open_run(create_revoked())
    joined = in_thread(lambda: sync_voices(trigger="schedule"))
    wait_for(is_waiting)
    close(run, "failed", error_code="ultravox_error", key_refused=True)
    assert (joined.result().agency, joined.result().status) == (agency, "succeeded")
    assert SyncRun.objects.count() == 2


@pytest.mark.parametrize("status", ["succeeded", "failed"])
def test_the_next_key_is_in_use(
    status: str, ultravox: Ultravox, agency: Agency, is_waiting: Callable[[], bool]
) -> None:
    create_revoked()
    run = open_run(agency)
    joined = in_thread(lambda: sync_voices(trigger="service"))
    wait_for(is_waiting)
    close(run, status, synced=9, error_code="ultravox_error", error_message="It is away.")
    if status == "succeeded":
        assert (joined.result().pk, joined.result().synced) == (run.pk, 9)
    else:
        assert str(joined.exception(20)) == "It is away."
    assert statuses() == [status, "failed"]


def test_two_agencies_sync_side_by_side(ultravox: Ultravox) -> None:
    ultravox.keys |= {"key-a", "key-b"}
    agencies = [Agency.objects.create(name=key, ultravox_api_key=key) for key in ("key-a", "key-b")]
    ultravox.hold_after(0)
    syncs = [in_thread(lambda own=own: sync_voices(trigger="user", agency=own)) for own in agencies]
    ultravox.wait_until(lambda: len(ultravox.listings) == 2)  # neither waits for the other
    ultravox.release()
    assert [sync.result(20).synced for sync in syncs] == [300] * 2


# Life and death


def test_a_run_sends_heartbeats_while_ultravox_is_slow(
    ultravox: Ultravox, agency: Agency, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runs, "HEARTBEAT", 0.1)
    ultravox.hold_after(1)
    slow = in_thread(lambda: sync_voices(trigger="service"))
    ultravox.wait_for_requests(2)
    began = SyncRun.objects.get().heartbeat_at
    wait_for(lambda: SyncRun.objects.get().heartbeat_at > began)
    assert (SyncRun.objects.get().pages, SyncRun.objects.get().voices) == (1, 100)
    ultravox.release()
    assert slow.result().status == "succeeded"


@pytest.mark.parametrize("seconds", [-12, 60], ids=["long ago", "clock was set back"])
def test_a_dead_run_is_abandoned(seconds: int, ultravox: Ultravox, agency: Agency) -> None:
    dead = open_run(agency, heartbeat_at=timezone.now() + timedelta(seconds=seconds))
    assert sync_voices(trigger="service").synced == 300
    dead.refresh_from_db()
    assert (dead.status, dead.error_code) == ("abandoned", "abandoned")


def test_an_abandoned_run_writes_nothing(ultravox: Ultravox, agency: Agency) -> None:
    """Its process was suspended for longer than the lease, and continues."""
    ultravox.hold_after(1)
    late = in_thread(lambda: sync_voices(trigger="service"))
    ultravox.wait_for_requests(2)
    SyncRun.objects.update(status="abandoned")
    ultravox.release()
    with pytest.raises(SaveFailed, match="stopped responding"):
        late.result()
    assert Voice.objects.count() == 0
    assert statuses() == ["abandoned"]


def test_a_write_longer_than_the_lease_is_not_abandoned(
    ultravox: Ultravox, agency: Agency, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Syncs that wait for it do not wait for its locks."""
    monkeypatch.setattr(runs, "LEASE", 0.3)
    settings.ULTRAVOX_DEADLINE = 0.3  # of the impatient one
    server = ENVIRONMENT["DATABASE_URL"].rpartition("/")[0]
    database = Database(f"{server}/{connection.settings_dict['NAME']}")
    with database.trigger(SLOW, seconds="2", **STEPS["run's end"]):
        slow = in_thread(lambda: sync_voices(trigger="command"))
        wait_for(database.is_busy)
        run = SyncRun.objects.get()
        wait_for(lambda: SyncRun.objects.filter(runs.is_dead()).exists())
        patient = in_thread(lambda: sync_voices(trigger="schedule"))
        impatient = in_thread(lambda: sync_voices(trigger="service"))
        assert "takes too long" in str(impatient.exception(20))
        assert not slow.done()
        assert (slow.result().pk, patient.result().pk) == (run.pk, run.pk)
    assert statuses() == ["succeeded"]


def test_the_response_to_commit_is_lost(
    ultravox: Ultravox, agency: Agency, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrapper = type(connections["default"])
    commit = wrapper._commit  # type: ignore[attr-defined]
    commits = []

    def lose_the_response(database: Any) -> None:
        commit(database)
        commits.append(database)
        if len(commits) == 2:  # the first opened the run
            database.connection.close()
            raise OperationalError("server closed the connection unexpectedly")

    monkeypatch.setattr(wrapper, "_commit", lose_the_response)
    run = sync_voices(trigger="service")
    assert (run.status, run.synced, Voice.objects.count()) == ("succeeded", 300, 300)
    assert statuses() == ["succeeded"]


@pytest.mark.skipif(connection.vendor == "sqlite", reason="run with DATABASE_URL=postgres://...")
@pytest.mark.parametrize("rejected", [0, 1])
def test_the_database_restarts_while_ultravox_responds(
    rejected: int, ultravox: Ultravox, agency: Agency
) -> None:
    for _ in range(rejected):
        create_revoked()
    ultravox.hold_after(0)
    sync = in_thread(lambda: sync_voices(trigger="schedule"))
    ultravox.wait_for_requests(1)
    with connection.cursor() as cursor:
        cursor.execute(END_OTHER_SESSIONS)
    ultravox.release()
    assert sync.result(20).agency == agency
    assert statuses() == ["failed"] * rejected + ["succeeded"]
