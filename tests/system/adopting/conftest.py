"""A Supabase project's database for each test, and projects that use it."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from tests.support.adopting import JWT_SECRET, SUPABASE_SQL, Supabase
from tests.support.project import Project
from tests.ultravox import API_KEY, Ultravox


@pytest.fixture(scope="session")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Supabase:
    """The template of databases without this service's tables."""
    plain = Supabase.create(tmp_path_factory.mktemp("plain"))
    plain.script(SUPABASE_SQL)
    plain.rows("INSERT INTO vault.secrets VALUES ('first', %s), ('second', 'key-two')", API_KEY)
    return plain


@pytest.fixture(scope="session")
def with_schema(plain: Supabase, tmp_path_factory: pytest.TempPathFactory) -> Supabase:
    """The template of databases with this service's tables in a schema of their own."""
    folder = tmp_path_factory.mktemp("with_schema")
    with_schema = Supabase.create(folder, plain)
    done = Project(with_schema, folder, DATABASE_SCHEMA="voices").manage("migrate", "-v", "0")
    assert done.returncode == 0, done.stderr
    return with_schema


@pytest.fixture
def supabase(request: pytest.FixtureRequest, tmp_path: Path) -> Supabase:
    template = "with_schema" if "site" in request.fixturenames else "plain"
    return Supabase.create(tmp_path, request.getfixturevalue(template))


@pytest.fixture
def database(supabase: Supabase) -> Supabase:
    return supabase


@pytest.fixture
def make(project: Callable[..., Project], ultravox: Ultravox) -> Callable[..., Project]:
    """Return a function that creates projects on the database, with environment variables."""
    return partial(project, ULTRAVOX_API_URL=ultravox.url, SUPABASE_JWT_SECRET=JWT_SECRET)


@pytest.fixture
def site(make: Callable[..., Project]) -> Project:
    return make(DATABASE_SCHEMA="voices")
