"""Search, filters, facets and order: `voices.search.find`, on both databases."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from agencies.authentication import Service
from agencies.models import Agency, User
from tests.support.rows import NOW, add_private_voice, add_run, add_voice, insert_voice
from voices.models import Voice
from voices.search import Listing, find

pytestmark = pytest.mark.django_db
Add = Callable[..., Voice]


def listing(
    text: str = "", ids: tuple[str, ...] = (), ordering: str = "name", **filters: Any
) -> Listing:
    return find(Service(), text=text, ids=ids, filters=filters, ordering=ordering)


def ids(**query: Any) -> list[str]:
    """Return the ids of the voices that a service finds, in order."""
    result = listing(**query)
    found = [voice.pk for voice in result.voices]
    assert result.count == len(found)
    return found


@pytest.fixture(params=[add_voice, insert_voice], ids=["synced", "inserted"])
def add(request: pytest.FixtureRequest, db: None) -> Add:
    """Add a row as a sync does, or as another program does: without the columns for search."""
    return request.param


# Search


def test_search(add: Add) -> None:
    add(
        "1",
        "Émilie",
        description="Warm and unhurried; female",
        primary_language="fr-FR",
        language_label="🇫🇷 French (France)",
        provider="Cartesia",
    )
    add("2", "Москва", description="100% спокойный_голос, o'brien", provider="eleven_labs")
    add("3", "Søren Łódź", primary_language="da-DK", provider="Google")
    add("AbC-4", "Straße", primary_language="de", description="İstanbul\nzweite Zeile \\o/ c++")
    add("5 with spaces", "ΣΊΣΥΦΟΣ x̂y", description="女声播音員 and สวัสดีค่ะ")
    for text, expected in {
        "emilie": "1",
        "milie": "",
        "male": "",
        "москва": "2",
        "сква": "",
        "голос": "",  # an underscore is part of a word
        "soren lodz": "3",
        "istanbul zeile": "AbC-4",
        "french (france": "1",
        "🇫🇷": "1",
        "fr": "1",
        "-dk": "",
        "brien": "2",
        "o'brien": "2",
        "c++": "AbC-4",
        "100%": "2",
        "%": "",
        "спокойный_": "2",
        "спокойный%": "",
        "\\": "AbC-4",
        "播音": "5 with spaces",
        "音播": "",
        "ดีค่": "5 with spaces",
        "abc-4": "AbC-4",
        "bC-4": "",
        "5 WITH spaces": "5 with spaces",
        "σίσυφος xy": "5 with spaces",
        "  emilie \t": "1",
        "' OR 1=1 --": "",
    }.items():
        assert ids(text=text) == ([expected] if expected else []), text
    assert ids(text="1") == ["1", "2"]
    assert len(ids(text=" ")) == 5


# Filters and facets


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
        fields: Any = {"primary_language": language, "provider": provider, "billing_style": billing}
        add_voice(voice_id, language_label=language and f"label of {language}", **fields)
    add_run(agency)


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({}, "abcdefg"),
        ({"primary_language": ["en"]}, "abcd"),
        ({"primary_language": ["en-us"]}, "bc"),
        ({"primary_language": ["-"]}, "f"),
        ({"primary_language": ["-", "de"]}, "fg"),
        ({"provider": ["Google"]}, "abg"),
        ({"provider": ["google"]}, ""),
        ({"provider": ["-"]}, "d"),
        ({"provider": [""]}, "e"),
        ({"provider": ["LMNT", "-"]}, "cd"),
        ({"billing_style": ["VOICE_BILLING_STYLE_EXTERNAL"]}, "cef"),
        ({"billing_style": ["-"]}, "d"),
        ({"ownership": ["private"]}, ""),
        ({"listed": [True]}, "abcdefg"),
        ({"ids": ("c", "a", "A", "x", "")}, "ac"),
        ({"primary_language": ["en"], "provider": ["Google"], "text": "us"}, "b"),
    ],
)
def test_filters(catalogue: None, query: dict[str, Any], expected: str) -> None:
    assert "".join(ids(**query)) == expected


def test_facets_count_without_their_own_filter(catalogue: None) -> None:
    def counts(name: str, **query: Any) -> list[tuple[Any, int]]:
        return [(item["value"], item["count"]) for item in listing(**query).facets[name]]

    everything = [("Google", 3), ("", 1), ("LMNT", 1), ("eleven_labs", 1), (None, 1)]
    assert counts("provider") == counts("provider", provider=["LMNT"]) == everything
    english = {"primary_language": ["en"]}
    assert counts("provider", **english) == [("Google", 2), ("LMNT", 1), (None, 1)]
    assert counts("provider", **english, provider=["x"], text="us") == [("Google", 1), ("LMNT", 1)]
    assert counts("primary_language", provider=["LMNT", "-"]) == [("EN-gb", 1), ("en-US", 1)]
    assert counts("ownership", ids=("a", "c")) == [("public", 2)]
    assert counts("listed", provider=["x"]) == []


def test_facets_have_labels(catalogue: None) -> None:
    add_voice("h", primary_language="en-US", language_label="a rare label", provider="zzz")
    add_voice("i", primary_language="en-US", provider="zzz", last_synced_at=NOW - timedelta(1))
    labels = {
        name: {item["value"]: item["label"] for item in facet}
        for name, facet in listing().facets.items()
    }
    assert labels["primary_language"]["en-US"] == "label of en-US"
    assert labels["primary_language"][None] == "Multilingual"
    providers, billing_styles = labels["provider"], labels["billing_style"]
    assert (providers["LMNT"], providers["eleven_labs"]) == ("LMNT", "Eleven Labs")
    assert providers[""] == providers[None] == "Custom provider"
    assert billing_styles["VOICE_BILLING_STYLE_EXTERNAL"] == "Billed by provider"
    assert billing_styles[None] == "Unknown"
    assert labels["ownership"] == {"public": "Public"}
    assert labels["listed"] == {True: "Available in Ultravox", False: "No longer in Ultravox"}


def test_a_search_shows_no_invisible_voice(agency: Agency, user: User) -> None:
    other = Agency.objects.create(name="Other")
    add_private_voice("clone", agency)
    stranger = User(agency=other)
    for caller, count in ((user, 1), (stranger, 0)):
        result = find(caller, text="clone", ids=["clone"], filters={}, ordering="name")
        assert (result.count, len(result.voices), len(result.facets["listed"])) == (count,) * 3


# Order


def test_order(add: Add) -> None:
    for voice_id, name, language, provider, minute in (
        ("z", "Igel", "fr", "b", 1),
        ("y", "igel", None, "B", 2),
        ("x", "Zoe", "EN", None, 3),
        ("w", "ана", "en-US", "écho", 1),
        ("v", "Лада", "de", "Éz", 0),
        ("B", "igel", None, None, 5),
    ):
        synced_at = NOW + timedelta(minutes=minute)
        fields: Any = {"primary_language": language, "provider": provider}
        add(voice_id, name, last_synced_at=synced_at, **fields)
    for ordering, expected in {
        "name": "Byzxwv",
        "-name": "vwxByz",
        "primary_language": "vxwzBy",
        "-primary_language": "zwxvBy",
        "provider": "yzwvBx",
        "-provider": "vwyzBx",
        "last_synced_at": "vwzyxB",
        "-last_synced_at": "Bxywzv",
    }.items():
        assert "".join(ids(ordering=ordering)) == expected, ordering


def test_names_are_ordered_without_accents() -> None:
    for name in ("Ägir", "Zoë", "agil", "Łada", "émile"):
        add_voice(name)
    assert ids() == ["agil", "Ägir", "émile", "Łada", "Zoë"]
