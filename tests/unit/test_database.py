"""Advice on database errors."""

import django.db
import pytest

from voiceproject.database import advice_on, is_transient, save_failed


def error(
    text: str = "", *, sqlstate: str = "", sqlite: str = "", operational: bool = False
) -> django.db.Error:
    """Return an error as Django raises it: its cause is the driver's error."""
    cause = Exception()
    if sqlstate:
        cause.sqlstate = sqlstate  # type: ignore[attr-defined]
    if sqlite:
        cause.sqlite_errorname = sqlite  # type: ignore[attr-defined]
    kind = django.db.OperationalError if operational else django.db.DatabaseError
    raised = kind(text)
    raised.__cause__ = cause
    return raised


@pytest.mark.parametrize(
    ("failure", "advice"),
    [
        (error(sqlstate="42P01"), "Run `manage.py migrate`"),
        (error("no such table: agencies", sqlite="SQLITE_ERROR"), "Run `manage.py migrate`"),
        (error('database "x" does not exist', sqlstate="3D000"), "Create it"),
        (error("password authentication failed for user"), "rejects the user or password"),
        (error("unsupported startup parameter: options"), "DATABASE_SCHEMA"),
        (error(sqlstate="42501"), "Grant write access"),
        (error(sqlite="SQLITE_READONLY"), "Grant write access"),
        (error(sqlite="SQLITE_NOTADB"), "not a SQLite database"),
        (error(sqlite="SQLITE_CANTOPEN"), "can't be reached"),
        (error("connection refused", operational=True), "can't be reached"),
    ],
)
def test_advice(failure: django.db.Error, advice: str) -> None:
    assert advice in str(advice_on(failure))
    assert advice in save_failed(failure).message


@pytest.mark.parametrize("failure", [error("disk full", sqlstate="53100"), error("any")])
def test_errors_without_advice_are_not_quoted(failure: django.db.Error) -> None:
    assert advice_on(failure) is None
    assert "Try again later." in save_failed(failure).message
    assert str(failure) not in save_failed(failure).message


@pytest.mark.parametrize(
    ("failure", "transient"),
    [
        (error(sqlstate="40P01"), True),
        (error(sqlstate="40001"), True),
        (error(sqlite="SQLITE_BUSY_SNAPSHOT"), True),
        (error(sqlstate="53100"), False),
        (error(), False),
    ],
)
def test_transient_errors(failure: django.db.Error, transient: bool) -> None:
    assert is_transient(failure) is transient
