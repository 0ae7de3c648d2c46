"""docs/adopting.md: what is taken over, and what is left for clients that still read the table."""

import re
import uuid
from collections.abc import Callable
from pathlib import Path

import jwt
import psycopg
import pytest
import requests

from tests.support.adopting import ANNA, DENIED, GUIDE, SECRET, Supabase, adopt
from tests.support.jwks import claims
from tests.support.project import Database, Project, on_postgresql
from tests.support.tools import find, shell
from tests.ultravox import API_KEY, Ultravox

pytestmark = on_postgresql

FIRST = "10000000-0000-4000-8000-000000000001"
NOT_UPDATABLE = psycopg.errors.ObjectNotInPrerequisiteState


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
        "adopt_supabase",
        "--users=public.members",
        "--user-email=mail",
        "--user-agency=of_agency",
        "--voices=public.odd_voices",
        "--apply",
    )
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
