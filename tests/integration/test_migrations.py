"""Migrations, as the operator runs them."""

import pytest
from django.core.management import call_command

from tests.support.project import on_postgresql


@on_postgresql
@pytest.mark.django_db
def test_migrations_keep_the_previous_release_running(capsys: pytest.CaptureFixture[str]) -> None:
    """SQLite rebuilds tables, so everything is stopped for an upgrade there."""
    apps = ("--include-apps", "agencies", "operations", "voices")
    before_the_first_release = ("--ignore-name", "0002_simplify", "0002_prune_old_data")
    call_command("lintmigrations", "--no-cache", *apps, *before_the_first_release)
    assert "Erroneous migrations: 0/" in capsys.readouterr().out
