"""Text without case and accents, for search and order: stored by a sync, and compared with a search."""

import contextlib
import re
import unicodedata
from collections.abc import Mapping
from functools import lru_cache

SEARCHED_COLUMNS = ("name", "description", "language_label", "primary_language", "provider")
WORD_START = "\x1f"  # a control character that separates units of text
LIKE_LETTERS = {"ı": "i", "æ": "ae", "œ": "oe", "þ": "th"}
# For text after NFKC: Latin letters beyond ASCII, and letters with combining accents.
LATIN = re.compile(
    "[\u00c0-\u02af\u1d00-\u1dbf\u1e00-\u1eff\u2c60-\u2c7f\ua722-\ua7ff\uab30-\uab6f]"
)
ACCENTED = re.compile("([^\u0300-\u036f])[\u0300-\u036f]+")
# Thai to Tibetan, Myanmar, Khmer, Tai and Javanese scripts, Chinese and Japanese characters.
WITHOUT_SPACES = (
    "\u0e00-\u0fff\u1000-\u109f\u1780-\u17ff\u1950-\u19ff\u1a20-\u1aaf\u1b00-\u1b7f\u2e80-\u2fdf"
    "\u3005-\u3007\u3040-\u312f\u31a0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\ua980-\ua9ff\uaa60-\uaadf"
    "\uf900-\ufaff\U0001b000-\U0001b16f\U00020000-\U0003ffff"
)
STARTS = re.compile(rf"^|(?<=\W)|(?=[{WITHOUT_SPACES}])|(?<=[{WITHOUT_SPACES}])")


def fold(text: str) -> str:
    """Return the text in lower case and on one line, its Latin letters without accents."""
    if text.isascii():
        text = text.lower()
    else:
        text = unicodedata.normalize("NFKC", text).casefold()
        text = LATIN.sub(lambda letter: _base(letter[0]), ACCENTED.sub(_without_accents, text))
        text = unicodedata.normalize("NFKC", text)
    return text.replace("\n", " ")


def _without_accents(accented: re.Match[str]) -> str:
    letter = accented[1]
    is_latin = letter.isascii() or LATIN.match(letter)
    return letter if is_latin else accented[0]


@lru_cache(maxsize=2000)
def _base(letter: str) -> str:
    """Return a Latin letter without its accents, strokes and hooks, and any other unchanged.

    Unicode's names contain the base letter: LATIN SMALL LETTER O WITH STROKE.
    """
    name, _, addition = unicodedata.name(letter, "").partition(" WITH ")
    if name.startswith("LATIN") and addition:
        with contextlib.suppress(KeyError):
            letter = unicodedata.lookup(name).casefold()
    return LIKE_LETTERS.get(letter, letter)


@lru_cache(maxsize=1000)  # many voices share a language or a provider
def searchable(text: str) -> str:
    """Return the folded text with WORD_START wherever a search may begin to match.

    That is where a word begins, and around each character of a script without spaces.
    """
    return STARTS.sub(WORD_START, fold(text))


def search_columns(voice: Mapping[str, str | None]) -> dict[str, str]:
    """Return a voice's `sort_name`, and its `search_text` with a line for each of SEARCHED_COLUMNS."""
    lines = [searchable(voice[column] or "") for column in SEARCHED_COLUMNS]
    return {"sort_name": fold(voice["name"] or ""), "search_text": "\n".join(lines)}
