"""Taking over where Supabase was: docs/adopting.md, on a database that looks like a Supabase project's."""

import re
import shlex
import subprocess
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import jwt
import psycopg
import pytest
import requests

from tests.support.jwks import claims
from tests.support.project import ROOT, Database, Project, free_port, on_postgresql, wait_for
from tests.support.tools import find, shell
from tests.ultravox import API_KEY, Ultravox

pytestmark = on_postgresql

ANNA, BEN = (f"00000000-0000-4000-8000-00000000000{number}" for number in (1, 2))
FIRST = "10000000-0000-4000-8000-000000000001"
SUPABASE_SQL = (ROOT / "tests/support/supabase/database.sql").read_text()
GUIDE = (ROOT / "docs/adopting.md").read_text()
SECRET = "the secret of Supabase's tokens, 0123456789"
NOT_UPDATABLE = psycopg.errors.ObjectNotInPrerequisiteState
DENIED = psycopg.errors.InsufficientPrivilege


class Supabase(Database):
    """A project's database: what its API lets in, and what there is."""

    TABLES: ClassVar = (
        "SELECT schemaname || '.' || tablename FROM pg_tables"
        " WHERE schemaname NOT IN ('pg_catalog', 'information_schema') ORDER BY 1"
    )

    @property
    def tables(self) -> list[str]:
        return [name for (name,) in self.rows(self.TABLES)]

    def ask(self, query: str, role: str = "anon") -> list[tuple[Any, ...]]:
        """Run a query as whoever has the public key, by PostgREST."""
        with psycopg.connect(self.url) as connection:
            connection.execute(f"SET ROLE {role}")
            cursor = connection.execute(query)
            return cursor.fetchall() if cursor.description else []


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Supabase:
    """What databases of tests are copied from."""
    plain = Supabase.create(tmp_path_factory.mktemp("plain"))
    plain.script(SUPABASE_SQL)
    plain.rows("INSERT INTO vault.secrets VALUES ('first', %s), ('second', 'key-two')", API_KEY)
    return plain


@pytest.fixture(scope="module")
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
def make(
    supabase: Supabase, tmp_path: Path, ultravox: Ultravox
) -> Iterator[Callable[..., Project]]:
    """Make projects on that database; arguments are environment variables."""
    made: list[Project] = []

    def make(**environment: str) -> Project:
        own = {"ULTRAVOX_API_URL": ultravox.url, "SUPABASE_JWT_SECRET": SECRET}
        made.append(Project(supabase, tmp_path, **own | environment))
        return made[-1]

    yield make
    for project in made:
        project.stop()


@pytest.fixture
def site(make: Callable[..., Project]) -> Project:
    return make(DATABASE_SCHEMA="voices")


def adopt(site: Project, *options: str) -> str:
    """Run the guide's command, with more options, and return what it says."""
    [command] = re.findall(r"^    python manage\.py (adopt_supabase (?:.*\\\n)+.*)", GUIDE, re.M)
    done = site.manage(*shlex.split(command.replace("\\\n", "")), *options)
    assert done.returncode == 0, done.stderr
    for secret in (
        API_KEY,
        "key-two",
        "secret-hash",
        "example.com",
        "agency's",
        "First",
        "secret-url",
    ):
        assert secret not in done.stdout + done.stderr
    return done.stdout


# Beside what is there


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


# Taking over


def test_the_guide_takes_over_what_there_is(
    supabase: Supabase, site: Project, ultravox: Ultravox
) -> None:
    told = adopt(site)
    for line in (
        "Would add agencies: 3; here already: 0",
        "Would add users: 2; here already: 0",
        "Would add voices: 2; here already: 0",
        "Note: agencies without a key: 1",
        "Note: users left out, without an e-mail address, or with one that is too long: 1",
        "Note: users left out, with the e-mail address of another user: 1",
        "Note: users of no agency that is known here: 1",
    ):
        assert line in told.splitlines()
    assert "Nothing was changed" in told
    count = "SELECT (SELECT count(*) FROM voices.agencies), (SELECT count(*) FROM voices.users)"
    assert supabase.rows(count) == [(0, 0)]
    assert "Added agencies: 3; here already: 0" in adopt(site, "--apply")
    stored = supabase.rows("SELECT ultravox_api_key FROM voices.agencies")
    assert API_KEY not in str(stored)
    # Their Supabase tokens work, and their agency's key
    url = site.serve()
    token = jwt.encode(claims(ANNA), SECRET, "HS256")
    bearer = {"Authorization": f"Bearer {token}"}
    answer = requests.post(f"{url}/functions/v1/voices-sync", headers=bearer, timeout=30)
    assert answer.json()["stats"] == {"synced": 300}
    found = requests.get(f"{url}/api/voices/?search=open", headers=bearer, timeout=30).json()
    assert [voice["id"] for voice in found["results"]] == ["open"]
    # Again, and after a change, nothing is overwritten
    code = f"""
agency = Agency.objects.get(pk="{FIRST}"); agency.ultravox_api_key = "changed"; agency.save()
User.objects.filter(pk="{ANNA}").update(is_active=False, agency=None)
"""
    assert site.manage("shell", "-c", code).returncode == 0
    everything = "SELECT a.*, u.* FROM voices.agencies a, voices.users u ORDER BY a.id, u.id"
    before = supabase.rows(everything)
    assert "Added agencies: 0; here already: 3" in adopt(site, "--apply")
    assert supabase.rows(everything) == before


def test_a_view_serves_clients_that_still_read_the_table(supabase: Supabase, site: Project) -> None:
    supabase.rows("CREATE TABLE agents (voice text REFERENCES public.ultravox_voices)")
    told = adopt(site, "--apply", "--view")
    assert "these still refer to the old table, which no sync fills: public.agents." in told
    shown = "SELECT id, name FROM public.ultravox_voices"
    assert supabase.ask(shown) == supabase.ask(shown, "authenticated") == [("open", "Open")]
    supabase.rows("REVOKE SELECT ON public.ultravox_voices FROM anon")
    adopt(site, "--apply", "--view")  # again
    with pytest.raises(DENIED):
        supabase.ask(shown)
    assert supabase.value("SELECT count(*) FROM public.ultravox_voices_before") == 2
    with pytest.raises(DENIED):
        supabase.ask("SELECT * FROM public.ultravox_voices_before")
    supabase.rows("GRANT ALL ON public.ultravox_voices TO authenticated")
    for query in (
        "SELECT definition FROM public.ultravox_voices",
        "INSERT INTO public.ultravox_voices (id, name, last_synced_at) VALUES ('x', 'x', now())",
        "UPDATE public.ultravox_voices SET name = 'x'",
        "DELETE FROM public.ultravox_voices",
    ):
        with pytest.raises((psycopg.errors.UndefinedColumn, NOT_UPDATABLE)):
            supabase.ask(query, "authenticated")
    assert site.manage("check", "--database", "default").returncode == 0


def test_a_backup_of_the_schema_is_restored(
    supabase: Supabase, site: Project, tmp_path: Path
) -> None:
    """Beside what there is, and into an empty database."""
    find("pg_dump", "postgresql-client")
    adopt(site, "--apply", "--view")
    commands = re.findall(r"^    ((?:pg_dump|psql|pg_restore) .*)$", GUIDE, re.M)
    dump, *restore = commands
    users = "SELECT id, email FROM voices.users ORDER BY id"
    before = supabase.rows(users)
    shell(dump, tmp_path, DATABASE_URL=supabase.url)
    supabase.script("DELETE FROM voices.users; DELETE FROM public.profiles")
    for database in (supabase, Database.create(tmp_path)):
        for command in restore:
            shell(command, tmp_path, DATABASE_URL=database.url)
        assert database.rows(users) == before
    assert supabase.rows("SELECT * FROM public.profiles") == []
    site.manage("adopt_supabase", "--view", "--apply")
    assert supabase.ask("SELECT id FROM public.ultravox_voices") == [("open",)]


ODD = """
from django.core.management import CommandError, call_command
for option in {options}:
    try:
        call_command("adopt_supabase", "--agencies=public.agencies", option, "--apply")
    except CommandError as error:
        print("FAULT", error)
"""
EXPRESSIONS = {
    "--agency-id=name": "not UUIDs",
    "--agency-key=nextval('public.counter')::text": "an expression writes",
    "--agency-key=(DELETE FROM public.agencies RETURNING name)": "syntax error",
    "--agency-key=name)::text FROM agencies; DROP TABLE profiles CASCADE; SELECT (name": "multiple commands",
    "--agency-key=no_such_column": 'column "no_such_column" does not exist',
    "--agency-key=(name || '-a-secret')::int": "InvalidTextRepresentation, 22P02",
    "--agency-key=to_tsquery(name || '& & a-secret')": "SyntaxError, 42601",
}


def test_an_expression_reads_and_no_more(supabase: Supabase, site: Project) -> None:
    supabase.rows("CREATE SEQUENCE public.counter")
    before = supabase.tables
    done = site.manage("shell", "-v", "0", "-c", ODD.format(options=list(EXPRESSIONS)))
    told = re.findall(r"^FAULT (.*)$", done.stdout, re.M)
    for line, said in zip(told, EXPRESSIONS.values(), strict=True):
        assert said in line
    assert "a-secret" not in done.stdout + done.stderr
    assert "First" not in done.stdout + done.stderr
    assert supabase.tables == before
    assert supabase.value("SELECT count(*) FROM voices.agencies") == 0
    session = "--agency-name=set_config('search_path', 'public', false)"
    done = site.manage("adopt_supabase", "--agencies=public.agencies", session)
    assert "Would add agencies: 3" in done.stdout, done.stderr


def test_odd_tables_are_taken_as_far_as_can_be(supabase: Supabase, site: Project) -> None:
    supabase.script("""
        CREATE TYPE public.kind AS ENUM ('public', 'private');
        CREATE DOMAIN public.address AS text;
        CREATE TABLE public.odd_voices
            (id bigint, name public.kind, ownership public.kind, definition text, last_synced_at text);
        INSERT INTO public.odd_voices VALUES
            (7, 'public', 'public', '{"a": 1}', '2024-05-01 10:00:00'), (8, NULL, NULL, 'no JSON', NULL),
            (NULL, NULL, NULL, NULL, NULL), (9, NULL, NULL, NULL, 'infinity'), (9, NULL, NULL, NULL, '');
        CREATE TABLE public.members (id text, mail public.address, of_agency text);
        INSERT INTO public.members VALUES
            ('00000000-0000-4000-8000-00000000000a', 'Zoe@Example.com', NULL),
            ('00000000-0000-4000-8000-00000000000b', repeat('x', 250) || '@example.com', NULL);
    """)
    command = (
        "adopt_supabase", "--users=public.members", "--user-email=mail", "--user-agency=of_agency",
        "--voices=public.odd_voices", "--apply",
    )  # fmt: skip
    for number in (1, 0):
        done = site.manage(*command)
        assert done.returncode == 0, done.stderr
        assert f"Added users: {number};" in done.stdout
        assert f"Added voices: {2 * number};" in done.stdout
        assert "voices left out, which cannot be stored: 2" in done.stdout
    voices = (
        "SELECT id, name, ownership, definition, last_synced_at > now() - interval '1 hour'"
        " FROM voices.ultravox_voices ORDER BY id"
    )
    assert supabase.rows(voices) == [
        ("7", "public", "public", {"a": 1}, False),
        ("9", "", None, None, True),
    ]
    assert supabase.rows("SELECT email FROM voices.users") == [("zoe@example.com",)]


def test_a_key_that_was_forgotten_comes_later(supabase: Supabase, site: Project) -> None:
    command = ("adopt_supabase", "--agencies=public.agencies", "--apply")
    assert "agencies without a key: 3" in site.manage(*command).stdout
    changed_meanwhile = """
from operations.adopting import Source, apply, find
found = find(Source(agencies="public.agencies", agency_key="get_agency_credentials(id)"), view=False)
agency = Agency.objects.get(name="Second agency"); agency.name = "Renamed"; agency.save()
found.keys = {agency.pk: found.keys[agency.pk]}
apply(found, view=False)
"""
    done = site.manage("shell", "-c", changed_meanwhile)
    assert done.returncode == 0, done.stderr
    key = "--agency-key=get_agency_credentials(id)"  # found without its schema
    assert (
        "agencies that came without a key, and have one now: 1" in site.manage(*command, key).stdout
    )
    stored = "SELECT name FROM voices.agencies WHERE ultravox_api_key <> ''"
    assert supabase.rows(stored) == [("First agency",)]


def test_rows_that_policies_hide_are_no_empty_table(
    supabase: Supabase, site: Project, make: Callable[..., Project]
) -> None:
    role = f"rls_{uuid.uuid4().hex[:8]}"
    supabase.script(
        f"CREATE ROLE {role} LOGIN; GRANT USAGE ON SCHEMA voices TO {role};"
        f"GRANT ALL ON ALL TABLES IN SCHEMA voices TO {role}; GRANT SELECT ON public.agencies TO {role}"
    )
    try:
        url = supabase.url.replace("postgres@", f"{role}@", 1)
        limited = make(DATABASE_URL=url, DATABASE_SCHEMA="voices")
        done = limited.manage("adopt_supabase", "--agencies=public.agencies")
        assert done.returncode == 1
        assert "row-level security" in done.stderr
        done = limited.manage("migrate", "voices", "0006")
        assert (done.returncode, "let it.\n" in done.stderr) == (1, True)
        assert "Traceback" not in done.stderr
    finally:
        supabase.script(f"DROP OWNED BY {role}; DROP ROLE {role}")


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
