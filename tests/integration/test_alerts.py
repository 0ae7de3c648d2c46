"""Scheduled syncs ping a watchdog and e-mail administrators."""

import logging
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.core import mail
from django.utils import timezone

from agencies.models import Agency
from tests.support.answers import without
from tests.support.listener import Listener
from tests.support.rows import add_run
from tests.ultravox import Exchange, Ultravox
from voices import alerts
from voices.models import SyncRun
from voices.sync import sync_voices as sync
from voices.tasks import sync_voices

pytestmark = pytest.mark.django_db

SECRET = "5a1e6f0c-the-secret-of-the-ping"
SUCCEEDED, FAILED = f"/{SECRET}?create=1", f"/{SECRET}/fail?create=1"
FAILING, WORKING = "Scheduled syncs are failing", "Scheduled syncs work again"


@pytest.fixture
def watchdog(settings: Any) -> Iterator[Listener]:
    with Listener() as listener:
        settings.SYNC_PING_URL = f"http://127.0.0.1:{listener.port}{SUCCEEDED}"
        yield listener


def run_task() -> str:
    """Run the task like a worker, and return its state."""
    return sync_voices.apply().state


def test_each_scheduled_sync_pings(agency: Agency, ultravox: Ultravox, watchdog: Listener) -> None:
    sync(trigger=SyncRun.Trigger.COMMAND)
    assert watchdog.targets == []
    assert run_task() == "SUCCESS"
    assert [(method, target) for method, target, *_ in watchdog.requests] == [("GET", SUCCEEDED)]
    ultravox.fault = "status_400"
    assert run_task() == "FAILURE"
    assert watchdog.targets == [SUCCEEDED, FAILED]


def test_a_joined_sync_pings_its_outcome(
    agency: Agency, watchdog: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = timezone.now()
    run = add_run(agency, now, status="running", finished_at=None)
    failed = {"status": "failed", "finished_at": now, "error_code": "ultravox_error"}
    end = SyncRun.objects.filter(pk=run.pk).update
    monkeypatch.setattr(time, "sleep", lambda _: end(**failed, error_message="It failed."))
    assert run_task() == "FAILURE"
    assert watchdog.targets == [FAILED]
    assert SyncRun.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_a_sync_without_the_database_pings_fail(agency: Agency, watchdog: Listener) -> None:
    with without("voice_sync_runs", "voice_sync_alarm"):
        assert run_task() == "FAILURE"
    assert watchdog.targets == [FAILED]


FAULTS: dict[str, Callable[[Exchange], None] | None] = {
    "did not respond within 0.3 seconds": lambda exchange: exchange.drip([b"H"] * 99),
    "could not be reached: ConnectionError": lambda exchange: exchange.reset(),
    "responded with status 404": lambda exchange: exchange.reply(404),
    "could not be reached: InvalidURL": None,
}


@pytest.mark.parametrize("message", FAULTS)
def test_a_watchdog_s_fault_does_not_fail_the_sync(
    agency: Agency,
    ultravox: Ultravox,
    settings: Any,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    message: str,
) -> None:
    monkeypatch.setattr(alerts, "PING_SECONDS", 0.3)
    caplog.set_level(logging.DEBUG)
    ultravox.previews, ultravox.drip_interval = FAULTS[message], 0.05
    server = ultravox.url if ultravox.previews else "http://..."
    settings.SYNC_PING_URL = f"{server}/{SECRET}/preview"
    assert run_task() == "SUCCESS"
    assert f"The watchdog {message}" in caplog.text
    assert SECRET not in caplog.text


def subjects() -> list[str]:
    return [message.subject.removeprefix("[Voices sync, localhost] ") for message in mail.outbox]


def test_one_e_mail_when_syncs_fail_and_one_when_they_work_again(
    agency: Agency, ultravox: Ultravox, settings: Any
) -> None:
    settings.ADMINS = [("Ada", "ada@example.com")]
    settings.SERVER_EMAIL = "voices@example.com"
    for _ in range(2):
        mail.outbox.clear()
        for fault in ("status_400", "status_400", None):
            ultravox.fault = fault
            run_task()
        assert subjects() == []  # two failures are not enough
        ultravox.fault = "status_400"
        for failures in range(1, 6):
            run_task()
            assert subjects() == ([FAILING] if failures >= 3 else [])
        [message] = mail.outbox
        assert "400" in str(message.body)
        assert (message.to, message.from_email) == (["ada@example.com"], "voices@example.com")
        ultravox.fault = None
        for _ in range(2):
            run_task()
        assert subjects() == [FAILING, WORKING]
