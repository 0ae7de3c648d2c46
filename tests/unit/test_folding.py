"""What is the same to a search."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voices.folding import SORT_LENGTH, fold, folded


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


def test_lines() -> None:
    sort_name, text = folded("ID\n1", "N" * 300, None, "Français", "fr-FR", "LMNT")
    assert sort_name == "n" * SORT_LENGTH
    assert text.split("\n") == ["n" * 300, "fr-fr", "lmnt", "francais", "", "id 1"]
