"""A Supabase project's database of a test's own, and sites on it."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from tests.support.adopting import SECRET, Supabase
from tests.support.project import ROOT, Project
from tests.ultravox import API_KEY, Ultravox

SUPABASE_SQL = (ROOT / "tests/support/supabase/database.sql").read_text()


@pytest.fixture(scope="session")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Supabase:
    """What databases of tests are copied from."""
    plain = Supabase.create(tmp_path_factory.mktemp("plain"))
    plain.script(SUPABASE_SQL)
    plain.rows("INSERT INTO vault.secrets VALUES ('first', %s), ('second', 'key-two')", API_KEY)
    return plain


@pytest.fixture(scope="session")
def moved_in(plain: Supabase, tmp_path_factory: pytest.TempPathFactory) -> Supabase:
    """The same for tests with a site, whose tables are in a schema of their own."""
    folder = tmp_path_factory.mktemp("moved_in")
    moved_in = Supabase.create(folder, plain)
    done = Project(moved_in, folder, DATABASE_SCHEMA="voices").manage("migrate", "-v", "0")
    assert done.returncode == 0, done.stderr
    return moved_in


@pytest.fixture
def supabase(request: pytest.FixtureRequest, tmp_path: Path) -> Supabase:
    template = "moved_in" if "site" in request.fixturenames else "plain"
    return Supabase.create(tmp_path, request.getfixturevalue(template))


@pytest.fixture
def database(supabase: Supabase) -> Supabase:
    return supabase


@pytest.fixture
def make(project: Callable[..., Project], ultravox: Ultravox) -> Callable[..., Project]:
    """Make projects on that database; arguments are environment variables."""
    return partial(project, ULTRAVOX_API_URL=ultravox.url, SUPABASE_JWT_SECRET=SECRET)


@pytest.fixture
def site(make: Callable[..., Project]) -> Project:
    return make(DATABASE_SCHEMA="voices")
