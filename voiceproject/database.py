"""Explain database errors, limit waiting, and renew broken connections.

No text here contains rows or passwords; the driver's own messages may.
"""

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager

import django.db
from django.db import connection, transaction

from voiceproject.errors import SaveFailed

LOGIN_REJECTED = 'authentication failed|no password supplied|role "[^"]*" does not exist'
# PostgreSQL: serialization_failure, deadlock_detected. Source: its manual, appendix A.
TRANSIENT = ("40001", "40P01", "SQLITE_BUSY", "SQLITE_LOCKED")

# Source: PostgreSQL's manual, chapter 20.
TRANSACTION_LIMITS = """
    SET LOCAL lock_timeout = '{lock_timeout}ms';
    SET LOCAL client_connection_check_interval = '2s';
    SET LOCAL idle_in_transaction_session_timeout = '15s';
    SET LOCAL tcp_keepalives_idle = 10;
    SET LOCAL tcp_keepalives_interval = 5;
    SET LOCAL tcp_keepalives_count = 2;
"""
WRITE_LOCK = 7_305_437_168_213_591_204  # any number that no other program in this database uses


def save_failed(error: django.db.Error) -> SaveFailed:
    """Return the error for callers, with advice on the database if there is any."""
    advice = advice_on(error)
    return SaveFailed(advice and f"The database couldn't save the voices. {advice}")


def describe(error: django.db.Error) -> str:
    """Return the error's name, its code, and the advice on it, for the log."""
    return " ".join(filter(None, (type(error).__name__, code_of(error), advice_on(error))))


def explain(error: django.db.Error) -> str:
    """Return the advice on the error, or its name and code if there is no advice, for an operator."""
    return advice_on(error) or f"The database failed: {describe(error)}"


def advice_on(error: django.db.Error) -> str | None:
    """Return how to fix the database or DATABASE_URL, or None if neither is the cause."""
    text, code = str(error), code_of(error)
    if code in ("42P01", "42703", "3F000") or re.match("no such (table|column)", text):
        return "The database is not migrated. Run `manage.py migrate`."
    if "unsupported startup parameter" in text:
        return (
            "The connection pooler does not accept DATABASE_SCHEMA. Unset it, and set the role's"
            " search_path to the schema instead (docs/adopting.md)."
        )
    if re.search('database "[^"]*" does not exist', text):
        return "The database in DATABASE_URL does not exist. Create it."
    if code in ("", "28000", "28P01") and re.search(LOGIN_REJECTED, text):
        return "The database rejects the user or password in DATABASE_URL. Check both."
    if code in ("42501", "SQLITE_READONLY"):
        return "The user in DATABASE_URL may not write to the database. Grant write access."
    if code == "SQLITE_NOTADB":
        return "The file in DATABASE_URL is not a SQLite database. Correct the path."
    if code == "SQLITE_CANTOPEN" or (isinstance(error, django.db.OperationalError) and not code):
        return (
            "The database can't be reached. Check DATABASE_URL, and that the database is running."
        )
    return None


def code_of(error: django.db.Error) -> str:
    """Return PostgreSQL's SQLSTATE (five characters) or SQLite's error name; "" if none."""
    cause = error.__cause__
    return getattr(cause, "sqlstate", None) or getattr(cause, "sqlite_errorname", None) or ""


def is_transient(error: django.db.Error) -> bool:
    """Return whether the same transaction may succeed if it runs again."""
    return code_of(error).startswith(TRANSIENT)


@contextmanager
def sqlite_busy_timeout(seconds: float) -> Iterator[None]:
    """Limit how long SQLite waits for another writer in this block; no effect on PostgreSQL."""
    if connection.vendor != "sqlite":
        yield
        return
    with connection.cursor() as cursor:
        previous = cursor.execute("PRAGMA busy_timeout").fetchone()[0]  # milliseconds
        cursor.execute(f"PRAGMA busy_timeout = {int(seconds * 1000)}")
        try:
            yield
        finally:
            cursor.execute(f"PRAGMA busy_timeout = {previous}")


@contextmanager
def statement_timeout(seconds: float) -> Iterator[None]:
    """Limit the time of each statement in this block, including waits for locks."""
    if connection.vendor != "postgresql":
        with sqlite_busy_timeout(seconds):
            yield
        return
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute(f"SET LOCAL statement_timeout = {int(seconds * 1000)}")  # milliseconds
        yield


def limit_waiting(deadline: float) -> None:
    """Limit how long this transaction waits for locks, and how long others wait for it; PostgreSQL only.

    `deadline` is on the monotonic clock. If this process or its machine dies, PostgreSQL notices within
    seconds instead of hours, and releases the locks. On SQLite, the connection's timeout applies.
    """
    if connection.vendor == "postgresql":
        milliseconds = max(1000, int((deadline - time.monotonic()) * 1000))
        with connection.cursor() as cursor:
            cursor.execute(TRANSACTION_LIMITS.format(lock_timeout=milliseconds))


def serialize_transactions() -> None:
    """Let one transaction at a time pass this call. SQLite does so for all writes."""
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute(f"SELECT pg_advisory_xact_lock({WRITE_LOCK})")


def renew_connection() -> None:
    """Close the connection if it broke, for example while waiting for Ultravox. Django reopens it."""
    if not connection.in_atomic_block and not connection.is_usable():
        connection.close()
