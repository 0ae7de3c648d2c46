"""Agencies' keys: encrypted at rest, rotated, checked, and read in one place."""

from typing import Any

import pytest
from cryptography.fernet import Fernet
from django.core import checks
from django.core.management import CommandError, call_command
from django.core.management.base import SystemCheckError

from agencies.credentials import (
    agencies_with_key,
    get_agency_credentials,
    key_hint,
    record_key_check,
)
from agencies.models import Agency
from tests.support.answers import store_raw_key, stored_key
from tests.support.environment import CREDENTIALS_KEY
from voiceproject.errors import CredentialsUnavailable, NoApiKey

KEY = "an-ultravox-key-of-these-tests"
NEW, OLD, LOST = (Fernet.generate_key().decode() for _ in range(3))

pytestmark = pytest.mark.django_db


def encrypted_with(key: str) -> str:
    return Fernet(key).encrypt(KEY.encode()).decode()


def create(name: str, stored: str | None) -> Agency:
    """Create an agency with this value in its column."""
    agency = Agency.objects.create(name=name)
    store_raw_key(agency, stored)
    return agency


def key_of(agency: Agency) -> str:
    return get_agency_credentials(Agency.objects.get(pk=agency.pk))


# At rest


def test_only_the_column_is_encrypted() -> None:
    agency = Agency.objects.create(name="Agency", ultravox_api_key=f" {KEY}\n")
    assert agency.ultravox_api_key == f" {KEY}\n"
    assert Fernet(CREDENTIALS_KEY).decrypt(stored_key(agency) or "").decode() == f" {KEY}\n"
    loaded = Agency.objects.get()
    assert (loaded.ultravox_api_key, get_agency_credentials(loaded)) == (f" {KEY}\n", KEY)
    loaded.name, before = "Another name", stored_key(agency)
    loaded.save()
    assert stored_key(agency) == before


@pytest.mark.parametrize("blank", ["", None, "  \n", "\u2003"])
def test_a_blank_key_counts_as_none(blank: str | None) -> None:
    agency = Agency.objects.create(name="Agency", ultravox_api_key=blank)
    with pytest.raises(NoApiKey):
        key_of(agency)
    assert key_hint(agency) == "none"
    assert agencies_with_key().exists() == bool(blank)
    assert key_hint(create("Null", None)) == "none"


@pytest.mark.parametrize("key", ["a\nb", "a\0b", "schlüssel", "a\x7f"])
def test_a_key_that_no_header_can_carry_is_unreadable(key: str) -> None:
    agency = Agency.objects.create(name="Agency", ultravox_api_key=key)
    with pytest.raises(CredentialsUnavailable) as caught:
        key_of(agency)
    assert key not in caught.value.message
    assert key_hint(agency).startswith("unreadable")


@pytest.mark.parametrize("stored", ["gAAAAABbroken", encrypted_with(LOST), "grüße", "\x01"])
def test_a_bad_ciphertext_fails_only_when_the_key_is_read(stored: str) -> None:
    agency = create("Bad", stored)
    loaded = agencies_with_key().get()
    loaded.name = "Renamed"
    loaded.save()
    loaded.refresh_from_db()
    assert (loaded.name, stored_key(agency)) == ("Renamed", stored)
    for read in (lambda: loaded.ultravox_api_key, lambda: get_agency_credentials(loaded)):
        with pytest.raises(CredentialsUnavailable) as caught:
            read()
        assert stored not in caught.value.message
    assert key_hint(loaded) == "unreadable: enter it again"
    loaded.ultravox_api_key = "entered again"
    loaded.save()
    assert key_of(agency) == "entered again"


# Whether a key works


def test_a_key_check_is_stored_until_the_key_changes(agency: Agency) -> None:
    before = Agency.objects.get()
    for works in (True, False):
        record_key_check(agency, works=works)
        agency.refresh_from_db()
        assert (agency.key_works, agency.updated_at) == (works, before.updated_at)
        assert agency.key_checked_at
    agency.ultravox_api_key = "another key"
    agency.save()
    record_key_check(before, works=True)  # of the key that was replaced
    agency.refresh_from_db()
    assert (agency.key_works, agency.key_checked_at) == (None, None)


# Rotation


def test_rotation(settings: Any, capsys: pytest.CaptureFixture[str]) -> None:
    settings.CREDENTIALS_KEYS = [NEW, OLD]
    old = create("old", encrypted_with(OLD))
    new = Agency.objects.create(name="new", ultravox_api_key=KEY)
    assert key_of(old) == KEY
    empty, null = create("empty", ""), create("null", None)
    call_command("rotate_credentials")
    assert capsys.readouterr().out == "Rotated keys: 2\n"
    lost = create("Lost", encrypted_with(LOST))
    before, last = stored_key(lost), create("Last", encrypted_with(OLD))
    with pytest.raises(CommandError, match=rf"of: Lost \({lost.pk}\)\. "):
        call_command("rotate_credentials")
    settings.CREDENTIALS_KEYS = [NEW]
    assert [key_of(agency) for agency in (old, new, last)] == [KEY] * 3
    assert [stored_key(agency) for agency in (empty, null, lost)] == ["", None, before]
    settings.CREDENTIALS_KEYS = [NEW, "malformed"]
    before = stored_key(new)
    with pytest.raises(CommandError, match="CREDENTIALS_KEYS"):
        call_command("rotate_credentials")
    assert stored_key(new) == before


# Settings


def test_checks_of_other_settings(settings: Any) -> None:
    settings.SECRET_KEY = settings.SUPABASE_JWT_SECRET = "the secret key"
    assert {message.id for message in checks.run_checks()} == {"agencies.E004"}


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ([NEW, OLD], []),
        ([], ["agencies.E001"]),
        (["malformed"], ["agencies.E002"]),
        (["grüße", "\0", NEW], ["agencies.E002"] * 2),
    ],
)
def test_checks_of_keys(settings: Any, keys: list[str], expected: list[str]) -> None:
    settings.CREDENTIALS_KEYS = keys
    assert [message.id for message in checks.run_checks()] == expected
    if expected:
        with pytest.raises(SystemCheckError) as caught:
            call_command("check")
        assert "Fernet.generate_key()" in str(caught.value)
        assert not any(key in str(caught.value) for key in keys)


@pytest.mark.parametrize("keys", [[], ["malformed"], [LOST]])
def test_without_usable_keys(agency: Agency, settings: Any, keys: list[str]) -> None:
    settings.CREDENTIALS_KEYS = keys
    with pytest.raises(CredentialsUnavailable):
        key_of(agency)
