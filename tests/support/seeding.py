"""Rows for projects in processes of their own, without a process for each."""

from typing import Any

from django.db import connection
from django.db.models import Model

from agencies.hashers import Argon2PasswordHasher
from agencies.models import Agency, User
from tests.support.environment import PASSWORD
from tests.support.project import Project
from tests.ultravox import API_KEY


def add_agency(project: Project, *, name: str = "Agency", key: str = API_KEY) -> str:
    """Insert an agency with a key, or with none, and return its id."""
    return _insert(project, Agency(name=name, ultravox_api_key=key))


def add_user(
    project: Project, agency: str | None, email: str = "user@example.com", **flags: Any
) -> User:
    """Insert a user of the agency."""
    hasher = Argon2PasswordHasher()
    password = hasher.encode(PASSWORD, hasher.salt())
    user = User(email=email, password=password, agency_id=agency, **flags)
    _insert(project, user)
    return user


def _insert(project: Project, row: Model) -> str:
    fields = row._meta.concrete_fields
    values = [field.get_db_prep_save(field.pre_save(row, True), connection) for field in fields]
    columns = ", ".join(field.column for field in fields)
    places = ", ".join(["%s" if project.database.is_postgresql else "?"] * len(fields))
    project.database.rows(
        f"INSERT INTO {row._meta.db_table} ({columns}) VALUES ({places})", *values
    )
    return str(row.pk)
