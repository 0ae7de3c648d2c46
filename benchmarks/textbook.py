"""Textbook Django: requests, `r.json()`, instances, one `bulk_create(update_conflicts=True)`."""

import os
from collections.abc import Callable
from typing import Any

import django
import requests
from django.db import connection
from django.utils import timezone

from benchmarks.floor import API_KEY, COLUMNS, FIELDS, readable


def prepare() -> Callable[[], object]:
    """Return the sync, on a connection that is open."""
    django.setup()
    connection.ensure_connection()
    return sync


def fetch(url: str | None) -> list[dict[str, Any]]:
    records: list[dict[str, Any]] = []
    with requests.Session() as session:
        session.headers["X-API-Key"] = API_KEY
        while url:
            response = session.get(url, timeout=10)
            response.raise_for_status()
            page = response.json()
            records += page["results"]
            url = page["next"]
    return records


def sync() -> None:
    from voices.models import Voice

    records = fetch(f"{os.environ['ULTRAVOX_API_URL']}/api/voices?pageSize=100&limit=100")
    now = timezone.now()
    Voice.objects.bulk_create(
        [
            Voice(
                **{column: record.get(field) for column, field in FIELDS.items()},
                **dict(zip(("sort_name", "search_text"), readable(record), strict=True)),
                definition=record.get("definition"),
                last_synced_at=now,
            )
            for record in records
        ],
        update_conflicts=True,
        unique_fields=["id"],
        update_fields=COLUMNS[1:],
    )
