"""Text without regard to case and accents: one function, for what is stored and for what is asked."""

import contextlib
import re
import unicodedata
from functools import lru_cache

SORTED = ("primary_language", "provider")  # the lines of a search text after the name
SORT_LENGTH = 100  # characters; an index takes no more than some 2,700 bytes
LIKE_LETTERS = {"ı": "i", "æ": "ae", "œ": "oe", "þ": "th"}

ACCENTED = re.compile(
    "([^\u0300-\u036f])[\u0300-\u036f]+"
)  # by accents that stay characters of their own


class _Letters(dict[int, str]):
    """What becomes of each character; made when it is first met."""

    def __missing__(self, code: int) -> str:
        letter = "".join(map(_base, _base(chr(code)).casefold()))
        self[code] = LIKE_LETTERS.get(letter, letter)
        return self[code]


def _base(letter: str) -> str:
    """Return a Latin letter without its accents, strokes and hooks, any other as it is.

    Unicode's names say which that is: LATIN SMALL LETTER O WITH STROKE.
    """
    with contextlib.suppress(KeyError):
        if _is_latin(letter):
            return unicodedata.lookup(unicodedata.name(letter).partition(" WITH ")[0])
    return letter


def _is_latin(letter: str) -> bool:
    return unicodedata.name(letter, "").startswith("LATIN")


def _without_accents(accented: re.Match[str]) -> str:
    return accented[1] if _is_latin(accented[1]) else accented[0]


_letters = _Letters()


def fold(text: str) -> str:
    """Return the text in lower case, and its Latin letters without accents; in one line."""
    if text.isascii():
        text = text.lower()
    else:
        text = ACCENTED.sub(_without_accents, unicodedata.normalize("NFKC", text))
        text = unicodedata.normalize("NFKC", text.translate(_letters))
    return text.replace("\n", " ")


_fold_often = lru_cache(maxsize=1000)(fold)  # what many voices share


def folded(
    voice_id: str, name: str, description: str | None, language_label: str | None,
    primary_language: str | None, provider: str | None,
) -> tuple[str, str]:  # fmt: skip
    """Return a voice's `sort_name` and `search_text`, for `voices/queries.py` to order by and to search.

    The search text has a line for each text: first the name, then SORTED; last
    the id, which is found as a whole.
    """
    first = fold(name)
    shared = (_fold_often(text or "") for text in (primary_language, provider, language_label))
    lines = (first, *shared, fold(description or ""), fold(voice_id))
    return first[:SORT_LENGTH], "\n".join(lines)
