"""The fields of an event that are sent to Sentry. tests/system/test_secrets.py reads what arrives."""

from typing import Any

from voiceproject.logging.sentry import remove_secrets

ROW = "Key (email)=(ada@example.com) already exists."


def test_event_is_sent_without_secrets() -> None:
    frame = {"filename": "voices/sync.py", "lineno": 7}
    event: Any = {
        "level": "error",
        "logger": "voices",
        "logentry": {"message": "Failed: %s", "params": ["secret"], "formatted": "Failed: it"},
        "exception": {
            "values": [
                {"type": "UniqueViolation", "module": "psycopg.errors", "value": ROW},
                {"type": "IntegrityError", "module": "django.db.utils", "value": ROW},
                {"type": "KeyError", "module": None, "value": "'name'", "stacktrace": [frame]},
            ]
        },
        "request": {
            "method": "GET",
            "url": "http://x/api/voices/",
            "query_string": "signature=secret",
            "headers": {"apikey": "secret"},
            "cookies": "secret",
            "data": "secret",
            "env": "secret",
        },
        "user": {"email": "ada@example.com"},
        "extra": {"request": "<WSGIRequest: GET '/?signature=secret'>"},
        "breadcrumbs": {"values": ["secret"]},
        "contexts": {"trace": {"data": "secret"}},
    }
    sent: Any = remove_secrets(event, {})
    assert "secret" not in str(sent)
    assert "ada@example.com" not in str(sent)
    assert sent["request"] == {"method": "GET", "url": "http://x/api/voices/"}
    assert sent["logentry"] == {"formatted": "Failed: it"}
    assert [error["value"] for error in sent["exception"]["values"]] == ["", "", "'name'"]
    assert sent["exception"]["values"][2]["stacktrace"] == [frame]


def test_expected_error_responses_are_not_sent() -> None:
    event: Any = {"logger": "django.request", "logentry": {"message": "Bad Gateway: /x"}}
    assert remove_secrets(event, {}) is None
    assert remove_secrets(event | {"exception": {"values": []}}, {}) is not None
