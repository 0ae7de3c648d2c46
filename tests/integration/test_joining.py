"""One sync for each agency's key at a time, by whichever door, in whichever process."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import requests
from django.db import connection

from agencies.models import Agency
from tests.support.environment import SERVICE_KEY
from tests.support.project import SLOW, Project, wait_for
from tests.support.reliability import shows
from tests.ultravox import Ultravox
from voices import runs
from voices.models import SyncRun, Voice
from voices.runs import LEASE
from voices.sync import sync_voices
from voices.ultravox import KeyRejected, UltravoxError

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
    made.seed()
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
def test_a_sync_that_writes_is_joined(project: Callable[..., Project], ultravox: Ultravox) -> None:
    """A sync is asked for while another writes: one sync.

    On SQLite, too, where a second writer would wait for the first, and then sync once more.
    """
    made = project(ULTRAVOX_API_URL=ultravox.url)
    made.seed()
    url = made.serve()
    ultravox.voices[0]["name"] = "first"
    seconds = {
        kind: sql.replace("pg_sleep(30)", "pg_sleep(3)").replace("300000000", "30000000")
        for kind, sql in SLOW.items()
    }
    how = {"table": "ultravox_voices", "event": "INSERT", "when": "NEW.name = 'first'"}
    with made.database.trigger(seconds, **how), ThreadPoolExecutor(2) as pool:
        first = pool.submit(post, url, apikey=SERVICE_KEY)
        wait_for(made.database.is_busy, 30, what="the transaction")
        second = pool.submit(post, url, apikey=SERVICE_KEY)
        assert [first.result().status_code, second.result().status_code] == [200, 200]
    assert len(ultravox.listings) == 3
    assert made.database.rows(RUNS) == [("service", "succeeded", "")]


@shows("concurrency")
def test_all_doors_join_one_sync_and_share_its_failure(
    project: Callable[..., Project], ultravox: Ultravox
) -> None:
    """All doors ask at once for a sync that fails: one failure, the same for all."""
    made = project(ULTRAVOX_API_URL=ultravox.url)
    made.seed(is_staff=True)
    url = made.serve()
    login = {"email": "user@example.com", "password": "a password of the tests"}
    token = requests.post(f"{url}/api/token/", json=login, timeout=20).json()["access"]
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
    ids = [made.seed(name=x, key=f"key-{x}", email=f"{x}@example.com")["agency"] for x in "ab"]
    ultravox.hold_after(0)
    with ThreadPoolExecutor(2) as pool:
        both = [pool.submit(made.manage, "sync_voices", "--agency", each) for each in ids]
        ultravox.wait_until(lambda: len(ultravox.listings) == 2, 30)  # neither waits for the other
        ultravox.release()
        assert [each.result().stdout for each in both] == ["Synced 300 voices from Ultravox\n"] * 2
    assert made.database.rows(RUNS) == [("command", "succeeded", "")] * 2


@pytest.mark.django_db(transaction=True)
class TestInOneProcess:
    def under_way(self, agency: Agency, **fields: Any) -> SyncRun:
        run = runs.claim(
            agency, None, trigger="user", user=None, deadline=time.monotonic() + 5, any_key=False
        )
        SyncRun.objects.filter(pk=run.pk).update(**fields)
        return run

    def in_thread(self, call: Callable[[], Any]) -> Any:
        def closing() -> Any:
            try:
                return call()
            finally:
                connection.close()

        self.pool = ThreadPoolExecutor(1)
        return self.pool.submit(closing)

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

    @pytest.fixture(autouse=True)
    def log(self, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level("INFO", "voices")
        self.waits = lambda: "Waiting for run" in caplog.text

    def test_returns_the_run_that_it_joined(self, ultravox: Ultravox, agency: Agency) -> None:
        run = self.under_way(agency)
        joined = self.in_thread(lambda: sync_voices(trigger="service"))
        wait_for(self.waits)
        run.synced = 7
        runs.succeed(run)
        assert (joined.result().pk, joined.result().synced) == (run.pk, 7)
        assert SyncRun.objects.count() == 1

    @pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(143)])
    def test_takes_over_from_an_interrupted_run(
        self, error: BaseException, ultravox: Ultravox, agency: Agency
    ) -> None:
        run = self.under_way(agency)
        joined = self.in_thread(lambda: sync_voices(trigger="service"))
        wait_for(self.waits)
        runs.fail(run, error)
        assert joined.result().synced == 300
        assert [r.status for r in SyncRun.objects.order_by("id")] == ["failed", "succeeded"]

    def test_abandons_a_dead_run(self, ultravox: Ultravox, agency: Agency) -> None:
        dead = self.under_way(agency, heartbeat_at="2020-01-01T00:00:00Z")
        assert sync_voices(trigger="service").synced == 300
        dead.refresh_from_db()
        assert (dead.status, dead.error_code) == ("abandoned", "abandoned")

    def test_a_run_given_up_writes_nothing(
        self, ultravox: Ultravox, agency: Agency, monkeypatch: pytest.MonkeyPatch
    ) -> None:
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
        other = Agency.objects.create(name="Other", ultravox_api_key="revoked")
        Agency.objects.filter(pk=other.pk).update(created_at="2020-01-01T00:00:00Z")
        run = self.under_way(other)
        joined = self.in_thread(lambda: sync_voices(trigger="schedule"))
        wait_for(self.waits)
        runs.fail(run, KeyRejected(), key_refused=True)
        assert joined.result().agency == agency
        assert joined.result().status == "succeeded"

    def test_moving_to_a_key_in_use_joins_its_run(self, ultravox: Ultravox, agency: Agency) -> None:
        revoked = Agency.objects.create(name="Revoked", ultravox_api_key="revoked")
        Agency.objects.filter(pk=revoked.pk).update(created_at="2020-01-01T00:00:00Z")
        run = self.under_way(agency)
        joined = self.in_thread(lambda: sync_voices(trigger="schedule"))
        wait_for(lambda: SyncRun.objects.filter(agency=revoked, status="failed").exists())
        run.synced = 9
        runs.succeed(run)
        assert joined.result().pk == run.pk
        assert SyncRun.objects.count() == 2


def test_lease_is_longer_than_heartbeats_apart() -> None:
    assert LEASE >= 4 * runs.HEARTBEAT
