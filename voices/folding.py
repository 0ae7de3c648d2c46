"""Text without regard to case and accents: one function, for what is stored and for what is asked."""

import contextlib
import re
import unicodedata
from functools import lru_cache

SORTED = ("primary_language", "provider")  # the lines of a search text after the name
SORT_LENGTH = 100  # characters; an index takes no more than some 2,700 bytes
LIKE_LETTERS = {"ı": "i", "æ": "ae", "œ": "oe", "þ": "th"}
# Latin letters beyond ASCII that NFKC leaves; accents that stay characters of their own behind a letter.
LATIN = re.compile(
    "[\u00c0-\u02af\u1d00-\u1dbf\u1e00-\u1eff\u2c60-\u2c7f\ua722-\ua7ff\uab30-\uab6f]"
)
ACCENTED = re.compile("([^\u0300-\u036f])[\u0300-\u036f]+")


def fold(text: str) -> str:
    """Return the text in lower case, and its Latin letters without accents; in one line."""
    if text.isascii():
        text = text.lower()
    else:
        text = unicodedata.normalize("NFKC", text).casefold()
        text = LATIN.sub(_plain, ACCENTED.sub(_without_accents, text))
        text = unicodedata.normalize("NFKC", text)
    return text.replace("\n", " ")


def _without_accents(accented: re.Match[str]) -> str:
    letter = accented[1]
    is_latin = letter.isascii() or LATIN.match(letter)
    return letter if is_latin else accented[0]


def _plain(letter: re.Match[str]) -> str:
    return _base(letter[0])


@lru_cache(maxsize=2000)
def _base(letter: str) -> str:
    """Return a Latin letter without its accents, strokes and hooks, any other as it is.

    Unicode's names say which that is: LATIN SMALL LETTER O WITH STROKE.
    """
    name = unicodedata.name(letter, "").partition(" WITH ")[0]
    with contextlib.suppress(KeyError):
        if name.startswith("LATIN"):
            letter = unicodedata.lookup(name).casefold()
    return LIKE_LETTERS.get(letter, letter)


def search_columns(
    *,
    name: str,
    description: str | None,
    language_label: str | None,
    primary_language: str | None,
    provider: str | None,
) -> dict[str, str]:
    texts = (name, primary_language, provider, language_label, description)
    return {"sort_name": fold(name), "search_text": "\n".join(fold(text or "") for text in texts)}
