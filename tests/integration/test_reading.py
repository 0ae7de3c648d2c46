"""The read API: `GET /api/voices/`, one voice, sync runs; who sees what, to the letter."""

import contextlib
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

import psycopg
import pytest
import requests
import time_machine
from django.contrib.auth.models import Permission
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from rest_framework_simplejwt.tokens import AccessToken

from agencies.models import Agency, User
from sandbox.catalogue import make_voices
from tests.support.answers import assert_error
from tests.support.environment import ORIGIN, PASSWORD, SERVICE_KEY
from tests.support.project import Database, on_postgresql, own_project, wait_for
from tests.ultravox import Ultravox
from voices.models import AgencyVoice, SyncRun, Voice
from voices.sync import sync_voices

pytestmark = pytest.mark.django_db

LIST, ALIAS, RUNS = "/api/voices/", "/functions/v1/voices-list", "/api/sync-runs/"
SERVICE = {"apikey": SERVICE_KEY}
NOW = datetime(2026, 11, 25, 12, 0, 0, 123456, tzinfo=UTC)
FIELDS = [
    "id",
    "name",
    "description",
    "language_label",
    "primary_language",
    "ownership",
    "billing_style",
    "provider",
    "preview_url",
    "last_synced_at",
    "listed",
]


def make(voice_id: str, name: str = "", **fields: Any) -> Voice:
    """Insert a voice past the sync, as another program would: without a search text."""
    fields = {"ownership": "public", "last_synced_at": NOW} | fields
    return Voice.objects.create(id=voice_id, name=name or voice_id, **fields)


def succeed(agency: Agency | None, start: datetime = NOW, **fields: Any) -> SyncRun:
    fields = {"trigger": "service", "status": "succeeded", "heartbeat_at": start} | fields
    end = start + timedelta(seconds=1)
    return SyncRun.objects.create(agency=agency, started_at=start, finished_at=end, **fields)


def bearer(user: User) -> dict[str, str]:
    return {"authorization": f"Bearer {AccessToken.for_user(user)}"}


@pytest.fixture
def ask(client: Client) -> Callable[..., dict[str, Any]]:
    """Return the JSON of an address, as a service or as a user sees it."""

    def get(address: str = LIST, user: User | None = None, **query: Any) -> dict[str, Any]:
        headers = bearer(user) if user else SERVICE
        response = client.get(address, query, headers=headers)
        assert response.status_code == 200, response.content
        return response.json()

    return get


@pytest.fixture
def names(ask: Callable[..., Any]) -> Callable[..., list[str]]:
    """Return the names of the voices found, in order."""
    return lambda *args, **query: [row["name"] for row in ask(*args, **query)["results"]]


@pytest.fixture
def stranger(db: None) -> User:
    other = Agency.objects.create(name="Other", ultravox_api_key="another-key")
    return User.objects.create_user("stranger@example.com", PASSWORD, agency=other)


def staff_with(*permissions: str) -> User:
    user = User.objects.create_user("some.staff@example.com", PASSWORD, is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    return user


# Who sees what


@pytest.fixture
def private(user: User) -> Voice:
    """A clone that the user's agency saw in its last sync."""
    make("open")
    voice = make("clone", ownership="private", definition={"generic": {"headers": {"k": "secret"}}})
    AgencyVoice.objects.create(agency=user.agency, voice=voice, last_seen_at=NOW)
    succeed(user.agency)
    return voice


def test_a_private_voice_exists_for_its_agency_services_and_staff(
    client: Client, ask: Any, names: Any, private: Voice, user: User, stranger: User, staff: User
) -> None:
    viewer = staff_with("view_voice")
    for caller in (user, None, staff, viewer):
        found = ask(user=caller)
        assert (found["count"], [row["id"] for row in found["results"]]) == (2, ["clone", "open"])
        assert [row["listed"] for row in found["results"]] == [True, True]
        assert ask("/api/voices/clone/", caller)["ownership"] == "private"
    found = ask(user=stranger)
    assert (found["count"], names(user=stranger)) == (1, ["open"])
    assert names(user=stranger, search="clone") == []
    facets = found["facets"]["ownership"]
    assert facets == [{"value": "public", "label": "Public", "count": 1}]
    for address in ("/api/voices/clone/", "/api/voices/clone/preview", "/api/voices/none/"):
        assert_error(client.get(address, headers=bearer(stranger)), 404, "not_found")


def test_an_ownership_that_is_not_public_is_private(names: Any, stranger: User) -> None:
    for number, ownership in enumerate((None, "", "Public", "shared")):
        make(f"v{number}", ownership=ownership)
    assert names(user=stranger) == []
    assert len(names()) == 4


def test_a_deleted_agency_sees_nothing(client: Client, private: Voice, user: User) -> None:
    headers = bearer(user)
    Agency.objects.all().delete()
    assert not AgencyVoice.objects.exists()
    for address in (LIST, "/api/voices/clone/", RUNS):
        assert_error(client.get(address, headers=headers), 403, "not_agency_user")


def test_staff_need_the_permission(client: Client, private: Voice) -> None:
    plain = staff_with()
    for address in (LIST, ALIAS, "/api/voices/clone/", "/api/voices/clone/preview", RUNS):
        assert_error(client.get(address, headers=bearer(plain)), 403, "not_agency_user")
    viewer = plain
    viewer.user_permissions.set(Permission.objects.filter(codename="view_voice"))
    assert client.get(LIST, headers=bearer(viewer)).json()["count"] == 2
    assert_error(client.get(RUNS, headers=bearer(viewer)), 403, "not_agency_user")


def test_the_sync_records_which_agency_saw_what(
    ultravox: Ultravox, agency: Agency, user: User, stranger: User, ask: Any
) -> None:
    ultravox.voices = voices = make_voices(30, base_url=ultravox.url)
    private = {voice["voiceId"] for voice in voices if voice["ownership"] == "private"}
    assert 0 < len(private) < 30
    run = sync_voices(trigger="service")
    seen = AgencyVoice.objects.values_list("agency_id", "voice_id", "last_seen_at")
    assert set(seen) == {(agency.pk, voice_id, run.started_at) for voice_id in private}
    assert ask(user=user)["count"] == 30
    assert ask(user=stranger)["count"] == 30 - len(private)
    # One is gone, and one is made public.
    gone, public = sorted(private)[:2]
    ultravox.voices = [
        voice | ({"ownership": "public"} if voice["voiceId"] == public else {})
        for voice in voices
        if voice["voiceId"] != gone
    ]
    sync_voices(trigger="service")
    assert not ask(f"/api/voices/{gone}/", user)["listed"]
    assert [row["id"] for row in ask(user=user, listed="false")["results"]] == [gone]
    assert ask(f"/api/voices/{public}/", stranger)["listed"]


def test_a_failed_sync_records_nothing(
    ultravox: Ultravox, agency: Agency, monkeypatch: Any
) -> None:
    ultravox.voices = make_voices(30, base_url=ultravox.url)
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE agency_voices RENAME TO lost")
    with pytest.raises(Exception, match="database"):
        sync_voices(trigger="service")
    assert not Voice.objects.exists()


# listed


def test_listed_is_what_the_last_sync_that_would_have_seen_it_says(
    ask: Any, user: User, stranger: User, staff: User
) -> None:
    earlier = NOW - timedelta(hours=1)
    make("old", last_synced_at=earlier)
    make("new", last_synced_at=NOW)
    mine = make("mine", ownership="private", last_synced_at=earlier)
    shared = make("shared", ownership="private", last_synced_at=NOW)

    def listed(caller: User | None) -> dict[str, bool]:
        return {row["id"]: row["listed"] for row in ask(user=caller)["results"]}

    assert set(listed(None).values()) == {False}  # nobody has synced
    # My agency's last sync was the earlier one, the other's the one of now.
    AgencyVoice.objects.create(agency=user.agency, voice=mine, last_seen_at=earlier)
    AgencyVoice.objects.create(
        agency=user.agency, voice=shared, last_seen_at=earlier - timedelta(hours=1)
    )
    AgencyVoice.objects.create(agency=stranger.agency, voice=shared, last_seen_at=NOW)
    succeed(user.agency, earlier)
    succeed(stranger.agency, NOW)
    succeed(user.agency, NOW + timedelta(hours=1), status="failed")
    public = {"old": False, "new": True}
    assert listed(user) == public | {"mine": True, "shared": False}
    assert listed(stranger) == public | {"shared": True}
    for caller in (None, staff):
        assert listed(caller) == public | {"mine": True, "shared": True}
    facet = ask()["facets"]["listed"]
    assert facet == [
        {"value": True, "label": "Listed by Ultravox", "count": 3},
        {"value": False, "label": "No longer listed", "count": 1},
    ]


def test_a_public_voice_is_listed_if_the_sync_that_ended_last_saw_it(
    ask: Any, user: User, stranger: User
) -> None:
    make("seen", last_synced_at=NOW)
    make("not seen", last_synced_at=NOW + timedelta(minutes=1))
    overlapped = NOW + timedelta(minutes=1)
    succeed(stranger.agency, overlapped)
    run = succeed(user.agency, NOW)
    SyncRun.objects.filter(pk=run.pk).update(finished_at=NOW + timedelta(minutes=5))
    assert [row["id"] for row in ask(listed="true")["results"]] == ["seen"]


# Search


@pytest.fixture
def five(agency: Agency) -> None:
    make(
        "1",
        "Émilie",
        description="Warm and unhurried",
        primary_language="fr-FR",
        language_label="🇫🇷 French (France)",
        provider="Cartesia",
    )
    make("2", "Москва", description="100% спокойный_голос", provider="eleven_labs")
    make("3", "Søren Łódź", primary_language="da-DK", provider="Google")
    make("AbC-4", "Straße", primary_language="de", description="İstanbul\nzweite Zeile \\o/")
    make("5 with spaces", "ΣΊΣΥΦΟΣ x̂y")
    succeed(agency)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("emilie", ["Émilie"]),
        ("ÉMILIE", ["Émilie"]),
        ("e\u0301milie", ["Émilie"]),
        ("москва", ["Москва"]),
        ("СПОКОЙНЫЙ", ["Москва"]),
        ("сискойный", []),
        ("soren lodz", ["Søren Łódź"]),
        ("LODZ google", ["Søren Łódź"]),
        ("soren emilie", []),
        ("strasse", ["Straße"]),
        ("STRASSE", ["Straße"]),
        ("istanbul zeile", ["Straße"]),
        ("french france", ["Émilie"]),
        ("🇫🇷", ["Émilie"]),
        ("fr-fr", ["Émilie"]),
        ("carte warm", ["Émilie"]),
        ("%", ["Москва"]),
        ("_", ["Москва"]),
        ("\\", ["Straße"]),
        ("a_d", []),
        ("e%e", []),
        ("abc-4", ["Straße"]),
        ("AbC-4", ["Straße"]),
        ("bC-4", []),
        ("4", []),
        ("1", ["Émilie", "Москва"]),
        ("5 with spaces", ["ΣΊΣΥΦΟΣ x̂y"]),
        ("spaces", []),
        ("σίσυφος xy", ["ΣΊΣΥΦΟΣ x̂y"]),
        ("  emilie \t", ["Émilie"]),
        ("' OR 1=1 --", []),
    ],
)
def test_search(names: Any, five: None, text: str, found: list[str]) -> None:
    assert sorted(names(search=text)) == sorted(found)


def test_search_finds_what_a_sync_wrote_and_follows_it(
    ultravox: Ultravox, agency: Agency, names: Any
) -> None:
    ultravox.voices = [{"voiceId": "1", "name": "Émilie", "ownership": "public"}]
    sync_voices(trigger="service")
    assert names(search="emilie") == ["Émilie"]
    ultravox.voices = [{"voiceId": "1", "name": "Jörg", "ownership": "public"}]
    sync_voices(trigger="service")
    assert (names(search="emilie"), names(search="jorg")) == ([], ["Jörg"])


def test_rows_that_others_insert_are_found_and_ordered(names: Any, agency: Agency) -> None:
    with connection.cursor() as cursor:
        for number, name in enumerate(("Zoë", "яна", "Анна", "émile", "Ada")):
            cursor.execute(
                "INSERT INTO ultravox_voices (id, name, ownership, last_synced_at) VALUES (%s, %s, %s, %s)",
                [str(number), name, "public", "2026-11-25 12:00:00+00:00"],
            )
    assert names() == ["Ada", "émile", "Zoë", "Анна", "яна"]
    assert names(search="ЯНА") == ["яна"]


@pytest.mark.parametrize("upserts", [False, True], ids=["update", "upsert"])
def test_rows_that_others_change_are_found_as_they_are(names: Any, upserts: bool) -> None:
    make("1", "Zoe")
    make("2", "Mia")
    assert names() == ["Mia", "Zoe"]
    if upserts:
        statement = (
            "INSERT INTO ultravox_voices (id, name, ownership, last_synced_at)"
            " VALUES ('1', 'Adam', 'public', %s) ON CONFLICT (id) DO UPDATE SET name = EXCLUDED.name"
        )
        with connection.cursor() as cursor:
            cursor.execute(statement, ["2026-11-25 12:00:00+00:00"])
    else:
        Voice.objects.filter(pk="1").update(name="Adam")
    assert (names(), names(search="adam"), names(search="zoe")) == (["Adam", "Mia"], ["Adam"], [])


def test_many_readers_at_once_find_what_others_inserted(
    synced: Database, tmp_path: Any, ultravox: Ultravox
) -> None:
    with own_project(synced, tmp_path, ULTRAVOX_API_URL=ultravox.url) as project:
        url = project.serve("--workers=1")

        def first_names(_: int) -> tuple[int, str]:
            found = requests.get(f"{url}{LIST}?search=a", headers=SERVICE, timeout=30).json()
            return found["count"], found["results"][0]["name"]

        truth = first_names(0)
        project.database.rows("UPDATE ultravox_voices SET sort_name = NULL, search_text = NULL")
        with ThreadPoolExecutor(8) as readers:
            assert set(readers.map(first_names, range(8))) == {truth}


def test_a_database_that_cannot_be_written_to_is_read_all_the_same(
    synced: Database, tmp_path: Any, ultravox: Ultravox
) -> None:
    with own_project(synced, tmp_path, ULTRAVOX_API_URL=ultravox.url) as project:
        url = project.serve("--workers=1")
        project.database.rows("UPDATE ultravox_voices SET sort_name = NULL, search_text = NULL")
        with contextlib.closing(project.database.connect()) as other:
            other.execute("BEGIN" if project.database.is_postgresql else "BEGIN IMMEDIATE")
            other.execute("UPDATE ultravox_voices SET description = 'held'")
            began = time.monotonic()
            answer = requests.get(f"{url}{LIST}", headers=SERVICE, timeout=30)
            assert (answer.status_code, answer.json()["count"]) == (200, 300)
            assert time.monotonic() - began < 10
            other.execute("ROLLBACK")
        assert "cannot be searched yet" in project.log("web")


# Filters, facets


@pytest.fixture
def catalogue(agency: Agency) -> None:
    included, external = "VOICE_BILLING_STYLE_INCLUDED", "VOICE_BILLING_STYLE_EXTERNAL"
    for voice_id, language, provider, billing in (
        ("a", "en", "Google", included),
        ("b", "en-US", "Google", included),
        ("c", "en-US", "LMNT", external),
        ("d", "EN-gb", None, None),
        ("e", "eng", "", external),
        ("f", None, "eleven_labs", external),
        ("g", "de-AT", "Google", included),
    ):
        make(
            voice_id,
            primary_language=language,
            provider=provider,
            billing_style=billing,
            language_label=language and f"label of {language}",
        )
    succeed(agency)


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({"language": "en"}, "abcd"),
        ({"language": "EN"}, "abcd"),
        ({"language": "en-us"}, "bc"),
        ({"language": "-"}, "f"),
        ({"language": ["-", "de"]}, "fg"),
        ({"language": "fr"}, ""),
        ({"provider": "Google"}, "abg"),
        ({"provider": "google"}, ""),
        ({"provider": "-"}, "d"),
        ({"provider": ""}, "e"),
        ({"provider": ["LMNT", "-"]}, "cd"),
        ({"billing_style": "VOICE_BILLING_STYLE_EXTERNAL"}, "cef"),
        ({"billing_style": "-"}, "d"),
        ({"ownership": "public"}, "abcdefg"),
        ({"ownership": "private"}, ""),
        ({"listed": "true"}, "abcdefg"),
        ({"listed": "false"}, ""),
        ({"language": "en", "provider": "Google", "search": "us"}, "b"),
    ],
)
def test_filters(ask: Any, catalogue: None, query: dict[str, Any], found: str) -> None:
    answer = ask(**query)
    assert "".join(row["id"] for row in answer["results"]) == found
    assert answer["count"] == len(found)


def test_facets_leave_out_their_own_filter(ask: Any, catalogue: None) -> None:
    def counts(name: str, **query: Any) -> list[tuple[Any, int]]:
        return [(each["value"], each["count"]) for each in ask(**query)["facets"][name]]

    assert counts("provider") == [
        ("Google", 3),
        ("", 1),
        ("LMNT", 1),
        ("eleven_labs", 1),
        (None, 1),
    ]
    assert counts("provider", provider="LMNT") == counts("provider")
    assert counts("provider", language="en") == [("Google", 2), ("LMNT", 1), (None, 1)]
    assert counts("provider", language="en", provider="x", search="us") == [
        ("Google", 1),
        ("LMNT", 1),
    ]
    assert counts("primary_language", provider=["LMNT", "-"]) == [("EN-gb", 1), ("en-US", 1)]
    assert counts("listed", provider="x") == []


def test_facets_in_words(ask: Any, catalogue: None) -> None:
    facets = ask()["facets"]
    assert list(facets) == ["primary_language", "provider", "ownership", "billing_style", "listed"]
    make("h", primary_language="en-US", language_label="a label of few", provider="zzz")
    make("i", primary_language="en-US", provider="zzz")
    facets = ask()["facets"]
    labels = {
        name: {each["value"]: each["label"] for each in facet} for name, facet in facets.items()
    }
    assert labels["primary_language"]["en-US"] == "label of en-US"
    assert labels["provider"]["eleven_labs"] == "Eleven Labs"
    assert labels["provider"]["LMNT"] == "LMNT"
    assert labels["billing_style"] == {
        "VOICE_BILLING_STYLE_INCLUDED": "Included",
        "VOICE_BILLING_STYLE_EXTERNAL": "Billed by the provider",
        None: "Unknown",
    }
    for facet in facets.values():
        assert all(list(each) == ["value", "label", "count"] and each["label"] for each in facet)


# Order, pages


def test_order(names: Any, agency: Agency) -> None:
    for voice_id, name, language, provider, minute in (
        ("z", "Ägir", "fr", "b", 1),
        ("y", "agir", None, "B", 2),
        ("x", "Zoe", "EN", None, 3),
        ("w", "яна", "en-US", "é", 1),
        ("v", "Łada", "de", "a", 0),
    ):
        make(
            voice_id,
            name,
            primary_language=language,
            provider=provider,
            last_synced_at=NOW + timedelta(minutes=minute),
        )
    assert names() == ["agir", "Ägir", "Łada", "Zoe", "яна"]
    assert names(ordering="-name") == ["яна", "Zoe", "Łada", "agir", "Ägir"]
    assert names(ordering="primary_language") == ["Łada", "Zoe", "яна", "Ägir", "agir"]
    assert names(ordering="-primary_language") == ["Ägir", "яна", "Zoe", "Łada", "agir"]
    assert names(ordering="provider") == ["Łada", "agir", "Ägir", "яна", "Zoe"]
    assert names(ordering="-provider") == ["яна", "agir", "Ägir", "Łada", "Zoe"]
    assert names(ordering="last_synced_at") == ["Łada", "яна", "Ägir", "agir", "Zoe"]
    assert names(ordering="-last_synced_at")[0] == "Zoe"


def test_pages(ask: Any, catalogue: None) -> None:
    first = ask(page_size=3)
    assert first["previous"] is None
    assert first["next"] == "http://testserver/api/voices/?page=2&page_size=3"
    second = ask(first["next"])
    assert [row["id"] for row in second["results"]] == ["d", "e", "f"]
    assert second["previous"] == "http://testserver/api/voices/?page_size=3"
    last = ask(second["next"])
    assert (last["next"], last["previous"]) == (None, first["next"])
    assert [row["id"] for row in last["results"]] == ["g"]
    assert {first["count"], second["count"], last["count"]} == {7}
    empty = ask(search="nothing like it")
    assert (empty["count"], empty["results"], empty["next"], empty["previous"]) == (
        0,
        [],
        None,
        None,
    )
    alias = ask(ALIAS, page_size=6, forceFunctionRegion="eu-west-1")
    assert alias["next"].startswith("http://testserver/functions/v1/voices-list?")


@pytest.mark.parametrize(
    ("query", "name"),
    [
        ("page=0", "page"),
        ("page=x", "page"),
        ("page=", "page"),
        ("page=4&page_size=3", "page"),
        ("page=1e3", "page"),
        ("page=99999999999999999999", "page"),
        ("page=1.0", "page"),
        ("page=%201", "page"),
        ("page=%D9%A1", "page"),
        ("page=1&page=2", "page"),
        ("page_size=0", "page_size"),
        ("page_size=201", "page_size"),
        ("ordering=id", "ordering"),
        ("ordering=--name", "ordering"),
        ("ordering=name&ordering=provider", "ordering"),
        ("listed=1", "listed"),
        ("listed=", "listed"),
        ("listed=True", "listed"),
        ("search=a&search=b", "search"),
        ("search=" + "x" * 1001, "search"),
        ("search=%00", "search"),
        ("provider=%00", "provider"),
        ("language=en_us!", "language"),
        ("language=", "language"),
        ("language=en&language=--", "language"),
        ("limit=5", "limit"),
        ("forceFunctionRegion=x", "forceFunctionRegion"),
        ("format=xml", "format"),
        ("page[]=1", "page[]"),
    ],
)
def test_bad_parameters(client: Client, catalogue: None, query: str, name: str) -> None:
    response = client.get(f"{LIST}?{query}", headers=SERVICE)
    assert_error(response, 400, "invalid_request")
    assert name in response.json()["message"]


def test_a_language_that_is_no_tag_but_in_the_table_can_be_filtered_by(ask: Any) -> None:
    make("a", primary_language="zh_CN")
    for language in ("zh_CN", "zh_cn"):
        assert ask(language=language)["count"] == 1


@pytest.mark.parametrize("address", [LIST, RUNS])
def test_the_number_of_queries_does_not_depend_on_what_there_is(
    client: Client, user: User, address: str
) -> None:
    def queries(size: int) -> int:
        with CaptureQueriesContext(connection) as captured:
            response = client.get(f"{address}?page_size={size}", headers=bearer(user))
        assert response.status_code == 200
        return len(captured)

    make("first")
    succeed(user.agency, user=user)
    queries(1)
    few = queries(1)
    for number in range(60):
        voice = make(f"v{number}", ownership="private", primary_language=f"l{number}")
        AgencyVoice.objects.create(agency=user.agency, voice=voice, last_seen_at=NOW)
        succeed(user.agency, user=user)
    client.get(LIST, headers=bearer(user))  # gives them a search text
    assert queries(1) == queries(60) == few <= 6


@on_postgresql
@pytest.mark.django_db(transaction=True)
def test_what_is_remembered_ends_with_any_commit(client: Client, ask: Any, user: User) -> None:
    def groupings() -> int:
        with CaptureQueriesContext(connection) as captured:
            ask(user=user, provider="A")
        return sum("GROUP BY" in query["sql"] for query in captured)

    def counts() -> dict[str, int]:
        return {each["value"]: each["count"] for each in ask(user=user)["facets"]["provider"]}

    make("a", provider="A")
    clone = make("b", provider="B", ownership="private")
    assert counts() == {"A": 1}
    wait_for(lambda: groupings() == 0)  # other tests on the server commit, too
    with psycopg.connect(**connection.get_connection_params()) as other:
        other.execute("UPDATE ultravox_voices SET provider = 'C' WHERE id = 'a'")
        assert counts() == {"A": 1}  # not committed yet
        other.commit()
        assert (groupings(), counts()) == (1, {"C": 1})
        other.execute(
            "INSERT INTO agency_voices (agency_id, voice_id, last_seen_at) VALUES (%s, 'b', now())",
            [user.agency_id],
        )
    assert (clone.pk, counts()) == ("b", {"B": 1, "C": 1})
    Voice.objects.filter(pk="a").delete()
    assert counts() == {"B": 1}


# One voice


def test_the_list_s_spelling(ask: Any, agency: Agency) -> None:
    make("a", "A", preview_url="https://example.com/a.wav", definition={"x": 1})
    run = succeed(agency, synced=1)
    answer = ask()
    assert list(answer) == ["count", "next", "previous", "results", "facets", "last_sync"]
    [voice] = answer["results"]
    assert list(voice) == FIELDS
    assert voice["last_synced_at"] == "2026-11-25T12:00:00.123456Z"
    assert datetime.fromisoformat(answer["last_sync"]["finished_at"]) == run.finished_at
    assert answer["last_sync"]["finished_at"].endswith("Z")
    assert answer["last_sync"]["synced"] == 1
    assert ask("/api/voices/a/") == voice | {"definition": {"x": 1}}
    SyncRun.objects.all().delete()
    assert ask()["last_sync"] is None


def test_definitions_without_secrets(ask: Any) -> None:
    make(
        "a",
        definition={
            "generic": {"headers": {"k": "secret"}, "responseSampleRate": 8000},
            "n": 2**70,
        },
    )
    make("b", definition=None)
    definition = ask("/api/voices/a/")["definition"]
    assert definition == {"generic": {"headers": "••••••", "responseSampleRate": 8000}, "n": 2**70}
    assert ask("/api/voices/b/")["definition"] is None


IDS = (
    "a/b",
    "a/preview",
    "preview",
    "sync/more",
    "/",
    "a/",
    "50%",
    "50%25",
    "%2F",
    "é€",
    "a b+c",
    "x?y#z",
    "a\nb",
    "line\n",
    "'\"<>",
    "🎤",
    "..a",
    "a//b",
    "https://example.com/?q=1&r=2",
)


def test_ids_of_any_characters(synced: Database, tmp_path: Any, ultravox: Ultravox) -> None:
    with own_project(synced, tmp_path, ULTRAVOX_API_URL=ultravox.url) as project:
        ids = [*IDS, "sync"]
        for voice_id in ids:
            project.database.rows(
                "INSERT INTO ultravox_voices (id, name, ownership, last_synced_at, preview_url)"
                f" VALUES ({', '.join(['%s' if project.database.is_postgresql else '?'] * 5)})",
                voice_id,
                voice_id,
                "public",
                "2026-11-25 12:00:00",
                "https://example.com/a.wav",
            )
        url = project.serve()
        for voice_id in IDS:
            for slash in ("", "/"):
                address = f"{url}/api/voices/{quote(voice_id, safe='')}{slash}"
                answer = requests.get(address, headers=SERVICE, timeout=10)
                assert (answer.status_code, answer.json().get("id")) == (200, voice_id)
            link = answer.json()["preview_url"]
            heard = requests.get(link, timeout=10, allow_redirects=False)
            assert heard.headers["Location"] == "https://example.com/a.wav"
            query = {"search": voice_id, "page_size": "200"}
            found = requests.get(f"{url}{LIST}", query, headers=SERVICE, timeout=10).json()
            assert voice_id in {row["id"] for row in found["results"]}
        for address in ("/api/voices/sync", "/api/voices/sync/"):
            assert requests.get(f"{url}{address}", timeout=10).status_code == 405


# What every answer has


@pytest.mark.parametrize(
    "address",
    [LIST, LIST.rstrip("/"), ALIAS, f"{ALIAS}/", "/api/voices/a/", RUNS, "/api/sync-runs/1"],
)
def test_methods_before_credentials(client: Client, address: str) -> None:
    assert_error(client.get(address), 401, "not_authenticated")
    assert client.head(address).status_code == 401
    assert client.options(address).status_code == 204
    for method in ("POST", "PUT", "PATCH", "DELETE", "TRACE", "BREW"):
        response = client.generic(method, address)
        assert_error(response, 405, "method_not_allowed")
        assert response["Allow"] == "GET, HEAD, OPTIONS"


def test_other_preconditions_are_ignored(client: Client, private: Voice) -> None:
    assert client.get(LIST, headers=SERVICE | {"if-match": '"x"'}).status_code == 200


def test_etags_follow_every_change_and_nothing_else(
    client: Client, user: User, private: Voice
) -> None:
    make("with preview", preview_url="https://example.com/a.wav")
    client.force_login(user)
    headers: dict[str, str] = {}
    run = SyncRun.objects.get()
    addresses = (LIST, f"{LIST}?search=open", "/api/voices/open/", RUNS, f"{RUNS}{run.pk}/")
    with time_machine.travel(NOW + timedelta(minutes=10), tick=False):
        client.get(LIST, headers=headers)
        seen = {address: client.get(address, headers=headers) for address in addresses}
    with time_machine.travel(NOW + timedelta(minutes=59), tick=False):
        for address, first in seen.items():
            assert first["Cache-Control"] == "private, no-cache"
            vary = {name.strip().lower() for name in first["Vary"].split(",")}
            assert vary >= {"authorization", "apikey", "cookie"}
            again = client.get(address, headers=headers | {"if-none-match": first["ETag"]})
            assert (again.status_code, again.content, again["ETag"]) == (304, b"", first["ETag"])
            assert again["Cache-Control"] == first["Cache-Control"]
            assert "authorization" in again["Vary"].lower()
            other = client.get(address, headers=headers | {"if-none-match": '"another"'})
            assert (other.status_code, other.content) == (200, first.content)
            head = client.head(address, headers=headers)
            assert (head.status_code, head.content, head["ETag"]) == (200, b"", first["ETag"])
        with connection.cursor() as cursor:
            cursor.execute("UPDATE ultravox_voices SET description = 'other' WHERE id = 'open'")
        for address in addresses[:3]:
            changed = client.get(
                address, headers=headers | {"if-none-match": seen[address]["ETag"]}
            )
            assert changed.status_code == 200, address
    with time_machine.travel(
        NOW + timedelta(minutes=61), tick=False
    ):  # the links' signatures are new
        later = client.get(LIST, headers=headers | {"if-none-match": seen[LIST]["ETag"]})
        assert later.status_code == 200


def test_browsers_of_other_origins(client: Client, private: Voice) -> None:
    asked = "authorization, apikey, x-client-info, x-region, if-none-match, range"
    preflight = client.options(
        ALIAS,
        headers={
            "origin": ORIGIN,
            "access-control-request-method": "GET",
            "access-control-request-headers": asked,
        },
    )
    assert preflight.status_code in (200, 204)
    allowed = {name.strip() for name in preflight["Access-Control-Allow-Headers"].split(",")}
    assert {name.strip() for name in asked.split(",")} <= allowed
    response = client.get(ALIAS, headers=SERVICE | {"origin": ORIGIN})
    assert response["Access-Control-Allow-Origin"] == ORIGIN
    assert "Access-Control-Allow-Credentials" not in response
    assert "ETag" in response["Access-Control-Expose-Headers"]
    assert "origin" in response["Vary"].lower()


# Sessions


def test_a_session_reads_and_syncs_with_a_csrf_token(
    user: User, ultravox: Ultravox, staff: User
) -> None:
    ultravox.voices = make_voices(3, base_url=ultravox.url)
    client = Client(enforce_csrf_checks=True)
    client.force_login(user)
    assert client.get(LIST).status_code == 200
    for address in ("/api/voices/sync/", "/functions/v1/voices-sync"):
        assert_error(client.post(address), 403, "csrf_failed")
    client.get("/admin/login/")
    token = client.cookies["csrftoken"].value if "csrftoken" in client.cookies else ""
    token = token or _csrf_token(client)
    response = client.post("/api/voices/sync/", headers={"x-csrftoken": token})
    assert (response.status_code, response.json()["stats"]) == (200, {"synced": 3})
    assert SyncRun.objects.get().user == user
    # What is sent first decides.
    assert_error(client.get(LIST, headers={"authorization": "Bearer x"}), 401, "invalid_token")
    assert_error(client.get(LIST, headers={"apikey": "x"}), 401, "invalid_api_key")
    assert client.post("/api/voices/sync/", headers=SERVICE).status_code == 200
    client.force_login(staff)
    assert client.get(LIST).status_code == 200
    token = _csrf_token(client)
    refused = client.post("/api/voices/sync/", headers={"x-csrftoken": token})
    assert_error(refused, 403, "not_agency_user")
    staff.is_active = False
    staff.save()
    assert_error(client.get(LIST), 401, "not_authenticated")


def _csrf_token(client: Client) -> str:
    client.cookies["csrftoken"] = "a" * 32
    return "a" * 32


# Sync runs


def test_runs(client: Client, ask: Any, user: User, stranger: User, staff: User) -> None:
    hour = timedelta(hours=1)
    colleague = User.objects.create_user("colleague@example.com", PASSWORD, agency=user.agency)
    mine = succeed(
        user.agency,
        NOW - hour,
        user=colleague,
        trigger="user",
        pages=3,
        synced=300,
        voices=300,
        total=300,
    )
    failed = SyncRun.objects.create(
        agency=user.agency,
        user=staff,
        trigger="admin",
        status="failed",
        started_at=NOW,
        heartbeat_at=NOW,
        finished_at=NOW + hour,
        error_code="ultravox_error",
        error_message="Ultravox answered 500.",
    )
    other = succeed(stranger.agency, NOW - 2 * hour, user=stranger, trigger="user")
    nobody = succeed(
        None, NOW - 3 * hour, status="failed", error_code="no_api_key", error_message="None."
    )

    def ids(caller: User | None) -> list[int]:
        answer = ask(RUNS, caller)
        assert answer["count"] == len(answer["results"])
        return [run["id"] for run in answer["results"]]

    assert ids(user) == [failed.pk, mine.pk]
    assert ids(stranger) == [other.pk]
    for caller in (None, staff):
        assert ids(caller) == [failed.pk, mine.pk, other.pk, nobody.pk]
    first, second = ask(RUNS, user)["results"]
    assert second == {
        "id": mine.pk,
        "trigger": "user",
        "status": "succeeded",
        "started_at": "2026-11-25T11:00:00.123456Z",
        "finished_at": "2026-11-25T11:00:01.123456Z",
        "started_by": "colleague@example.com",
        "pages": 3,
        "voices": 300,
        "total": 300,
        "synced": 300,
        "skipped": 0,
        "code": None,
        "message": "Synced 300 voices from Ultravox",
    }
    assert (first["status"], first["code"], first["message"], first["started_by"]) == (
        "failed",
        "ultravox_error",
        "Ultravox answered 500.",
        None,
    )
    assert ask(RUNS, None)["results"][0]["started_by"] == staff.email
    assert ask(f"{RUNS}{mine.pk}/", user) == second
    for run_id in (other.pk, nobody.pk, 10**18 - 1):
        assert_error(client.get(f"{RUNS}{run_id}/", headers=bearer(user)), 404, "not_found")
    for bad in ("page=2", "page_size=0", "search=x"):
        assert_error(client.get(f"{RUNS}?{bad}", headers=SERVICE), 400, "invalid_request")


def test_a_run_under_way_tells_how_far_it_is(
    ask: Any, user: User, ultravox: Ultravox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("voices.runs.HEARTBEAT", 0)
    seen: list[dict[str, Any]] = []
    sync_voices(
        trigger="user",
        agency=user.agency,
        user=user,
        progress=lambda run: seen.append(ask(f"{RUNS}{run.pk}/", user)),
    )
    last = seen[-1]
    assert (last["status"], last["total"], last["finished_at"]) == ("running", 300, None)
    assert last["started_by"] == user.email
    assert 0 < last["voices"] <= 300
    assert last["pages"] * 100 == last["voices"]
    assert ask(RUNS)["results"][0]["voices"] == 300


def test_a_dead_run_is_not_running(ask: Any, user: User) -> None:
    long_ago = NOW - timedelta(days=1)
    run = SyncRun.objects.create(
        agency=user.agency, trigger="user", started_at=long_ago, heartbeat_at=long_ago
    )
    shown = ask(f"{RUNS}{run.pk}/")
    assert (shown["status"], shown["code"]) == ("abandoned", "abandoned")
    assert "process" in shown["message"]
