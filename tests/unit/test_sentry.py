"""What of an event may go to Sentry; tests/system/test_secrets.py looks at what does."""

from typing import Any

from voiceproject.logging import sentry

ROW = "Key (email)=(ada@example.com) already exists."


def test_an_event_is_made_of_what_holds_no_secrets() -> None:
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
    sent: Any = sentry._without_secrets(event, {})
    assert "secret" not in str(sent)
    assert "ada@example.com" not in str(sent)
    assert sent["request"] == {"method": "GET", "url": "http://x/api/voices/"}
    assert sent["logentry"] == {"formatted": "Failed: it"}
    assert [error["value"] for error in sent["exception"]["values"]] == ["", "", "'name'"]
    assert sent["exception"]["values"][2]["stacktrace"] == [frame]


def test_answers_such_as_502_are_no_unexpected_errors() -> None:
    event: Any = {"logger": "django.request", "logentry": {"message": "Bad Gateway: /x"}}
    assert sentry._without_secrets(event, {}) is None
    assert sentry._without_secrets(event | {"exception": {"values": []}}, {}) is not None
