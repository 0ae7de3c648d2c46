"""Every command of docs/adopting.md, in the database of a Supabase project."""

import re
import shlex
import subprocess
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import jwt
import psycopg
import pytest
import requests

from tests.support.jwks import claims
from tests.support.project import ROOT, Database, Project, free_port, on_postgresql, wait_for
from tests.support.tools import find, shell
from tests.ultravox import API_KEY, Ultravox

pytestmark = on_postgresql

GUIDE = (ROOT / "docs/adopting.md").read_text()
ANNA = "00000000-0000-4000-8000-000000000001"
JWT_SECRET = "the secret of Supabase's tokens, 0123456789"
BEARER = {"Authorization": f"Bearer {jwt.encode(claims(ANNA), JWT_SECRET, 'HS256')}"}
SECRETS = (API_KEY, "key-two", "secret-hash", "example.com", "agency's", "First", "secret-url")
DENIED = psycopg.errors.InsufficientPrivilege
READ_ONLY = (psycopg.errors.UndefinedColumn, psycopg.errors.ObjectNotInPrerequisiteState)


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Database:
    """A Supabase project's database, with this service's tables in a schema of their own."""
    folder = tmp_path_factory.mktemp("template")
    template = Database.create(folder)
    template.script((ROOT / "tests/support/supabase/database.sql").read_text())
    template.rows("INSERT INTO vault.secrets VALUES ('first', %s), ('second', 'key-two')", API_KEY)
    done = Project(template, folder, DATABASE_SCHEMA="voices").manage("migrate", "-v", "0")
    assert done.returncode == 0, done.stderr
    return template


@pytest.fixture
def database(template: Database, tmp_path: Path) -> Database:
    return Database.create(tmp_path, template)


@pytest.fixture
def make(project: Callable[..., Project], ultravox: Ultravox) -> Callable[..., Project]:
    """Return a function that creates projects on the database, with environment variables."""
    return partial(project, ULTRAVOX_API_URL=ultravox.url, SUPABASE_JWT_SECRET=JWT_SECRET)


@pytest.fixture
def site(make: Callable[..., Project]) -> Project:
    return make(DATABASE_SCHEMA="voices")


def adopt(site: Project, *options: str) -> str:
    """Run the guide's command with further options, and return its output."""
    [command] = re.findall(r"^    python manage\.py (adopt_supabase (?:.*\\\n)+.*)", GUIDE, re.M)
    done = site.manage(*shlex.split(command.replace("\\\n", "")), *options)
    assert done.returncode == 0, done.stderr
    assert not [secret for secret in SECRETS if secret in done.stdout + done.stderr]
    return done.stdout


def query_api(database: Database, query: str, role: str = "anon") -> list[tuple[Any, ...]]:
    """Run a query with the privileges of Supabase's API."""
    with psycopg.connect(database.url) as connection:
        connection.execute(f"SET ROLE {role}")
        cursor = connection.execute(query)
        return cursor.fetchall() if cursor.description else []


def tables(database: Database) -> set[str]:
    """Return the names of all tables, except those in the schema `voices`."""
    query = "SELECT oid::regclass::text FROM pg_class WHERE relkind = 'r'"
    return {name for (name,) in database.rows(query) if not name.startswith("voices.")}


def test_migrate_changes_nothing_beside_tables_of_the_same_names(
    database: Database, make: Callable[..., Project]
) -> None:
    before = tables(database)
    done = make().manage("migrate", "--fake-initial")
    assert done.returncode == 1
    assert "agencies, ultravox_voices" in done.stderr
    assert "DATABASE_SCHEMA" in done.stderr
    assert tables(database) == before


def test_installation_in_public_is_closed_or_moved(
    database: Database, make: Callable[..., Project]
) -> None:
    database.script("DROP SCHEMA voices CASCADE")
    database.script("DROP TABLE public.agencies, public.ultravox_voices CASCADE")
    before = tables(database)
    done = make().manage("migrate")
    assert done.returncode == 1
    assert tables(database) == before
    [revoke] = re.findall(r"ALTER DEFAULT .*;", done.stderr)
    database.script(revoke)
    done = make().manage("migrate")
    assert done.returncode == 0, done.stderr
    [move] = re.findall(r"^    (CREATE SCHEMA .*?^    END \$\$;)$", GUIDE, re.M | re.S)
    database.script(move)
    done = make(DATABASE_SCHEMA="voices").manage("migrate")
    assert "No migrations to apply" in done.stdout, done.stderr
    assert tables(database) == before


def test_guide_copies_agencies_users_and_voices(database: Database, site: Project) -> None:
    lines = adopt(site).splitlines()
    for line in (
        "Would add agencies: 3; existing: 0",
        "Would add users: 2; existing: 0",
        "Would add voices: 2; existing: 0",
        "Note: agencies without a key: 1",
        "Note: users skipped because they have no email address: 1",
        "Note: users skipped because another user has their email address: 1",
        "Note: users added without an agency: 1",
        "Nothing was changed. To make these changes, add --apply.",
    ):
        assert line in lines
    everything = "SELECT a.*, u.* FROM voices.agencies a, voices.users u ORDER BY a.id, u.id"
    assert database.rows(everything) == []
    assert "Added agencies: 3; existing: 0" in adopt(site, "--apply")
    assert API_KEY not in str(database.rows(everything))
    with pytest.raises(DENIED):
        query_api(database, "SELECT * FROM voices.users", "authenticated")
    # A second run changes no row
    database.rows("UPDATE voices.agencies SET ultravox_api_key = '', updated_at = now()")
    database.rows("UPDATE voices.users SET is_active = false, agency_id = NULL")
    before = database.rows(everything)
    assert "Added agencies: 0; existing: 3" in adopt(site, "--apply")
    assert database.rows(everything) == before


def test_view_replaces_the_table(database: Database, site: Project) -> None:
    database.rows("CREATE TABLE agents (voice text REFERENCES public.ultravox_voices)")
    assert "which no sync updates: public.agents." in adopt(site, "--apply", "--view")
    query = "SELECT id, name FROM public.ultravox_voices"
    for role in ("anon", "authenticated"):
        assert query_api(database, query, role) == [("open", "Open")]
    database.rows("REVOKE SELECT ON public.ultravox_voices FROM anon")
    assert "which no sync updates" not in adopt(site, "--apply", "--view")  # again
    assert database.value("SELECT count(*) FROM public.ultravox_voices_before") == 2
    for table in ("ultravox_voices", "ultravox_voices_before"):
        with pytest.raises(DENIED):
            query_api(database, f"SELECT id FROM public.{table}")
    database.rows("GRANT ALL ON public.ultravox_voices TO authenticated")
    for query in (
        "SELECT definition FROM public.ultravox_voices",
        "INSERT INTO public.ultravox_voices (id, name, last_synced_at) VALUES ('x', 'x', now())",
        "UPDATE public.ultravox_voices SET name = 'x'",
        "DELETE FROM public.ultravox_voices",
    ):
        with pytest.raises(READ_ONLY):
            query_api(database, query, "authenticated")


@pytest.fixture
def pooler(database: Database, tmp_path: Path) -> Iterator[str]:
    """Start PgBouncer in transaction mode, and yield the database's URL for the service's role."""
    program, port = find("pgbouncer"), free_port()
    server = psycopg.conninfo.conninfo_to_dict(database.url)
    file, log, users = (tmp_path / name for name in ("pgbouncer.ini", "pgbouncer.log", "users"))
    users.write_text('"voices_service" ""\n')
    file.write_text(
        f"[databases]\n* = host={server['host']} port={server.get('port', 5432)}\n"
        f"[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\n"
        f"pool_mode = transaction\nauth_type = trust\nauth_file = {users}\n"
    )
    with log.open("w") as output:
        command = [program, "-u", "postgres", str(file)]
        process = subprocess.Popen(command, stdout=output, stderr=output)
    try:
        wait_for(lambda: "process up" in log.read_text())
        yield f"postgres://voices_service@127.0.0.1:{port}/{server['dbname']}"
    finally:
        process.terminate()
        process.wait(10)


def test_service_role_through_a_pooler(
    database: Database, site: Project, make: Callable[..., Project], pooler: str
) -> None:
    adopt(site, "--apply")
    try:
        for statement in re.findall(r"^    ((?:CREATE ROLE|ALTER|GRANT) .*;)$", GUIDE, re.M):
            database.rows(statement)
        done = make(DATABASE_URL=pooler, DATABASE_SCHEMA="voices").manage("prune")
        assert "pooler does not accept DATABASE_SCHEMA" in done.stderr
        done = make(DATABASE_URL=pooler).manage("prune")
        assert done.returncode == 0, done.stderr
        url = make(DATABASE_URL=pooler).serve()
        for _ in range(2):
            # A Supabase token, and the key of the user's agency
            response = requests.post(f"{url}/functions/v1/voices-sync", headers=BEARER, timeout=30)
            assert response.json()["stats"] == {"synced": 300}
        response = requests.get(f"{url}/api/voices/?search=open", headers=BEARER, timeout=30)
        assert [voice["id"] for voice in response.json()["results"]] == ["open"]
    finally:
        database.script("DROP OWNED BY voices_service CASCADE; DROP ROLE voices_service;")


def test_backup_is_restored_to_the_same_and_to_an_empty_database(
    database: Database, site: Project, tmp_path: Path
) -> None:
    find("pg_dump", "postgresql-client")
    adopt(site, "--apply", "--view")
    dump, *restore = re.findall(r"^    ((?:pg_dump|psql|pg_restore) .*)$", GUIDE, re.M)
    users = "SELECT id, email FROM voices.users ORDER BY id"
    before = database.rows(users)
    shell(dump, tmp_path, DATABASE_URL=database.url)
    database.script("DELETE FROM voices.users; DELETE FROM public.profiles")
    for target in (database, Database.create(tmp_path)):
        for command in restore:
            shell(command, tmp_path, DATABASE_URL=target.url)
        assert target.rows(users) == before
    assert database.rows("SELECT * FROM public.profiles") == []
    site.manage("adopt_supabase", "--view", "--apply")
    assert query_api(database, "SELECT id FROM public.ultravox_voices") == [("open",)]
