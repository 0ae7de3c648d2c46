"""docs/adopting.md: copying rows, the view for clients that still read the table, and backups."""

import re
from pathlib import Path

import jwt
import psycopg
import pytest
import requests

from tests.support.adopting import ANNA, DENIED, GUIDE, JWT_SECRET, Supabase, adopt
from tests.support.jwks import claims
from tests.support.project import Database, Project, on_postgresql
from tests.support.tools import find, shell
from tests.ultravox import API_KEY

pytestmark = on_postgresql

FIRST = "10000000-0000-4000-8000-000000000001"
READ_ONLY = (psycopg.errors.UndefinedColumn, psycopg.errors.ObjectNotInPrerequisiteState)


def test_guide_copies_agencies_users_and_voices(supabase: Supabase, site: Project) -> None:
    lines = adopt(site).splitlines()
    for line in (
        "Would add agencies: 3; existing: 0",
        "Would add users: 2; existing: 0",
        "Would add voices: 2; existing: 0",
        "Note: agencies without a key: 1",
        "Note: users skipped because they have no e-mail address: 1",
        "Note: users skipped because another user has their e-mail address: 1",
        "Note: users added without an agency: 1",
        "Nothing was changed. Add --apply to apply this.",
    ):
        assert line in lines
    count = "SELECT (SELECT count(*) FROM voices.agencies), (SELECT count(*) FROM voices.users)"
    assert supabase.rows(count) == [(0, 0)]
    assert "Added agencies: 3; existing: 0" in adopt(site, "--apply")
    assert API_KEY not in str(supabase.rows("SELECT ultravox_api_key FROM voices.agencies"))
    # Supabase tokens work, with the key of the user's agency
    url = site.serve()
    bearer = {"Authorization": f"Bearer {jwt.encode(claims(ANNA), JWT_SECRET, 'HS256')}"}
    response = requests.post(f"{url}/functions/v1/voices-sync", headers=bearer, timeout=30)
    assert response.json()["stats"] == {"synced": 300}
    response = requests.get(f"{url}/api/voices/?search=open", headers=bearer, timeout=30)
    assert [voice["id"] for voice in response.json()["results"]] == ["open"]
    # A second run changes no row
    code = f"""
agency = Agency.objects.get(pk="{FIRST}"); agency.ultravox_api_key = "changed"; agency.save()
User.objects.filter(pk="{ANNA}").update(is_active=False, agency=None)
"""
    assert site.manage("shell", "-c", code).returncode == 0
    everything = "SELECT a.*, u.* FROM voices.agencies a, voices.users u ORDER BY a.id, u.id"
    before = supabase.rows(everything)
    assert "Added agencies: 0; existing: 3" in adopt(site, "--apply")
    assert supabase.rows(everything) == before


def test_view_replaces_the_table(supabase: Supabase, site: Project) -> None:
    supabase.rows("CREATE TABLE agents (voice text REFERENCES public.ultravox_voices)")
    assert "which no sync updates: public.agents." in adopt(site, "--apply", "--view")
    query = "SELECT id, name FROM public.ultravox_voices"
    for role in ("anon", "authenticated"):
        assert supabase.query_api(query, role) == [("open", "Open")]
    supabase.rows("REVOKE SELECT ON public.ultravox_voices FROM anon")
    assert "which no sync updates" not in adopt(site, "--apply", "--view")  # again
    with pytest.raises(DENIED):
        supabase.query_api(query)
    assert supabase.value("SELECT count(*) FROM public.ultravox_voices_before") == 2
    with pytest.raises(DENIED):
        supabase.query_api("SELECT * FROM public.ultravox_voices_before")
    supabase.rows("GRANT ALL ON public.ultravox_voices TO authenticated")
    for query in (
        "SELECT definition FROM public.ultravox_voices",
        "INSERT INTO public.ultravox_voices (id, name, last_synced_at) VALUES ('x', 'x', now())",
        "UPDATE public.ultravox_voices SET name = 'x'",
        "DELETE FROM public.ultravox_voices",
    ):
        with pytest.raises(READ_ONLY):
            supabase.query_api(query, "authenticated")
    assert site.manage("check", "--database", "default").returncode == 0


def test_backup_is_restored_to_the_same_and_to_an_empty_database(
    supabase: Supabase, site: Project, tmp_path: Path
) -> None:
    find("pg_dump", "postgresql-client")
    adopt(site, "--apply", "--view")
    dump, *restore = re.findall(r"^    ((?:pg_dump|psql|pg_restore) .*)$", GUIDE, re.M)
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
    assert supabase.query_api("SELECT id FROM public.ultravox_voices") == [("open",)]
