"""One sync for each agency's key at a time, by whichever door, in whichever process."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
import requests
from django.db import OperationalError, connection, connections
from django.utils import timezone
from rest_framework_simplejwt.tokens import AccessToken

from agencies.models import Agency
from tests.support.environment import ENVIRONMENT, SERVICE_KEY
from tests.support.project import END_OTHER_SESSIONS, SLOW, STEPS, Database, Project, wait_for
from tests.support.reliability import shows
from tests.support.seeding import add_agency, add_user
from tests.ultravox import Ultravox
from voiceproject.errors import KeyRejected, NoApiKey, UltravoxError
from voices import runs
from voices.models import SyncRun, Voice
from voices.sync import sync_voices

RUNS = "SELECT trigger, status, error_code FROM voice_sync_runs ORDER BY id"


def post(url: str, **headers: str) -> requests.Response:
    return requests.post(f"{url}/functions/v1/voices-sync", headers=headers, timeout=60)


def at_once(times: int, call: Callable[[], Any]) -> list[Any]:
    with ThreadPoolExecutor(times) as pool:
        return [future.result() for future in [pool.submit(call) for _ in range(times)]]


@shows("concurrency")
def test_twenty_posts_are_one_sync(
    project: Callable[..., Project],
    ultravox: Ultravox,
    record_property: Callable[[str, object], None],
) -> None:
    """Twenty POSTs at once: all answered, by one or two syncs."""
    made = project(ULTRAVOX_API_URL=ultravox.url)
    add_agency(made)
    url = made.serve()
    ultravox.latency = 0.2
    answers = at_once(20, lambda: post(url, apikey=SERVICE_KEY))
    assert [answer.status_code for answer in answers] == [200] * 20
    assert {answer.json()["stats"]["synced"] for answer in answers} == {300}
    listings = len(ultravox.listings) // 3
    assert listings <= 2
    assert made.database.rows(RUNS) == [("service", "succeeded", "")] * listings
    record_property("concurrent_posts", 20)


@shows("concurrency")
def test_more_syncs_than_a_process_holds(
    project: Callable[..., Project], ultravox: Ultravox
) -> None:
    """Forty POSTs while Ultravox hangs: 24 wait for it, the others are `busy` at once, pages come quickly."""
    made = project(ULTRAVOX_API_URL=ultravox.url)
    add_agency(made)
    url = made.serve("--workers=1")
    ultravox.hold_after(0)
    with ThreadPoolExecutor(40) as pool:
        calls = [pool.submit(post, url, apikey=SERVICE_KEY) for _ in range(40)]
        wait_for(lambda: sum(call.done() for call in calls) == 16)
        began = time.monotonic()
        for answer in [call.result() for call in calls if call.done()]:
            assert (answer.status_code, answer.json()["code"]) == (503, "busy")
            assert 0 < int(answer.headers["Retry-After"]) <= 10
        assert requests.get(f"{url}/admin/login/", timeout=10).status_code == 200
        assert time.monotonic() - began < 2
        ultravox.release()
        assert sorted(call.result().status_code for call in calls) == [200] * 24 + [503] * 16
    assert post(url, apikey=SERVICE_KEY).status_code == 200


@shows("concurrency")
def test_all_doors_join_one_sync_and_share_its_failure(
    project: Callable[..., Project], ultravox: Ultravox
) -> None:
    """All doors ask at once for a sync that fails: one failure, the same for all."""
    made = project(ULTRAVOX_API_URL=ultravox.url)
    token = AccessToken.for_user(add_user(made, add_agency(made)))
    url = made.serve()
    ultravox.hold_after(1)
    with ThreadPoolExecutor(4) as pool:
        first = pool.submit(post, url, authorization=f"Bearer {token}")
        ultravox.wait_for_requests(2)
        others = [
            pool.submit(post, url, apikey=SERVICE_KEY),
            pool.submit(post, url, authorization=f"Bearer {token}"),
        ]
        command = made.start("manage.py", "sync_voices", "-v", "2", log="command")
        wait_for(lambda: made.log("web").count("Waiting for run 1") == 2)
        wait_for(lambda: "Waiting for run 1" in made.log("command"))
        ultravox.fault = lambda exchange: exchange.reply(418, {})
        ultravox.release()
        assert [each.result().status_code for each in (first, *others)] == [502] * 3
    assert command.wait(20) == 1
    assert "status 418" in made.log("command")
    assert len(ultravox.listings) == 3
    assert made.database.rows(RUNS) == [("user", "failed", "ultravox_error")]


@shows("concurrency")
def test_two_agencies_sync_side_by_side(
    project: Callable[..., Project], ultravox: Ultravox
) -> None:
    """Two agencies sync at once: side by side, without a deadlock."""
    made = project(ULTRAVOX_API_URL=ultravox.url)
    ultravox.keys |= {"key-a", "key-b"}
    ids = [add_agency(made, key=f"key-{x}") for x in "ab"]
    ultravox.hold_after(0)
    with ThreadPoolExecutor(2) as pool:
        both = [pool.submit(made.manage, "sync_voices", "--agency", each) for each in ids]
        ultravox.wait_until(lambda: len(ultravox.listings) == 2, 30)  # neither waits for the other
        ultravox.release()
        assert [each.result().stdout for each in both] == ["Synced 300 voices from Ultravox\n"] * 2
    assert made.database.rows(RUNS) == [("command", "succeeded", "")] * 2


@pytest.mark.django_db(transaction=True)
class TestInOneProcess:
    @pytest.fixture(autouse=True)
    def log(self, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level("INFO", "voices")
        self.waits = lambda: "Waiting for run" in caplog.text

    def under_way(self, agency: Agency, **fields: Any) -> SyncRun:
        """Return the open run of another process."""
        now = timezone.now()
        fields = {"trigger": "user", "started_at": now, "heartbeat_at": now} | fields
        return SyncRun.objects.create(agency=agency, **fields)

    def end(self, run: SyncRun, status: str, **fields: Any) -> None:
        SyncRun.objects.filter(pk=run.pk).update(status=status, **fields)

    def in_thread(self, call: Callable[[], Any]) -> Future[Any]:
        def closing() -> Any:
            try:
                return call()
            finally:
                connection.close()

        return ThreadPoolExecutor(1).submit(closing)

    def refused_first(self, name: str = "Revoked") -> Agency:
        """Return an agency whose key is tried first, and refused."""
        return Agency.objects.create(
            name=name, ultravox_api_key="revoked", created_at="2020-01-01T00:00:00Z"
        )

    def test_joins_within_its_own_deadline(
        self, ultravox: Ultravox, agency: Agency, settings: Any
    ) -> None:
        settings.ULTRAVOX_DEADLINE = 1
        self.under_way(agency)
        began = time.monotonic()
        with pytest.raises(UltravoxError, match="under way"):
            sync_voices(trigger="service")
        assert 1 <= time.monotonic() - began < 2
        assert SyncRun.objects.count() == 1
        assert ultravox.listings == []

    def test_returns_the_run_that_it_joined(self, ultravox: Ultravox, agency: Agency) -> None:
        run = self.under_way(agency)
        joined = self.in_thread(lambda: sync_voices(trigger="service"))
        wait_for(self.waits)
        self.end(run, "succeeded", synced=7)
        assert (joined.result().pk, joined.result().synced) == (run.pk, 7)
        assert SyncRun.objects.count() == 1

    def test_takes_over_from_an_interrupted_run(self, ultravox: Ultravox, agency: Agency) -> None:
        def interrupt(*_: Any) -> None:
            wait_for(self.waits)
            raise KeyboardInterrupt

        ultravox.hold_after(1)
        first = self.in_thread(lambda: sync_voices(trigger="command", progress=interrupt))
        ultravox.wait_for_requests(2)
        joined = self.in_thread(lambda: sync_voices(trigger="service"))
        wait_for(self.waits)
        ultravox.release()
        with pytest.raises(KeyboardInterrupt):
            first.result()
        assert joined.result().synced == 300
        assert [r.status for r in SyncRun.objects.order_by("id")] == ["failed", "succeeded"]

    @pytest.mark.parametrize("ahead", [-12, 60], ids=["long ago", "since the clock was set back"])
    def test_abandons_a_dead_run(
        self, ahead: int, ultravox: Ultravox, agency: Agency, settings: Any
    ) -> None:
        settings.ULTRAVOX_DEADLINE = 5
        dead = self.under_way(agency, heartbeat_at=timezone.now() + timedelta(seconds=ahead))
        assert sync_voices(trigger="service").synced == 300
        dead.refresh_from_db()
        assert (dead.status, dead.error_code) == ("abandoned", "abandoned")

    def test_a_run_given_up_writes_nothing(self, ultravox: Ultravox, agency: Agency) -> None:
        """A process that was suspended for longer than the lease comes back."""
        ultravox.hold_after(1)
        late = self.in_thread(lambda: sync_voices(trigger="service"))
        ultravox.wait_for_requests(2)
        SyncRun.objects.update(status="abandoned")
        ultravox.release()
        with pytest.raises(Exception, match="taken for dead"):
            late.result()
        assert Voice.objects.count() == 0
        assert SyncRun.objects.get().status == "abandoned"

    def test_a_write_longer_than_the_lease_is_joined(
        self, ultravox: Ultravox, agency: Agency, settings: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """It is not given up, and who waits for it waits for no lock of the database's."""
        monkeypatch.setattr(runs, "LEASE", 0.3)
        settings.ULTRAVOX_DEADLINE = 0.3  # of the impatient one
        server = ENVIRONMENT["DATABASE_URL"].rpartition("/")[0]
        database = Database(f"{server}/{connection.settings_dict['NAME']}")
        seconds = {
            kind: sql.replace("pg_sleep(30)", "pg_sleep(2)").replace("300000000", "20000000")
            for kind, sql in SLOW.items()
        }
        with database.trigger(seconds, **STEPS["run's end"]):
            slow = self.in_thread(lambda: sync_voices(trigger="command"))
            wait_for(database.is_busy)
            run = SyncRun.objects.get()
            wait_for(lambda: SyncRun.objects.filter(runs.is_dead()).exists())
            patient = self.in_thread(lambda: sync_voices(trigger="schedule"))
            impatient = self.in_thread(lambda: sync_voices(trigger="service"))
            assert "under way" in str(impatient.exception(20))
            assert not slow.done()
            assert (slow.result().pk, patient.result().pk) == (run.pk, run.pk)
        assert SyncRun.objects.get().status == "succeeded"

    def test_heartbeats_while_ultravox_is_slow(
        self, ultravox: Ultravox, agency: Agency, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(runs, "HEARTBEAT", 0.1)
        ultravox.hold_after(1)
        slow = self.in_thread(lambda: sync_voices(trigger="service"))
        ultravox.wait_for_requests(2)
        began = SyncRun.objects.get().heartbeat_at
        wait_for(lambda: SyncRun.objects.get().heartbeat_at > began)
        assert SyncRun.objects.get().pages == 1
        ultravox.release()
        assert slow.result().status == "succeeded"

    def test_any_key_goes_on_where_a_users_key_was_refused(
        self, ultravox: Ultravox, agency: Agency
    ) -> None:
        run = self.under_way(self.refused_first())
        joined = self.in_thread(lambda: sync_voices(trigger="schedule"))
        wait_for(self.waits)
        self.end(run, "failed", error_code="ultravox_error", key_refused=True)
        assert joined.result().agency == agency
        assert joined.result().status == "succeeded"
        assert SyncRun.objects.count() == 2

    @pytest.mark.parametrize("triggers", [("user", "user"), ("user", "admin"), ("admin", "admin")])
    def test_a_refused_key_is_one_run_and_one_error(
        self, triggers: tuple[str, str], ultravox: Ultravox
    ) -> None:
        """Two callers at once, by that agency's key or by any: one row, the same error for both."""
        agency = self.refused_first()
        ultravox.hold_after(0)
        calls = [
            self.in_thread(
                lambda key=agency if trigger == "user" else None, trigger=trigger: sync_voices(
                    trigger=trigger, agency=key
                )
            )
            for trigger in triggers
        ]
        wait_for(self.waits)
        ultravox.release()
        first, second = (call.exception(20) for call in calls)
        assert isinstance(first, KeyRejected)
        assert isinstance(second, KeyRejected)
        assert str(first) == str(second)
        assert "refused this API key with status 401" in str(first)
        run = SyncRun.objects.get()
        assert (run.agency, run.status, run.error_message) == (agency, "failed", str(first))

    @pytest.mark.parametrize("status", ["succeeded", "failed"])
    def test_the_next_key_is_in_use(self, status: str, ultravox: Ultravox, agency: Agency) -> None:
        """A service whose first key is refused joins the sync under way with the second."""
        revoked = self.refused_first()
        run = self.under_way(agency)
        joined = self.in_thread(lambda: sync_voices(trigger="service"))
        wait_for(lambda: SyncRun.objects.filter(agency=revoked, status="failed").exists())
        wait_for(self.waits)
        self.end(run, status, synced=9, error_code="ultravox_error", error_message="It is away.")
        if status == "succeeded":
            assert joined.result().pk == run.pk
        else:
            assert str(joined.exception(20)) == "It is away."
        refused = SyncRun.objects.exclude(pk=run.pk).get()
        assert "refused this API key with status 401" in refused.error_message

    def test_a_herd_is_one_sync(self, ultravox: Ultravox, agency: Agency) -> None:
        """However soon each ends: a key that cannot be decrypted, and a listing that comes at once."""
        Agency.objects.create(name="Broken", encrypted_key="x", created_at="2019-01-01T00:00:00Z")
        ultravox.voices = ultravox.voices[:3]
        ready = threading.Barrier(20)

        def call() -> int:
            connection.ensure_connection()
            ready.wait()
            return sync_voices(trigger="service").synced

        for _ in range(3):
            calls = [self.in_thread(call) for _ in range(20)]
            assert [each.result() for each in calls] == [3] * 20

    @pytest.mark.parametrize("own", [True, False])
    @pytest.mark.parametrize("key", ["", "  "])
    def test_no_key_is_one_run_without_an_agency(self, key: str, own: bool) -> None:
        agency = Agency.objects.create(name="Keyless", ultravox_api_key=key)
        with pytest.raises(NoApiKey) as raised:
            sync_voices(trigger="user" if own else "service", agency=agency if own else None)
        assert ("Your agency" in str(raised.value)) is own
        run = SyncRun.objects.get()
        assert (run.agency, run.status, run.error_code) == (None, "failed", "no_api_key")

    def test_an_agency_that_was_deleted_meanwhile_is_passed_over(
        self, ultravox: Ultravox, agency: Agency
    ) -> None:
        self.refused_first()
        deleted = Agency.objects.create(
            name="Deleted", ultravox_api_key="x", created_at="2021-01-01T00:00:00Z"
        )
        ultravox.hold_after(0)
        sync = self.in_thread(lambda: sync_voices(trigger="schedule"))
        ultravox.wait_for_requests(1)
        deleted.delete()
        ultravox.release()
        assert sync.result(20).agency == agency
        assert SyncRun.objects.count() == 2


@pytest.mark.skipif(connection.vendor == "sqlite", reason="run with DATABASE_URL=postgres://...")
@pytest.mark.django_db(transaction=True)
class TestTheConnectionBreaks:
    """The server ends this process's sessions, as when it restarts; the next ones are good."""

    in_thread = TestInOneProcess.in_thread
    refused_first = TestInOneProcess.refused_first

    def test_while_a_key_is_refused(self, ultravox: Ultravox, agency: Agency) -> None:
        """The run is closed, and the next key is tried."""
        self.refused_first()
        ultravox.hold_after(0)
        sync = self.in_thread(lambda: sync_voices(trigger="schedule"))
        ultravox.wait_for_requests(1)
        with connection.cursor() as cursor:
            cursor.execute(END_OTHER_SESSIONS)
        ultravox.release()
        assert sync.result(20).agency == agency
        assert [r.status for r in SyncRun.objects.order_by("id")] == ["failed", "succeeded"]

    def test_while_another_sync_is_waited_for(
        self, ultravox: Ultravox, agency: Agency, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level("INFO", "voices")
        ultravox.hold_after(1)
        first = self.in_thread(lambda: sync_voices(trigger="schedule"))
        ultravox.wait_for_requests(2)
        joined = self.in_thread(lambda: sync_voices(trigger="service"))
        wait_for(lambda: "Waiting for run" in caplog.text)
        with connection.cursor() as cursor:
            cursor.execute(END_OTHER_SESSIONS)
        wait_for(lambda: "could not be looked at" in caplog.text)
        ultravox.release()
        assert joined.result(20).pk == first.result(20).pk

    def test_after_the_commit(
        self, ultravox: Ultravox, agency: Agency, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The voices are there, and only the answer to COMMIT was lost: synced."""
        wrapper = type(connections["default"])
        commit = wrapper._commit  # type: ignore[attr-defined]

        commits = []

        def lose_the_answer(database: Any) -> None:
            commit(database)
            commits.append(database)
            if len(commits) == 2:  # the first opened the run
                database.connection.close()
                raise OperationalError("server closed the connection unexpectedly")

        monkeypatch.setattr(wrapper, "_commit", lose_the_answer)
        assert sync_voices(trigger="service").synced == Voice.objects.count() == 300
        assert SyncRun.objects.get().status == "succeeded"
