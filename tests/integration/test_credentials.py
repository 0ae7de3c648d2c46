"""Agencies' keys: encrypted at rest, rotated, and read in one place."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.fernet import Fernet
from django.core import checks, serializers
from django.core.management import CommandError, call_command
from django.core.management.base import SystemCheckError
from django.db import connection
from django.test import Client
from django.utils import timezone
from rest_framework_simplejwt.tokens import AccessToken

from agencies.credentials import NoApiKey, agencies_with_key, get_agency_credentials
from agencies.fields import CredentialsUnavailable
from agencies.models import Agency, User
from tests.support.answers import ADDRESSES, assert_error, store_raw_key, stored_key
from tests.support.environment import CREDENTIALS_KEY, SERVICE_KEY
from tests.support.project import Project
from tests.ultravox import Ultravox

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


def rotate(capsys: pytest.CaptureFixture[str]) -> str:
    call_command("rotate_credentials")
    return capsys.readouterr().out


# At rest


def test_the_column_is_encrypted_and_python_reads_plain_text() -> None:
    agency = Agency.objects.create(name="Agency", ultravox_api_key=KEY)
    assert agency.ultravox_api_key == KEY
    stored = stored_key(agency)
    assert stored
    assert KEY not in stored
    assert Fernet(CREDENTIALS_KEY).decrypt(stored) == KEY.encode()
    again = Agency.objects.get()
    assert again.ultravox_api_key == KEY
    assert get_agency_credentials(again) == KEY
    assert Agency.objects.values_list("pk", flat=True).get() == agency.pk


def test_each_way_of_writing_encrypts() -> None:
    agency, other = Agency(name="a", ultravox_api_key=KEY), Agency(name="b", ultravox_api_key=KEY)
    Agency.objects.bulk_create([agency, other])
    assert len({stored_key(agency), stored_key(other)}) == 2  # each encryption differs
    Agency.objects.filter(pk=agency.pk).update(ultravox_api_key="updated")
    other.ultravox_api_key = "saved"
    other.save(update_fields=["ultravox_api_key"])
    made, _ = Agency.objects.update_or_create(name="c", defaults={"ultravox_api_key": "created"})
    bulk = Agency.objects.get(pk=agency.pk)
    assert bulk.ultravox_api_key == "updated"
    bulk.ultravox_api_key = "in bulk"
    Agency.objects.bulk_update([bulk], ["ultravox_api_key"])
    expected = {agency: "in bulk", other: "saved", made: "created"}
    for written, plain in expected.items():
        stored = stored_key(written)
        assert stored
        assert Fernet(CREDENTIALS_KEY).decrypt(stored) == plain.encode()
        written.refresh_from_db()
        assert written.ultravox_api_key == plain


@pytest.mark.parametrize("empty", ["", None])
def test_empty_stays_empty(empty: str | None) -> None:
    agency = Agency.objects.create(name="Agency", ultravox_api_key=empty)
    assert not stored_key(agency)
    assert not Agency.objects.get().ultravox_api_key
    assert not agencies_with_key().exists()
    with pytest.raises(NoApiKey):
        get_agency_credentials(Agency.objects.get())


@pytest.mark.parametrize("key", ["  \n", "\u2003"])
def test_spaces_are_no_key(key: str) -> None:
    with pytest.raises(NoApiKey):
        get_agency_credentials(Agency.objects.create(name="Agency", ultravox_api_key=key))


def test_spaces_around_a_key_are_none_of_it() -> None:
    agency = Agency.objects.create(name="Agency", ultravox_api_key=f" {KEY}\n")
    assert get_agency_credentials(agency) == KEY


@pytest.mark.parametrize("key", ["a\nb", "a\0b", "schlüssel", "ключ", "a\x7f"])
def test_what_no_header_carries_is_unavailable(key: str) -> None:
    agency = Agency.objects.create(name="Agency", ultravox_api_key=key)
    with pytest.raises(CredentialsUnavailable) as caught:
        get_agency_credentials(agency)
    assert key not in caught.value.message


def test_saving_another_column_leaves_the_key_as_it_is() -> None:
    agency = Agency.objects.create(name="Agency", ultravox_api_key=KEY)
    before = stored_key(agency)
    loaded = Agency.objects.get()
    loaded.name = "Another name"
    loaded.save()
    assert stored_key(agency) == before


def test_deferred_key() -> None:
    Agency.objects.create(name="Agency", ultravox_api_key=KEY)
    for agency in (
        Agency.objects.defer("ultravox_api_key").get(),
        Agency.objects.only("name").get(),
    ):
        agency.save()
        assert get_agency_credentials(agency) == KEY


def test_text_of_a_token_is_a_text_too() -> None:
    token = encrypted_with(CREDENTIALS_KEY, "something else")
    agency = Agency.objects.create(name="Agency", ultravox_api_key=token)
    assert Agency.objects.get(pk=agency.pk).ultravox_api_key == token


# Rows that cannot be read

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
    assert get_agency_credentials(Agency.objects.get(pk=good.pk)) == KEY
    loaded.ultravox_api_key = "entered again"
    loaded.save()
    assert get_agency_credentials(Agency.objects.get(pk=bad.pk)) == "entered again"
    loaded.delete()


# Several keys


def test_the_first_key_encrypts_and_all_decrypt(settings: Any) -> None:
    settings.CREDENTIALS_KEYS = [OLD]
    old = Agency.objects.create(name="Old", ultravox_api_key=KEY)
    settings.CREDENTIALS_KEYS = [NEW, OLD]
    assert get_agency_credentials(Agency.objects.get(pk=old.pk)) == KEY
    new = Agency.objects.create(name="New", ultravox_api_key=KEY)
    settings.CREDENTIALS_KEYS = [NEW]
    assert get_agency_credentials(Agency.objects.get(pk=new.pk)) == KEY
    with pytest.raises(CredentialsUnavailable):
        get_agency_credentials(Agency.objects.get(pk=old.pk))


def test_rotation(settings: Any, capsys: pytest.CaptureFixture[str]) -> None:
    settings.CREDENTIALS_KEYS = [NEW, OLD]
    agencies = [
        make("old", encrypted_with(OLD)),
        make("new", encrypted_with(NEW)),
        make("empty", ""),
        make("null", None),
    ]
    touched = {agency.pk: agency.updated_at for agency in agencies}
    assert rotate(capsys) == "Rotated 2 keys\n"
    settings.CREDENTIALS_KEYS = [NEW]
    for agency in agencies[:2]:
        assert get_agency_credentials(Agency.objects.get(pk=agency.pk)) == KEY
    assert [stored_key(agency) for agency in agencies[2:]] == ["", None]
    assert {agency.pk: agency.updated_at for agency in Agency.objects.all()} == touched


def test_rotation_with_a_row_that_no_key_decrypts(
    settings: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    settings.CREDENTIALS_KEYS = [NEW, OLD]
    lost = encrypted_with(LOST)
    first, bad, last = (
        make("First", encrypted_with(OLD)), make("Bad", lost), make("Last", encrypted_with(OLD))
    )  # fmt: skip
    with pytest.raises(CommandError) as caught:
        rotate(capsys)
    message = str(caught.value)
    assert "Bad" in message
    assert str(bad.pk) in message
    assert "First" not in message
    assert lost not in message
    assert stored_key(bad) == lost
    settings.CREDENTIALS_KEYS = [NEW]
    for agency in (first, last):
        assert get_agency_credentials(Agency.objects.get(pk=agency.pk)) == KEY


@pytest.mark.parametrize("keys", [[], ["malformed"], [NEW, "malformed"]])
def test_rotation_without_usable_keys(
    settings: Any, keys: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    stored = encrypted_with(CREDENTIALS_KEY)
    agency = make("Agency", stored)
    settings.CREDENTIALS_KEYS = keys
    with pytest.raises(CommandError, match="CREDENTIALS_KEYS"):
        rotate(capsys)
    assert stored_key(agency) == stored


def test_rotation_on_the_command_line(project: Callable[..., Project]) -> None:
    old = project(CREDENTIALS_KEYS=OLD)
    old.seed(key=KEY)
    new = project(CREDENTIALS_KEYS=f" {NEW} , {OLD} ,")
    done = new.manage("rotate_credentials")
    assert (done.returncode, done.stdout, done.stderr) == (0, "Rotated 1 keys\n", "")
    stored = new.database.value("SELECT ultravox_api_key FROM agencies")
    assert Fernet(NEW).decrypt(stored) == KEY.encode()
    done = new.manage("rotate_credentials", CREDENTIALS_KEYS=LOST)
    assert done.returncode == 1
    assert "Agency" in done.stderr
    assert "Traceback" not in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert stored == new.database.value("SELECT ultravox_api_key FROM agencies")


# Fixtures


def test_dump_and_load_never_show_plain_text(tmp_path: Path) -> None:
    agency = Agency.objects.create(name="Agency", ultravox_api_key=KEY)
    bad = make("Bad", encrypted_with(LOST))
    empty, null = make("Empty", ""), make("Null", None)
    before = {made: stored_key(made) for made in (agency, bad, empty, null)}
    for kind in ("json", "jsonl"):
        file = tmp_path / f"dump.{kind}"
        call_command("dumpdata", "agencies.agency", format=kind, output=str(file), verbosity=0)
        text = file.read_text()
        assert KEY not in text
        assert "Agency" in text
        Agency.objects.all().delete()
        call_command("loaddata", str(file), verbosity=0)
        assert {made: stored_key(made) or "" for made in before} == {
            made: stored or "" for made, stored in before.items()
        }
        assert get_agency_credentials(Agency.objects.get(pk=agency.pk)) == KEY


def test_objects_that_are_not_saved_are_dumped_encrypted() -> None:
    agency = Agency(name="Agency", ultravox_api_key=KEY, updated_at=timezone.now())
    text = serializers.serialize("json", [agency])
    assert KEY not in text
    (loaded,) = serializers.deserialize("json", text)
    loaded.save()
    assert Agency.objects.get().ultravox_api_key == KEY


def test_fixture_with_plain_text_is_encrypted() -> None:
    fields = {"name": "Agency", "ultravox_api_key": KEY, "updated_at": "2026-01-01T00:00:00Z"}
    text = json.dumps([{"model": "agencies.agency", "fields": fields}])
    (loaded,) = serializers.deserialize("json", text)
    loaded.save()
    agency = Agency.objects.get()
    assert agency.ultravox_api_key == KEY
    assert KEY not in (stored_key(agency) or "")


def test_nothing_of_a_key_in_its_agency_s_text() -> None:
    agency = Agency.objects.create(name="Agency", ultravox_api_key=KEY)
    assert KEY not in f"{agency} {agency!r} {[agency]} {Agency.objects.all()}"


# System checks


def ids() -> list[str]:
    return [message.id or "" for message in checks.run_checks()]


def test_settings_of_the_tests_pass_the_checks() -> None:
    assert ids() == []


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ([], ["agencies.E001"]),
        (["malformed"], ["agencies.E002"]),
        ([NEW, "c2hvcnQ="], ["agencies.E002"]),
        (["grüße", "\0", NEW], ["agencies.E002"] * 2),
        ([NEW, OLD], []),
    ],
)
def test_checks_of_keys(settings: Any, keys: list[str], expected: list[str]) -> None:
    settings.CREDENTIALS_KEYS = keys
    assert ids() == expected
    if expected:
        with pytest.raises(SystemCheckError) as caught:
            call_command("check")
        text = str(caught.value)
        assert "CREDENTIALS_KEYS" in text
        assert "HINT" in text
        assert "Fernet.generate_key()" in text
        assert not any(key in text for key in keys)


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("SUPABASE_URL", "project.supabase.co", "agencies.E003"),
        ("SUPABASE_URL", "http://[::", "agencies.E003"),
        ("SUPABASE_JWT_SECRET", "the secret key", "agencies.E004"),
        ("ULTRAVOX_API_URL", "api.ultravox.ai", "voices.E001"),
        ("ULTRAVOX_API_URL", "ftp://api.ultravox.ai", "voices.E001"),
        ("ULTRAVOX_API_URL", "http://[::", "voices.E001"),
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
        for address in ADDRESSES:
            response = client.post(address, headers=headers)
            assert_error(response, 500, "credentials_unavailable", token)
    assert not ultravox.requests


def test_keys_that_the_database_does_not_give(client: Client) -> None:
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE agencies RENAME TO lost")
    response = client.post(ADDRESSES[0], headers={"apikey": SERVICE_KEY})
    assert response.status_code == 500
    assert_error(response, 500, response.json()["code"])
