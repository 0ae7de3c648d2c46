"""`manage.py adopt_supabase`, and the checks of a shared database, in this process."""

import io
import re
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from agencies.credentials import agencies_with_key
from agencies.models import Agency
from operations.checks import check_shared_database
from tests.support.project import ROOT, on_postgresql
from voices.models import Voice

pytestmark = [on_postgresql, pytest.mark.django_db]

SUPABASE_SQL = (ROOT / "tests/support/supabase/database.sql").read_text()
CREATE_API_ROLES = "".join(re.findall(r"^DO .*CREATE ROLE.*\n", SUPABASE_SQL, re.M))
ID = "00000000-0000-4000-8000-00000000000{}"


def execute(sql: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(sql)


def adopt(*options: str) -> str:
    out = io.StringIO()
    call_command("adopt_supabase", *options, stdout=out)
    return out.getvalue()


@pytest.fixture
def source() -> None:
    execute(
        "CREATE SCHEMA source; CREATE SEQUENCE source.counter;"
        "CREATE TABLE source.agencies (id uuid, name text, key text);"
        f"INSERT INTO source.agencies VALUES ('{ID.format(1)}', 'First', 'secret')"
    )


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("--agency-id=name", "not UUIDs"),
        ("--agency-key=nextval('source.counter')::text", "ReadOnlySqlTransaction"),
        ("--agency-key=key)::text FROM source.agencies; COMMIT; SELECT (key", "SyntaxError"),
        ("--agency-key=(name || '-a-secret')::int", "InvalidTextRepresentation"),
    ],
)
def test_expressions_only_read_and_errors_quote_no_value(
    source: None, option: str, message: str
) -> None:
    with pytest.raises(CommandError, match=message) as error:
        adopt("--agencies=source.agencies", option, "--apply")
    assert "secret" not in str(error.value)
    assert "First" not in str(error.value)
    assert not Agency.objects.exists()


def test_rows_hidden_by_policies_are_an_error(source: None) -> None:
    execute(
        "ALTER TABLE source.agencies ENABLE ROW LEVEL SECURITY; CREATE ROLE limited_reader;"
        "GRANT pg_read_all_data TO limited_reader; SET LOCAL ROLE limited_reader"
    )
    with pytest.raises(CommandError, match="InsufficientPrivilege"):
        adopt("--agencies=source.agencies")


def test_unusual_columns_and_values(source: None) -> None:
    execute(
        """
        CREATE TYPE source.kind AS ENUM ('public', 'private');
        CREATE TABLE source.voices (id bigint, name source.kind, definition text, last_synced_at text);
        INSERT INTO source.voices VALUES
            (7, 'public', '{"a": 1}', '2024-05-01 10:00:00'), (8, NULL, 'no JSON', NULL),
            (NULL, NULL, NULL, NULL), (9, NULL, NULL, NULL), (9, NULL, NULL, NULL);
        """
    )
    out = adopt("--voices=source.voices", "--apply")
    assert "Added voices: 2; existing: 0" in out
    assert "voices skipped because they cannot be stored: 2" in out
    seven, nine = Voice.objects.order_by("id")
    assert (seven.name, seven.definition, seven.last_synced_at.year) == ("public", {"a": 1}, 2024)
    assert (nine.name, nine.definition, nine.provider) == ("", None, None)


def test_unchanged_agency_without_a_key_gets_one_later(source: None) -> None:
    execute(f"INSERT INTO source.agencies VALUES ('{ID.format(2)}', 'Second', 'another secret')")
    assert "agencies without a key: 2" in adopt("--agencies=source.agencies", "--apply")
    Agency.objects.get(name="Second").save()
    out = adopt("--agencies=source.agencies", "--agency-key=key", "--apply")
    assert "existing agencies that get a key: 1" in out
    assert [agency.name for agency in agencies_with_key()] == ["First"]


@pytest.fixture
def own(settings: Any) -> None:
    """Connect to a schema of its own, which the API's roles may use."""
    execute(CREATE_API_ROLES)
    execute("CREATE SCHEMA own; GRANT USAGE ON SCHEMA own TO anon; SET LOCAL search_path = own")


def faults() -> list[tuple[str | None, str]]:
    return [(fault.id, str(fault.hint)) for fault in check_shared_database(databases=["default"])]


def test_pooler_that_drops_the_schema(own: None, settings: Any) -> None:
    settings.DATABASE_SCHEMA = "voices"
    assert [id for id, _ in faults()] == ["operations.E004"]


@pytest.mark.parametrize(
    ("grant", "id"),
    [
        ("GRANT SELECT (password) ON users TO anon", "operations.E002"),
        ("GRANT TRUNCATE ON users TO PUBLIC", "operations.E002"),
        (
            "ALTER DEFAULT PRIVILEGES IN SCHEMA own GRANT SELECT ON TABLES TO PUBLIC",
            "operations.E003",
        ),
        ("ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO anon", "operations.E003"),
    ],
)
def test_access_is_reported_with_the_sql_that_removes_it(own: None, grant: str, id: str) -> None:
    execute(
        "CREATE TABLE django_migrations (id int, app text, name text, applied timestamptz);"
        "INSERT INTO django_migrations VALUES (1, 'agencies', '0001_initial', now());"
        "CREATE TABLE users (id int, password text)"
    )
    assert faults() == []
    execute(grant)
    [(found, hint)] = faults()
    assert found == id
    execute(hint[hint.index("REVOKE" if id == "operations.E002" else "ALTER") :])
    assert faults() == []
