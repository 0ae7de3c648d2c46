"""Textbook Django: requests, `r.json()`, model instances, one `bulk_create(update_conflicts=True)`."""

import os
from collections.abc import Iterator

import django
import requests
from django.db import connection
from django.utils import timezone

from benchmarks.floor import API_KEY, COLUMNS, PAGES, Record, Sync, text_columns


def prepare() -> Sync:
    """Return the sync, on an open connection."""
    django.setup()
    connection.ensure_connection()
    return _sync


def _sync() -> None:
    from voices.models import Voice

    now = timezone.now()
    Voice.objects.bulk_create(
        [
            Voice(**text_columns(record), definition=record["definition"], last_synced_at=now)
            for record in _fetch(os.environ["ULTRAVOX_API_URL"] + PAGES)
        ],
        update_conflicts=True,
        unique_fields=["id"],
        update_fields=COLUMNS[1:],
    )


def _fetch(url: str | None) -> Iterator[Record]:
    with requests.Session() as session:
        session.headers["X-API-Key"] = API_KEY
        while url:
            response = session.get(url, timeout=10)
            response.raise_for_status()
            page = response.json()
            yield from page["results"]
            url = page["next"]
