"""`migrate` in a Supabase project, and the service behind a connection pooler."""

import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import jwt
import psycopg
import pytest
import requests

from tests.support.adopting import ANNA, DENIED, GUIDE, JWT_SECRET, Supabase, adopt
from tests.support.jwks import claims
from tests.support.project import Project, free_port, on_postgresql, wait_for
from tests.support.tools import find

pytestmark = on_postgresql


def test_migrate_changes_nothing_beside_tables_of_the_same_names(
    supabase: Supabase, make: Callable[..., Project]
) -> None:
    before = supabase.tables
    for command in (("migrate", "--fake-initial"), ("check", "--database", "default")):
        done = make().manage(*command)
        assert done.returncode == 1
        assert "agencies, ultravox_voices" in done.stderr
        assert "DATABASE_SCHEMA" in done.stderr
    make(DATABASE_SCHEMA="voices").manage("migrate", "--plan")
    assert supabase.value("SELECT to_regnamespace('voices')") is None
    assert supabase.tables == before


def test_schema_of_its_own_is_closed_to_the_api(supabase: Supabase, site: Project) -> None:
    for role in ("anon", "authenticated"):
        with pytest.raises(DENIED):
            supabase.query_api("SELECT * FROM voices.users", role)
    assert site.manage("check", "--database", "default").returncode == 0
    supabase.script(
        "GRANT USAGE ON SCHEMA voices TO anon; GRANT SELECT (password) ON voices.users TO anon"
    )
    for command in ("migrate", "doctor"):
        done = site.manage(command)
        assert done.returncode == 1
        [revoke] = re.findall(r"REVOKE .*;", done.stdout + done.stderr)
    supabase.script(revoke)
    assert site.manage("check", "--database", "default").returncode == 0


def test_installation_in_public_is_closed_or_moved(
    supabase: Supabase, make: Callable[..., Project]
) -> None:
    supabase.rows("DROP TABLE public.agencies, public.ultravox_voices CASCADE")
    before = supabase.tables
    done = make().manage("migrate")
    assert done.returncode == 1
    assert supabase.tables == before
    [revoke] = re.findall(r"ALTER DEFAULT .*;", done.stderr)
    supabase.script(revoke)
    done = make().manage("migrate")
    assert done.returncode == 0, done.stderr
    [move] = re.findall(r"^    (CREATE SCHEMA .*?^    END \$\$;)$", GUIDE, re.M | re.S)
    supabase.script(move)
    done = make(DATABASE_SCHEMA="voices").manage("migrate")
    assert "No migrations to apply" in done.stdout, done.stderr
    assert [table for table in supabase.tables if table[0] != "voices"] == before


# Through a pooler


@pytest.fixture
def pooler(supabase: Supabase, tmp_path: Path) -> Iterator[int]:
    """Start PgBouncer in transaction mode, and yield its port."""
    program = find("pgbouncer")
    port = free_port()
    server = psycopg.conninfo.conninfo_to_dict(supabase.url)
    host = f"host={server['host']} port={server.get('port', 5432)}"
    (tmp_path / "users").write_text('"voices_service" ""\n"postgres" ""\n')
    (tmp_path / "pgbouncer.ini").write_text(
        f"[databases]\n* = {host}\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\n"
        f"unix_socket_dir =\npool_mode = transaction\ndefault_pool_size = 2\nauth_type = trust\n"
        f"auth_file = {tmp_path}/users\n"
    )
    log = tmp_path / "pgbouncer.log"
    with log.open("w") as file:
        command = [program, "-u", "postgres", str(tmp_path / "pgbouncer.ini")]
        process = subprocess.Popen(command, stdout=file, stderr=file)
    try:
        wait_for(lambda: "process up" in log.read_text())
        yield port
    finally:
        process.terminate()
        process.wait(10)


def test_service_role_through_a_pooler(
    supabase: Supabase, site: Project, make: Callable[..., Project], pooler: int
) -> None:
    adopt(site, "--apply")
    sql = "\n".join(re.findall(r"^    ((?:CREATE ROLE|ALTER|GRANT) .*;)$", GUIDE, re.M))
    try:
        supabase.script(sql)
        name = supabase.url.rpartition("/")[2]
        url = f"postgres://voices_service@127.0.0.1:{pooler}/{name}"
        done = make(DATABASE_URL=url, DATABASE_SCHEMA="voices").manage("prune")
        assert "pooler does not accept DATABASE_SCHEMA" in done.stderr
        web = make(DATABASE_URL=url).serve()
        bearer = {"Authorization": f"Bearer {jwt.encode(claims(ANNA), JWT_SECRET, 'HS256')}"}
        for _ in range(3):
            response = requests.post(f"{web}/api/voices/sync/", headers=bearer, timeout=30)
            assert response.json()["stats"] == {"synced": 300}
            response = requests.get(f"{web}/api/voices/", headers=bearer, timeout=30)
            assert response.json()["count"] == 301
        done = make(DATABASE_URL=url).manage("prune")
        assert done.returncode == 0, done.stderr
    finally:
        supabase.script("DROP OWNED BY voices_service CASCADE; DROP ROLE voices_service;")
