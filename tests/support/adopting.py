"""The database of a Supabase project, and the commands of docs/adopting.md."""

import re
import shlex
from typing import Any

import psycopg

from tests.support.project import ROOT, Database, Project
from tests.ultravox import API_KEY

GUIDE = (ROOT / "docs/adopting.md").read_text()
SUPABASE_SQL = (ROOT / "tests/support/supabase/database.sql").read_text()
API_ROLES_SQL = "".join(re.findall(r"^DO .*CREATE ROLE.*\n", SUPABASE_SQL, re.M))
ANNA = "00000000-0000-4000-8000-000000000001"
JWT_SECRET = "the secret of Supabase's tokens, 0123456789"
DENIED = psycopg.errors.InsufficientPrivilege
SECRETS = (API_KEY, "key-two", "secret-hash", "example.com", "agency's", "First", "secret-url")


class Supabase(Database):
    @property
    def tables(self) -> list[tuple[str, str]]:
        """Return each table's schema and name."""
        return self.rows(
            "SELECT schemaname, tablename FROM pg_tables"
            " WHERE schemaname NOT IN ('pg_catalog', 'information_schema') ORDER BY 1, 2"
        )

    def query_api(self, query: str, role: str = "anon") -> list[tuple[Any, ...]]:
        """Run a query with the privileges of Supabase's API."""
        with psycopg.connect(self.url) as connection:
            connection.execute(f"SET ROLE {role}")
            cursor = connection.execute(query)
            return cursor.fetchall() if cursor.description else []


def adopt(site: Project, *options: str) -> str:
    """Run the guide's command with further options, and return its output."""
    [command] = re.findall(r"^    python manage\.py (adopt_supabase (?:.*\\\n)+.*)", GUIDE, re.M)
    done = site.manage(*shlex.split(command.replace("\\\n", "")), *options)
    assert done.returncode == 0, done.stderr
    assert not [secret for secret in SECRETS if secret in done.stdout + done.stderr]
    return done.stdout
