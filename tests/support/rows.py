"""Rows for tests of reading, and the credentials to read them."""

from datetime import UTC, datetime, timedelta
from typing import Any

from rest_framework_simplejwt.tokens import AccessToken

from agencies.models import Agency, User
from voices.folding import SEARCHED_COLUMNS, search_columns
from voices.models import AgencyVoice, SyncRun, Voice

NOW = datetime(2026, 11, 25, 12, 0, 0, 123456, tzinfo=UTC)


def insert_voice(voice_id: str, name: str = "", **fields: Any) -> Voice:
    """Insert a voice as another program does, without the columns for search and order."""
    fields = {"ownership": "public", "last_synced_at": NOW} | fields
    return Voice.objects.create(id=voice_id, name=name or voice_id, **fields)


def add_voice(voice_id: str, name: str = "", **fields: Any) -> Voice:
    """Add a voice as a sync does."""
    texts = {"name": name or voice_id} | fields
    columns = search_columns({column: texts.get(column) for column in SEARCHED_COLUMNS})
    return insert_voice(voice_id, name, **fields, **columns)


def add_private_voice(voice_id: str, agency: Agency | None, **fields: Any) -> Voice:
    """Add a voice that is not public, and that a sync with the agency's key saw at NOW."""
    voice = add_voice(voice_id, **{"ownership": "private"} | fields)
    if agency:
        AgencyVoice.objects.create(agency=agency, voice=voice, last_seen_at=NOW)
    return voice


def add_run(agency: Agency | None, start: datetime = NOW, **fields: Any) -> SyncRun:
    """Add a run of one second, successful unless `fields` differ."""
    fields = {"trigger": "service", "status": "succeeded", "heartbeat_at": start} | fields
    fields = {"finished_at": start + timedelta(seconds=1)} | fields
    return SyncRun.objects.create(agency=agency, started_at=start, **fields)


def bearer(user: User) -> dict[str, str]:
    return {"authorization": f"Bearer {AccessToken.for_user(user)}"}
