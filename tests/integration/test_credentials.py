"""Agencies' keys: encrypted at rest, rotated, and read in one place."""

import json
from pathlib import Path
from typing import Any

import pytest
from cryptography.fernet import Fernet
from django.core import checks, serializers
from django.core.management import CommandError, call_command
from django.core.management.base import SystemCheckError
from django.test import Client
from django.utils import timezone
from rest_framework_simplejwt.tokens import AccessToken

from agencies.credentials import agencies_with_key, get_agency_credentials
from agencies.models import Agency, User
from tests.support.answers import ADDRESSES, assert_error, store_raw_key, stored_key
from tests.support.environment import CREDENTIALS_KEY, SERVICE_KEY
from tests.ultravox import Ultravox
from voiceproject.errors import CredentialsUnavailable, NoApiKey

KEY = "an-ultravox-key-of-these-tests"
NEW, OLD, LOST = (Fernet.generate_key().decode() for _ in range(3))

pytestmark = pytest.mark.django_db


def encrypted_with(key: str, text: str = KEY) -> str:
    return Fernet(key).encrypt(text.encode()).decode()


def make(name: str, stored: str | None) -> Agency:
    """Make an agency whose column holds just this."""
    agency = Agency.objects.create(name=name)
    store_raw_key(agency, stored)
    return agency


def key_of(agency: Agency) -> str:
    return get_agency_credentials(Agency.objects.get(pk=agency.pk))


# At rest


def test_the_column_is_encrypted_and_python_reads_plain_text() -> None:
    agency = Agency.objects.create(name="Agency", ultravox_api_key=KEY)
    assert agency.ultravox_api_key == KEY
    stored = stored_key(agency) or ""
    assert KEY not in stored
    assert Fernet(CREDENTIALS_KEY).decrypt(stored) == KEY.encode()
    again = Agency.objects.get()
    assert again.ultravox_api_key == KEY
    assert get_agency_credentials(again) == KEY
    assert KEY not in f"{agency} {agency!r} {[agency]} {Agency.objects.all()}"
    again.name = "Another name"
    again.save()
    assert stored_key(agency) == stored  # another column was saved
    for deferred in (
        Agency.objects.defer("ultravox_api_key").get(),
        Agency.objects.only("name").get(),
    ):
        deferred.save()
        assert get_agency_credentials(deferred) == KEY


def test_each_way_of_writing_encrypts() -> None:
    agency, other = Agency(name="a", ultravox_api_key=KEY), Agency(name="b", ultravox_api_key=KEY)
    Agency.objects.bulk_create([agency, other])
    assert len({stored_key(agency), stored_key(other)}) == 2  # each encryption differs
    Agency.objects.filter(pk=agency.pk).update(ultravox_api_key="updated")
    token = encrypted_with(CREDENTIALS_KEY, "something else")  # its text is a text too
    other.ultravox_api_key = token
    other.save(update_fields=["ultravox_api_key"])
    made, _ = Agency.objects.update_or_create(name="c", defaults={"ultravox_api_key": "created"})
    bulk = Agency.objects.get(pk=agency.pk)
    assert bulk.ultravox_api_key == "updated"
    bulk.ultravox_api_key = "in bulk"
    Agency.objects.bulk_update([bulk], ["ultravox_api_key"])
    for written, plain in ((agency, "in bulk"), (other, token), (made, "created")):
        assert Fernet(CREDENTIALS_KEY).decrypt(stored_key(written) or "") == plain.encode()
        written.refresh_from_db()
        assert written.ultravox_api_key == plain


def test_what_is_a_key() -> None:
    for empty in ("", None):
        agency = Agency.objects.create(name="Agency", ultravox_api_key=empty)
        assert not stored_key(agency)
        assert not agencies_with_key().exists()
    for blank in ("", None, "  \n", "\u2003"):
        agency = Agency.objects.create(name="Agency", ultravox_api_key=blank)
        with pytest.raises(NoApiKey):
            key_of(agency)
    assert key_of(Agency.objects.create(name="Agency", ultravox_api_key=f" {KEY}\n")) == KEY
    for odd in ("a\nb", "a\0b", "schlüssel", "ключ", "a\x7f"):  # no header carries it
        agency = Agency.objects.create(name="Agency", ultravox_api_key=odd)
        with pytest.raises(CredentialsUnavailable) as caught:
            key_of(agency)
        assert odd not in caught.value.message


BROKEN = ["not a token", "gAAAAABbroken", "plain-text-key", encrypted_with(LOST), "grüße", "\x01"]


@pytest.mark.parametrize("stored", BROKEN)
def test_a_bad_row_breaks_no_query_and_no_save(stored: str) -> None:
    good = Agency.objects.create(name="Good", ultravox_api_key=KEY)
    bad = make("Bad", stored)
    assert {agency.name for agency in Agency.objects.all()} == {"Good", "Bad"}
    assert {agency.name for agency in agencies_with_key()} == {"Good", "Bad"}
    loaded = Agency.objects.get(pk=bad.pk)
    loaded.name = "Renamed"
    loaded.save()
    loaded.refresh_from_db()
    assert loaded.name == "Renamed"
    assert stored_key(bad) == stored
    for read in (lambda: loaded.ultravox_api_key, lambda: get_agency_credentials(loaded)):
        with pytest.raises(CredentialsUnavailable) as caught:
            read()
        assert stored not in caught.value.message
    assert key_of(good) == KEY
    loaded.ultravox_api_key = "entered again"
    loaded.save()
    assert key_of(bad) == "entered again"
    loaded.delete()


# Several keys


def test_the_first_key_encrypts_and_all_decrypt(settings: Any) -> None:
    settings.CREDENTIALS_KEYS = [OLD]
    old = Agency.objects.create(name="Old", ultravox_api_key=KEY)
    settings.CREDENTIALS_KEYS = [NEW, OLD]
    assert key_of(old) == KEY
    new = Agency.objects.create(name="New", ultravox_api_key=KEY)
    settings.CREDENTIALS_KEYS = [NEW]
    assert key_of(new) == KEY
    with pytest.raises(CredentialsUnavailable):
        key_of(old)


def test_rotation(settings: Any, capsys: pytest.CaptureFixture[str]) -> None:
    settings.CREDENTIALS_KEYS = [NEW, OLD]
    old, new = make("old", encrypted_with(OLD)), make("new", encrypted_with(NEW))
    empty, null = make("empty", ""), make("null", None)
    touched = set(Agency.objects.values_list("pk", "updated_at"))
    call_command("rotate_credentials")
    assert capsys.readouterr().out == "Rotated 2 keys\n"
    lost = encrypted_with(LOST)
    bad, last = make("Bad", lost), make("Last", encrypted_with(OLD))
    with pytest.raises(CommandError) as caught:  # a row that no key decrypts is left as it is
        call_command("rotate_credentials")
    message = str(caught.value)
    assert "Bad" in message
    assert str(bad.pk) in message
    assert "old" not in message
    assert lost not in message
    settings.CREDENTIALS_KEYS = [NEW]
    for agency in (old, new, last):
        assert key_of(agency) == KEY
    assert [stored_key(agency) for agency in (empty, null, bad)] == ["", None, lost]
    assert touched < set(Agency.objects.values_list("pk", "updated_at"))


@pytest.mark.parametrize("keys", [[], ["malformed"], [NEW, "malformed"]])
def test_rotation_without_usable_keys(settings: Any, keys: list[str]) -> None:
    stored = encrypted_with(CREDENTIALS_KEY)
    agency = make("Agency", stored)
    settings.CREDENTIALS_KEYS = keys
    with pytest.raises(CommandError, match="CREDENTIALS_KEYS"):
        call_command("rotate_credentials")
    assert stored_key(agency) == stored


# Fixtures


@pytest.mark.parametrize("kind", ["json", "jsonl"])
def test_dump_and_load_never_show_plain_text(tmp_path: Path, kind: str) -> None:
    agency = Agency.objects.create(name="Agency", ultravox_api_key=KEY)
    made = [agency, make("Bad", encrypted_with(LOST)), make("Empty", ""), make("Null", None)]
    before = [stored_key(agency) or "" for agency in made]
    file = tmp_path / f"dump.{kind}"
    call_command("dumpdata", "agencies.agency", format=kind, output=str(file), verbosity=0)
    assert "Agency" in file.read_text()
    assert KEY not in file.read_text()
    Agency.objects.all().delete()
    call_command("loaddata", str(file), verbosity=0)
    assert [stored_key(agency) or "" for agency in made] == before
    assert key_of(agency) == KEY


def test_fixtures_are_encrypted_before_they_are_saved() -> None:
    agency = Agency(name="Agency", ultravox_api_key=KEY, updated_at=timezone.now())
    dumped = serializers.serialize("json", [agency])
    assert KEY not in dumped
    fields = {"name": "Agency", "ultravox_api_key": KEY, "updated_at": "2026-01-01T00:00:00Z"}
    for text in (dumped, json.dumps([{"model": "agencies.agency", "fields": fields}])):
        [loaded] = serializers.deserialize("json", text)
        loaded.save()
        agency = Agency.objects.latest("created_at")
        assert agency.ultravox_api_key == KEY
        assert KEY not in (stored_key(agency) or "")


# System checks


def ids() -> list[str]:
    return [message.id or "" for message in checks.run_checks()]


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ([], ["agencies.E001"]),
        (["malformed"], ["agencies.E002"]),
        ([NEW, "c2hvcnQ="], ["agencies.E002"]),
        (["grüße", "\0", NEW], ["agencies.E002"] * 2),
    ],
)
def test_checks_of_keys(settings: Any, keys: list[str], expected: list[str]) -> None:
    settings.CREDENTIALS_KEYS = [NEW, OLD]
    assert ids() == []
    settings.CREDENTIALS_KEYS = keys
    assert ids() == expected
    with pytest.raises(SystemCheckError) as caught:
        call_command("check")
    text = str(caught.value)
    for words in ("CREDENTIALS_KEYS", "HINT", "Fernet.generate_key()"):
        assert words in text
    assert not any(key in text for key in keys)


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("SUPABASE_JWT_SECRET", "the secret key", "agencies.E004"),
        ("CELERY_BROKER_URL", "rediss//127.0.0.1", "voices.E002"),
        ("CELERY_BROKER_URL", "http://127.0.0.1", "voices.E002"),
    ],
)
def test_checks_of_other_settings(settings: Any, name: str, value: Any, expected: str) -> None:
    settings.SECRET_KEY = "the secret key"
    setattr(settings, name, value)
    assert ids() == [expected]


# What a caller is told


@pytest.mark.parametrize("keys", [[], ["malformed"], [LOST]])
def test_without_the_keys(
    client: Client, ultravox: Ultravox, user: User, settings: Any, keys: list[str]
) -> None:
    settings.CREDENTIALS_KEYS = keys
    token = str(AccessToken.for_user(user))
    for headers in ({"apikey": SERVICE_KEY}, {"authorization": f"Bearer {token}"}):
        response = client.post(ADDRESSES[0], headers=headers)
        assert_error(response, 500, "credentials_unavailable", token)
    assert not ultravox.requests
