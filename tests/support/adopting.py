"""A database that looks like a Supabase project's, and the guide that leads out of it."""

import re
import shlex
from typing import Any, ClassVar

import psycopg

from tests.support.project import ROOT, Database, Project
from tests.ultravox import API_KEY

GUIDE = (ROOT / "docs/adopting.md").read_text()
ANNA = "00000000-0000-4000-8000-000000000001"
SECRET = "the secret of Supabase's tokens, 0123456789"
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
