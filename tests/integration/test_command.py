"""`manage.py sync_voices`, without a process: what it says, whose key it uses, what goes wrong."""

import io
import logging
import signal
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from agencies.models import Agency
from tests.support.answers import store_raw_key
from tests.ultravox import API_KEY, Exchange, Ultravox
from voices.models import SyncRun, Voice

SYNCED = "Synced 300 voices from Ultravox\n"

pytestmark = pytest.mark.django_db


def run(*options: str) -> tuple[str, str]:
    """Run the command, and return what it wrote to standard output and to standard error."""
    out, err = io.StringIO(), io.StringIO()
    call_command("sync_voices", *options, stdout=out, stderr=err)
    return out.getvalue(), err.getvalue()


def add_agency(name: str, key: str) -> Agency:
    return Agency.objects.create(name=name, ultravox_api_key=key)


def keys_sent(ultravox: Ultravox) -> list[str]:
    return [request.headers["x-api-key"] for request in ultravox.listings]


# What it says


def test_an_empty_listing(agency: Agency, ultravox: Ultravox) -> None:
    ultravox.voices = []
    assert run() == ("No voices found in Ultravox\n", "")


def test_each_page_is_printed_when_asked_for(agency: Agency, ultravox: Ultravox) -> None:
    ultravox.voices = ultravox.voices[:250]
    assert run("-v", "2")[0].splitlines() == [
        "Page 1: 100 voices of 250 so far",
        "Page 2: 200 voices of 250 so far",
        "Page 3: 250 voices of 250 so far",
        "Synced 250 voices from Ultravox",
    ]


def test_pages_of_a_listing_without_total(agency: Agency, ultravox: Ultravox) -> None:
    ultravox.fault = "body_total_missing"
    out, _ = run("-v", "2")
    assert out.startswith("Page 1: 100 voices so far\nPage 2: 200 voices so far\n")


def test_skipped_records_are_reported(agency: Agency, ultravox: Ultravox) -> None:
    ultravox.fault = "record_null"
    assert run() == (SYNCED, "Skipped 1 records that cannot be stored\n")
    assert SyncRun.objects.get().skipped == 1


# Whose key it uses


def test_without_agency_the_next_key_is_tried(ultravox: Ultravox) -> None:
    for name, key in (("Keyless", ""), ("Revoked", "revoked"), ("Works", API_KEY)):
        add_agency(name, key)
    assert run() == (SYNCED, "")
    assert keys_sent(ultravox) == ["revoked", API_KEY, API_KEY, API_KEY]


def test_with_agency_its_key_is_used(agency: Agency, ultravox: Ultravox) -> None:
    ultravox.keys |= {"another key"}
    assert run("--agency", str(add_agency("Second", "another key").pk)) == (SYNCED, "")
    assert keys_sent(ultravox) == ["another key"] * 3


# What goes wrong: one line of words, of which `manage.py` makes exit code 1


@pytest.mark.parametrize("given", ["", "no-such-id", "00000000-0000-4000-8000-000000000000"])
def test_an_agency_that_does_not_exist(agency: Agency, ultravox: Ultravox, given: str) -> None:
    with pytest.raises(CommandError, match=f"^There is no agency with the id {given!r}.$"):
        run("--agency", given)
    assert ultravox.requests == []
    assert not SyncRun.objects.exists()


@pytest.mark.parametrize(
    ("key", "message", "code"),
    [
        ("", "Your agency has no Ultravox API key", "no_api_key"),
        ("revoked", "Ultravox rejected your agency's API key", "ultravox_error"),
    ],
)
def test_an_agency_whose_key_does_not_serve(
    agency: Agency, ultravox: Ultravox, key: str, message: str, code: str
) -> None:
    with pytest.raises(CommandError, match=f"^{message}[^\n]*$"):
        run("--agency", str(add_agency("Named", key).pk))
    assert API_KEY not in keys_sent(ultravox)
    ended = SyncRun.objects.get()
    assert (ended.trigger, ended.status, ended.error_code) == ("command", "failed", code)


@pytest.mark.parametrize(
    ("stored", "fault", "message", "code"),
    [
        ("", None, "No Ultravox API key is configured", "no_api_key"),
        ("broken", None, "The stored Ultravox API key could not", "credentials_unavailable"),
        (None, "status_400", "Ultravox had a problem .400.", "ultravox_error"),
        (None, "second_page_404", "Ultravox had a problem .404.", "ultravox_error"),
    ],
)
def test_any_key_that_does_not_serve(
    agency: Agency, ultravox: Ultravox, stored: str | None, fault: str, message: str, code: str
) -> None:
    if stored is not None:
        store_raw_key(agency, stored)
    ultravox.fault = fault
    with pytest.raises(CommandError, match=f"^{message}[^\n]*$"):
        run()
    ended = SyncRun.objects.get()
    assert (ended.trigger, ended.status, ended.error_code) == ("command", "failed", code)
    assert not Voice.objects.exists()


# In another program


def test_it_leaves_signals_and_logs_as_they_were(agency: Agency, ultravox: Ultravox) -> None:
    logger = logging.getLogger("voices")
    before = signal.getsignal(signal.SIGTERM), logger.level
    during = []

    def look(exchange: Exchange) -> None:
        during.append(signal.getsignal(signal.SIGTERM))
        exchange.normal()

    ultravox.fault = look
    run()
    assert during[0] != before[0]
    assert (signal.getsignal(signal.SIGTERM), logger.level) == before
    ultravox.fault = "status_400"
    with pytest.raises(CommandError):
        run()
    assert (signal.getsignal(signal.SIGTERM), logger.level) == before


@pytest.mark.django_db(transaction=True)
def test_it_runs_in_any_thread(agency: Agency, ultravox: Ultravox) -> None:
    def run_and_close() -> tuple[str, str]:
        assert threading.current_thread() is not threading.main_thread()
        try:
            return run()
        finally:
            connection.close()

    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(run_and_close).result() == (SYNCED, "")
