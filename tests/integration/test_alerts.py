"""How scheduled syncs end is told elsewhere: to a watchdog by a ping, to administrators by e-mail."""

import contextlib
import logging
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from django.core import mail
from django.db import connection

from agencies.models import Agency
from tests.support.answers import without
from tests.support.listener import Listener
from tests.support.project import free_port, wait_for
from tests.ultravox import Ultravox
from voices import alerts
from voices.models import SyncRun
from voices.sync import sync_voices as sync
from voices.tasks import sync_voices

pytestmark = pytest.mark.django_db

SECRET = "5a1e6f0c-the-ping-s-secret"
GOOD, BAD = f"/{SECRET}?create=1", f"/{SECRET}/fail?create=1"


@pytest.fixture
def watchdog_url(settings: Any) -> Iterator[Listener]:
    with Listener() as listener:
        settings.SYNC_PING_URL = f"http://127.0.0.1:{listener.port}{GOOD}"
        yield listener


def run_task() -> str:
    """Run the task as a worker does, and return the state that it ended in."""
    return sync_voices.apply().state


# The ping


def test_each_scheduled_sync_is_told(
    agency: Agency, ultravox: Ultravox, watchdog_url: Listener
) -> None:
    assert run_task() == "SUCCESS"
    assert [(method, target) for method, target, *_ in watchdog_url.requests] == [("GET", GOOD)]
    ultravox.fault = "status_400"
    assert run_task() == "FAILURE"
    assert watchdog_url.targets == [GOOD, BAD]


def test_other_syncs_are_not(agency: Agency, ultravox: Ultravox, watchdog_url: Listener) -> None:
    sync(trigger=SyncRun.Trigger.COMMAND)
    assert watchdog_url.targets == []


@pytest.mark.django_db(transaction=True)
def test_a_sync_that_joined_another_tells_its_outcome(
    agency: Agency, ultravox: Ultravox, watchdog_url: Listener, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    ultravox.fault = "status_400"
    ultravox.hold_after(0)

    def first() -> None:
        with pytest.raises(Exception, match="400"):
            sync(trigger=SyncRun.Trigger.COMMAND)
        connection.close()

    threads = [threading.Thread(target=first)]
    threads[0].start()
    ultravox.wait_for_requests(1, 10)

    def second() -> None:
        assert run_task() == "FAILURE"
        connection.close()

    threads.append(threading.Thread(target=second))
    threads[1].start()
    wait_for(lambda: "Waiting for run" in caplog.text)
    ultravox.release()
    for thread in threads:
        thread.join(20)
    assert watchdog_url.targets == [BAD]
    assert [run.trigger for run in SyncRun.objects.all()] == ["command"]


@pytest.mark.django_db(transaction=True)
def test_a_sync_without_the_database_is_told(agency: Agency, watchdog_url: Listener) -> None:
    with without("voice_sync_runs", "voice_sync_alarm"):
        assert run_task() == "FAILURE"
    assert watchdog_url.targets == [BAD]


@pytest.fixture
def trickle() -> Iterator[int]:
    """The port of a server whose answers do not end."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer() -> None:
            with contextlib.suppress(OSError), listener.accept()[0] as client:
                client.sendall(b"HTTP/1.1 200 ")
                while True:
                    client.sendall(b"O")
                    time.sleep(0.05)

        threading.Thread(target=answer, daemon=True).start()
        yield listener.getsockname()[1]


@pytest.mark.parametrize("how", ["hangs", "trickles", "is away", "refuses", "is no address"])
def test_a_watchdog_that_fails_is_no_failure(
    agency: Agency,
    ultravox: Ultravox,
    watchdog_url: Listener,
    settings: Any,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    trickle: int,
    how: str,
) -> None:
    monkeypatch.setattr(alerts, "PING_SECONDS", 0.3)
    caplog.set_level(logging.DEBUG)
    if how == "hangs":
        watchdog_url.goes_on.clear()
    elif how == "trickles":
        settings.SYNC_PING_URL = f"http://127.0.0.1:{trickle}/{SECRET}"
    elif how == "is away":
        settings.SYNC_PING_URL = f"http://127.0.0.1:{free_port()}/{SECRET}"
    elif how == "refuses":
        watchdog_url.status = 404
    else:
        settings.SYNC_PING_URL = f"http://.../{SECRET}"
    began = time.monotonic()
    assert run_task() == "SUCCESS"
    assert time.monotonic() - began < 5
    wait_for(lambda: "The watchdog " in caplog.text)
    assert SECRET not in caplog.text


# The e-mails


@pytest.fixture
def admins(settings: Any) -> None:
    settings.ADMINS = [("Ada", "ada@example.com")]
    settings.SERVER_EMAIL = "voices@example.com"


def subjects() -> list[str]:
    return [message.subject.removeprefix("[Voices sync, localhost] ") for message in mail.outbox]


@pytest.mark.usefixtures("admins")
def test_administrators_are_told_once_of_failures_and_once_of_their_end(
    agency: Agency, ultravox: Ultravox
) -> None:
    for _ in range(2):  # it begins anew each time
        mail.outbox.clear()
        ultravox.fault = "status_400"
        for failures in range(1, 6):
            run_task()
            assert subjects() == (["Scheduled syncs fail"] if failures >= 3 else [])
        assert "Ultravox answered with status 400" in str(mail.outbox[0].body)
        assert (mail.outbox[0].to, mail.outbox[0].from_email) == (
            ["ada@example.com"],
            "voices@example.com",
        )
        ultravox.fault = None
        for _ in range(2):
            run_task()
        assert subjects() == ["Scheduled syncs fail", "Scheduled syncs work again"]


@pytest.mark.usefixtures("admins")
def test_two_failures_and_a_success_are_no_news(agency: Agency, ultravox: Ultravox) -> None:
    for fault in ("status_400", "status_400", None, "status_400", "status_400", None):
        ultravox.fault = fault
        run_task()
    assert subjects() == []


@pytest.mark.usefixtures("admins")
def test_an_e_mail_that_could_not_be_sent_is_sent_after_the_next_sync(
    agency: Agency, ultravox: Ultravox, settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    ultravox.fault = "status_400"
    sends = settings.EMAIL_BACKEND
    for fault, news in (
        ("status_400", "Scheduled syncs fail"),
        (None, "Scheduled syncs work again"),
    ):
        ultravox.fault = fault
        mail.outbox.clear()
        settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
        settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", free_port()
        for _ in range(3):
            run_task()
        assert "ADMINS could not be told by e-mail: ConnectionRefusedError" in caplog.text
        settings.EMAIL_BACKEND = "of.no.such.Module"  # an error of another kind
        run_task()
        assert "ADMINS could not be told by e-mail: ModuleNotFoundError" in caplog.text
        settings.EMAIL_BACKEND = sends
        for _ in range(2):
            run_task()
        assert subjects() == [news]


@pytest.mark.usefixtures("admins")
def test_errors_themselves_are_not_mailed(settings: Any) -> None:
    settings.DEBUG = False
    logging.getLogger("django.request").error("An error", exc_info=ValueError("of a view"))
    assert mail.outbox == []
