"""What a database error means, in words that quote neither rows nor passwords."""

import re

import django.db

from voiceproject.errors import ERRORS, SaveFailed

REFUSED = 'authentication failed|no password supplied|role "[^"]*" does not exist'


def save_failed(error: django.db.Error) -> SaveFailed:
    """Return what a caller is told of it: to try again, or what is wrong with the database."""
    words = ERRORS[SaveFailed.code].message
    return SaveFailed(words.replace("Try again later.", advice(error) or "Try again later."))


def describe(error: django.db.Error) -> str:
    """Name a database error, and what to do about it, without its details, which quote rows."""
    return " ".join(filter(None, (type(error).__name__, state(error), advice(error))))


def in_words(error: django.db.Error) -> str:
    """Say what to do about it, or else what it is."""
    return advice(error) or f"The database failed: {describe(error)}"


def advice(error: django.db.Error) -> str | None:
    """Say what is wrong with the database itself, if that is the matter, without quoting it."""
    text, code = str(error), state(error)
    if code in ("42P01", "42703", "3F000") or re.match("no such (table|column)", text):
        return "The database is not migrated: run `manage.py migrate`."
    if "unsupported startup parameter" in text:
        return (
            "The pooler takes no DATABASE_SCHEMA: leave it out, and let the role's search_path name the"
            " schema (docs/adopting.md)."
        )
    if re.search('database "[^"]*" does not exist', text):
        return "The database that DATABASE_URL names does not exist: create it."
    if code in ("", "28000", "28P01") and re.search(REFUSED, text):
        return "The database refuses the login of DATABASE_URL: correct it."
    if code in ("42501", "SQLITE_READONLY"):
        return "The database may not be written to by the user of DATABASE_URL: let it."
    if code == "SQLITE_NOTADB":
        return "The file that DATABASE_URL names is no database: correct it."
    if code == "SQLITE_CANTOPEN" or (isinstance(error, django.db.OperationalError) and not code):
        return "The database cannot be reached: check DATABASE_URL, and whether it runs."
    return None


def state(error: django.db.Error) -> str:
    """Return PostgreSQL's five characters or SQLite's name for what went wrong."""
    cause = error.__cause__
    return getattr(cause, "sqlstate", None) or getattr(cause, "sqlite_errorname", None) or ""
