"""`manage.py sync_voices` in this process: what it prints, which key it uses, how it fails."""

import io
import logging
import re
import signal
import sys

import pytest
from django.core.management import CommandError, call_command

from agencies.models import Agency
from tests.ultravox import Exchange, Ultravox
from voices.models import SyncRun

SYNCED = "Synced 300 voices from Ultravox\n"

pytestmark = pytest.mark.django_db


def run(*options: str) -> tuple[str, str]:
    """Run the command, and return its standard output and standard error."""
    out, err = io.StringIO(), io.StringIO()
    call_command("sync_voices", *options, stdout=out, stderr=err)
    return out.getvalue(), err.getvalue()


@pytest.mark.parametrize(("fault", "total"), [(None, " of 250"), ("body_total_missing", "")])
def test_verbose_output_has_each_page(
    agency: Agency, ultravox: Ultravox, fault: str | None, total: str
) -> None:
    ultravox.voices = ultravox.voices[:250]
    ultravox.fault = fault
    assert run("-v", "2")[0].splitlines() == [
        f"Page 1: 100{total} voices",
        f"Page 2: 200{total} voices",
        f"Page 3: 250{total} voices",
        "Synced 250 voices from Ultravox",
    ]


def test_skipped_records_are_reported(agency: Agency, ultravox: Ultravox) -> None:
    ultravox.fault = "record_null"
    assert run() == (SYNCED, "Skipped 1 records that cannot be stored\n")


def test_the_agency_option_chooses_the_key(agency: Agency, ultravox: Ultravox) -> None:
    ultravox.keys |= {"another key"}
    second = Agency.objects.create(name="Second", ultravox_api_key="another key")
    assert run("--agency", str(second.pk)) == (SYNCED, "")
    assert {request.headers["x-api-key"] for request in ultravox.listings} == {"another key"}


@pytest.mark.parametrize("agency_id", ["", "no-id", "00000000-0000-4000-8000-000000000000"])
def test_an_unknown_agency(agency: Agency, ultravox: Ultravox, agency_id: str) -> None:
    with pytest.raises(CommandError, match=f"^There is no agency with the id {agency_id!r}.$"):
        run("--agency", agency_id)
    assert ultravox.requests == []
    assert not SyncRun.objects.exists()


def test_an_error_is_one_line(agency: Agency, ultravox: Ultravox) -> None:
    ultravox.fault = "status_400"
    with pytest.raises(CommandError, match=r"^[^\n]*400[^\n]*$"):
        run()
    failed = SyncRun.objects.get()
    assert (failed.status, failed.error_code) == ("failed", "ultravox_error")


def test_it_restores_signals_and_log_levels(agency: Agency, ultravox: Ultravox) -> None:
    before = signal.getsignal(signal.SIGTERM), logging.root.manager.disable
    during = []

    def record(exchange: Exchange) -> None:
        during.append(signal.getsignal(signal.SIGTERM))
        exchange.reply(400)

    ultravox.fault = record
    with pytest.raises(CommandError):
        run()
    assert during[0] != before[0]
    assert (signal.getsignal(signal.SIGTERM), logging.root.manager.disable) == before


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_shows_progress(
    agency: Agency, ultravox: Ultravox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stderr", terminal := Terminal())
    assert run() == (SYNCED, "")
    assert re.search(r"Voices: 200/300 .*page 2\b", terminal.getvalue())
