"""Rows for projects in processes of their own, without a process for each."""

import uuid
from datetime import UTC, datetime

from agencies.fields import fernet
from tests.support.project import Project
from tests.ultravox import API_KEY


def add_agency(project: Project, *, name: str = "Agency", key: str = API_KEY) -> str:
    """Insert an agency with a key, or with none, and return its id."""
    agency, now = uuid.uuid4(), datetime.now(UTC)
    stored = fernet().encrypt(key.encode()).decode() if key else ""
    in_postgresql = project.database.is_postgresql
    values = (
        str(agency) if in_postgresql else agency.hex,
        name,
        stored,
        *[str(now if in_postgresql else now.replace(tzinfo=None))] * 2,
    )
    project.database.rows(
        "INSERT INTO agencies (id, name, ultravox_api_key, created_at, updated_at) VALUES"
        f" ({', '.join(repr(value) for value in values)})"
    )
    return str(agency)
