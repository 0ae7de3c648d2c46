"""Whose tables there are, and who reaches ours: migrate and its checks, directly and through a pooler."""

import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import jwt
import psycopg
import pytest
import requests

from tests.support.adopting import ANNA, DENIED, GUIDE, SECRET, Supabase, adopt
from tests.support.jwks import claims
from tests.support.project import Database, Project, free_port, on_postgresql, wait_for
from tests.support.tools import find

pytestmark = on_postgresql


def test_migrate_beside_tables_of_others_changes_nothing(
    supabase: Supabase, make: Callable[..., Project]
) -> None:
    before = supabase.tables
    for command in (
        ("migrate",),
        ("migrate", "--fake-initial"),
        ("check", "--database", "default"),
    ):
        done = make().manage(*command)
        assert done.returncode == 1
        assert "agencies, ultravox_voices" in done.stderr
        assert "DATABASE_SCHEMA" in done.stderr
    for option in ("--plan", "--check"):
        make(DATABASE_SCHEMA="voices").manage("migrate", option)
        assert supabase.value("SELECT to_regnamespace('voices')") is None
    assert supabase.tables == before


def test_migrate_beside_a_view_or_others_migrations(
    supabase: Supabase, make: Callable[..., Project]
) -> None:
    supabase.script(
        "DROP TABLE public.agencies, public.ultravox_voices CASCADE;"
        "CREATE VIEW public.ultravox_voices AS SELECT 1 AS id;"
        "CREATE TABLE public.django_migrations (id int, app text, name text, applied timestamptz);"
        "INSERT INTO public.django_migrations VALUES"
        " (1, 'auth', '0001_initial', now()), (2, 'shop', '0001_initial', now());"
        "CREATE TABLE public.auth_group (id int)"
    )
    before = supabase.tables
    done = make().manage("migrate")
    assert done.returncode == 1
    assert "not ours: auth_group, ultravox_voices." in done.stderr
    assert "DATABASE_SCHEMA" in done.stderr
    assert "Traceback" not in done.stderr
    assert supabase.tables == before


def test_migrate_goes_on_where_it_stopped(supabase: Supabase, make: Callable[..., Project]) -> None:
    site = make(DATABASE_SCHEMA="voices")
    for command in (("migrate", "auth", "0001"), ("check", "--database", "default")):
        done = site.manage(*command)
        assert done.returncode == 0, done.stderr


def test_a_schema_of_its_own_is_out_of_reach_and_what_was_opened_is_told(
    supabase: Supabase, site: Project
) -> None:
    for role in ("anon", "authenticated"):
        with pytest.raises(DENIED):
            supabase.ask("SELECT * FROM voices.users", role)
    assert site.manage("check", "--database", "default").returncode == 0
    supabase.script(
        "GRANT USAGE ON SCHEMA voices TO anon; GRANT SELECT (password) ON voices.users TO anon;"
        "GRANT UPDATE ON voices.agencies TO authenticated; GRANT USAGE ON SCHEMA voices TO authenticated"
    )
    for command in (("check", "--database", "default"), ("migrate",), ("doctor",)):
        done = site.manage(*command)
        assert done.returncode == 1
        said = done.stdout + done.stderr
        assert "agencies, users" in said
        [revoke] = set(re.findall(r"REVOKE .*;", said))
    supabase.script(revoke)  # in the schema public, as in Supabase's editor
    assert supabase.ask("SELECT count(*) FROM public.agencies") == [(0,)]  # theirs stays as it is
    assert site.manage("check", "--database", "default").returncode == 0


def test_an_installation_in_public_is_closed_before_and_after(
    supabase: Supabase, make: Callable[..., Project]
) -> None:
    supabase.rows("DROP TABLE public.agencies, public.ultravox_voices CASCADE")
    before = supabase.tables
    site = make()
    done = site.manage("migrate")
    assert done.returncode == 1
    assert "Default privileges open each new table" in done.stderr
    assert supabase.tables == before
    default = "ALTER DEFAULT PRIVILEGES IN SCHEMA public"
    supabase.script(
        f"{default} REVOKE ALL ON TABLES FROM anon, authenticated; {default} GRANT SELECT ON TABLES TO PUBLIC"
    )
    assert site.manage("migrate").returncode == 1
    assert supabase.tables == before
    supabase.rows(f"{default} REVOKE ALL ON TABLES FROM PUBLIC")
    done = site.manage("migrate")
    assert done.returncode == 0, done.stderr
    supabase.script(
        "GRANT SELECT ON public.users TO PUBLIC; ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO PUBLIC;"
        f"{default} GRANT ALL ON TABLES TO anon, authenticated"
    )
    done = make(DATABASE_SCHEMA="voices").manage("migrate")
    assert (done.returncode, "in the schema public already" in done.stderr) == (1, True)
    done = site.manage("migrate")
    assert done.returncode == 1
    printed = re.findall(r"(?:REVOKE|ALTER DEFAULT) .*;", done.stderr)
    assert len(printed) == 3
    supabase.script("".join(printed))
    assert site.manage("migrate").returncode == 0
    [move] = re.findall(r"^    (CREATE SCHEMA .*?^    END \$\$;)$", GUIDE, re.M | re.S)
    supabase.script(move)
    moved = make(DATABASE_SCHEMA="voices")
    assert moved.manage("migrate").returncode == 0
    # It has what it needs besides tables, too.
    assert moved.manage("migrate", "voices", "0005").returncode == 0
    done = make().manage("migrate")
    assert (done.returncode, "in the schema voices already" in done.stderr) == (1, True)
    left = [name for name in supabase.tables if not name.startswith("voices.")]
    assert left == before


# Through a pooler


@pytest.fixture
def pooler(supabase: Supabase, tmp_path: Path) -> Iterator[int]:
    """PgBouncer in transaction mode, before that database; yields its port."""
    program = find("pgbouncer")
    port = free_port()
    server = psycopg.conninfo.conninfo_to_dict(supabase.url)
    host = f"host={server['host']} port={server.get('port', 5432)}"
    (tmp_path / "users").write_text('"voices_service" ""\n"postgres" ""\n')
    (tmp_path / "pgbouncer.ini").write_text(
        f"[databases]\n* = {host}\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\n"
        f"unix_socket_dir =\npool_mode = transaction\ndefault_pool_size = 2\nauth_type = trust\n"
        f"auth_file = {tmp_path}/users\nadmin_users = postgres\n"
    )
    with (tmp_path / "pgbouncer.log").open("w") as log:
        command = [program, "-u", "postgres", str(tmp_path / "pgbouncer.ini")]
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        wait_for(lambda: "process up" in (tmp_path / "pgbouncer.log").read_text())
        yield port
    finally:
        process.terminate()
        process.wait(10)


def test_the_service_runs_through_a_pooler_by_a_role_of_its_own(
    supabase: Supabase, site: Project, make: Callable[..., Project], pooler: int
) -> None:
    told = adopt(site, "--apply")
    sql = told.partition("through a pooler, too:\n")[2]
    try:
        supabase.script(sql)
        name = supabase.url.rpartition("/")[2]
        url = f"postgres://voices_service@127.0.0.1:{pooler}/{name}"
        # It takes no options, and says what to do.
        done = make(DATABASE_URL=url, DATABASE_SCHEMA="voices").manage(
            "check", "--database", "default"
        )
        assert "leave it out, and let the role's search_path" in done.stderr
        # One that drops them is noticed.
        console = Database(f"postgres://postgres@127.0.0.1:{pooler}/pgbouncer")
        console.rows("SET ignore_startup_parameters = 'options'")
        owner = make(
            DATABASE_URL=url.replace("voices_service@", "postgres@"), DATABASE_SCHEMA="voices"
        )
        done = owner.manage("migrate")
        assert (done.returncode, "in the schema public, not in" in done.stderr) == (1, True)
        pooled = make(DATABASE_URL=url)
        assert pooled.manage("check", "--database", "default").returncode == 0
        web = pooled.serve()
        bearer = {"Authorization": f"Bearer {jwt.encode(claims(ANNA), SECRET, 'HS256')}"}
        for _ in range(5):
            answer = requests.post(f"{web}/api/voices/sync/", headers=bearer, timeout=30)
            assert answer.json()["stats"] == {"synced": 300}
            found = requests.get(f"{web}/api/voices/", headers=bearer, timeout=30)
            assert found.json()["count"] == 301
        for command in ("prune", "sync_voices"):
            assert pooled.manage(command).returncode == 0
    finally:
        supabase.script("DROP OWNED BY voices_service CASCADE; DROP ROLE voices_service;")
