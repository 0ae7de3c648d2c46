"""Checks of responses, and of rows as the database holds them."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.db import connection

from agencies.models import Agency
from tests.support.environment import CREDENTIALS_KEY, ENVIRONMENT, OTHER_SERVICE_KEY, SERVICE_KEY
from tests.ultravox import API_KEY

ADDRESSES = ("/functions/v1/voices-sync", "/api/voices/sync/")
BOTH_SPELLINGS = tuple(address.rstrip("/") + slash for address in ADDRESSES for slash in ("", "/"))
TOKEN, REFRESH = "/api/token/", "/api/token/refresh/"
INVALID_TOKEN = "invalid_token"
# In the body of Ultravox's errors in these tests; no response may contain it.
MARKER = "ultravox-said-this-in-confidence"
SECRETS = (
    API_KEY,
    MARKER,
    SERVICE_KEY,
    OTHER_SERVICE_KEY,
    CREDENTIALS_KEY,
    ENVIRONMENT["DJANGO_SECRET_KEY"],
)
INSIDES = (
    *("Traceback", 'File "', "Error", "Exception", "site-packages", "psycopg", "sqlite", "<"),
    *("SELECT", "INSERT", "UPDATE ", "ultravox_voices", "voice_sync_runs"),
)


def assert_error(response: Any, status: int, code: str, *secrets: str) -> None:
    """Check that a response of the test client, or of requests, is this error and no more."""
    text = response.content.decode()
    assert response.status_code == status, text
    assert response.headers["Content-Type"] == "application/json"
    body = json.loads(text)
    assert list(body) == ["success", "code", "message"], body
    assert (body["success"], body["code"]) == (False, code), body
    message = body["message"]
    assert isinstance(message, str), body
    assert message.strip(), body
    assert message.isprintable(), body
    for secret in (*SECRETS, *INSIDES, *secrets):
        assert secret not in text, secret
    if status == 401:
        assert response.headers["WWW-Authenticate"] == "Bearer"
    else:
        assert "WWW-Authenticate" not in response.headers
    if status == 405:
        assert "Allow" in response.headers
    if status == 429:
        assert int(response.headers["Retry-After"]) >= 1


def in_confidence(exchange: Any) -> None:
    """Return 400, which is never retried, with the marker in the body."""
    exchange.reply(400, {"detail": MARKER, "key": API_KEY})


def voice_rows() -> list[tuple[Any, ...]]:
    """Return all columns of all voices, as the database holds them."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT * FROM ultravox_voices ORDER BY id")
        return cursor.fetchall()


def stored_key(agency: Agency) -> str | None:
    """Return the agency's key as the column holds it."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT id, ultravox_api_key FROM agencies")
        return {str(row[0]).replace("-", ""): row[1] for row in cursor.fetchall()}[agency.pk.hex]


def store_raw_key(agency: Agency, value: str | None) -> None:
    """Write the column without encryption, as a broken backup would."""
    pk = agency.pk.hex if connection.vendor == "sqlite" else agency.pk
    with connection.cursor() as cursor:
        cursor.execute("UPDATE agencies SET ultravox_api_key = %s WHERE id = %s", [value, pk])
    agency.refresh_from_db()


@contextmanager
def without(*tables: str) -> Iterator[None]:
    """Rename these tables away for the block."""
    with connection.cursor() as cursor:
        for table in tables:
            cursor.execute(f"ALTER TABLE {table} RENAME TO {table}_away")
        try:
            yield
        finally:
            for table in tables:
                cursor.execute(f"ALTER TABLE {table}_away RENAME TO {table}")
