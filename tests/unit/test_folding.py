"""Folding of text for search and order."""

import re
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voices.folding import WORD_START, fold, search_columns, searchable


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("ÉMILIE", "emilie"),
        ("E\u0301milie", "emilie"),
        ("Łódź Søren Đặng ƉɊ", "lodz soren dang dq"),
        ("Thảo Nguyễn", "thao nguyen"),
        ("İstanbul ISTANBUL ıstanbul", "istanbul istanbul istanbul"),
        ("Straße STRASSE", "strasse strasse"),
        ("Æon œuvre", "aeon oeuvre"),
        ("x\u0302\u0323y", "xy"),
        ("МОСКВА", "москва"),
        ("Май", "май"),
        ("ΣΊΣΥΦΟΣ", "σίσυφοσ"),
        ("ＡＢＣ ﬁ", "abc fi"),
        ("हिन्दी ガ が 한국어", "हिन्दी ガ が 한국어"),
        ("a\nb", "a b"),
        ("🇫🇷 French", "🇫🇷 french"),
    ],
)
def test_case_and_latin_accents_do_not_matter(text: str, same: str) -> None:
    assert fold(text) == unicodedata.normalize("NFKC", same)


@given(st.text())
def test_folding_twice_changes_nothing_and_leaves_one_line(text: str) -> None:
    once = fold(text)
    assert fold(once) == once
    assert "\n" not in once


@given(st.text("ab_ -.é東ส\x1f\n"), st.text("ab_-.é東ส", min_size=1))
def test_a_word_is_found_wherever_a_word_begins(text: str, word: str) -> None:
    text, word = fold(text), fold(word)
    places = [place for place in range(len(text)) if text.startswith(word, place)]
    begins = [
        place == 0
        or not re.match(r"\w", text[place - 1])
        or any(letter in "東ส" for letter in text[place - 1 : place + 1])
        for place in places
    ]
    assert (searchable(word) in searchable(text)) == any(begins)


def test_search_columns() -> None:
    columns = search_columns(
        {
            "name": "Émilie\nB",
            "description": None,
            "language_label": "c++",
            "primary_language": "fr-FR",
            "provider": "",
        }
    )
    assert columns == {
        "sort_name": "emilie b",
        "search_text": "|emilie |b\n|\n|c+|+|\n|fr-|fr\n|".replace("|", WORD_START),
    }
