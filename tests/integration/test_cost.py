"""The cost of a sync: queries, and the modules that the command loads."""

import subprocess
import sys
from collections.abc import Callable

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from agencies.models import Agency
from tests.support.project import ROOT, Project
from tests.support.seeding import add_agency
from tests.ultravox import Ultravox
from voices.sync import sync_voices

QUERIES = 20  # of a sync, without its upserts


@pytest.mark.django_db(transaction=True)
def test_queries_do_not_grow_with_voices(ultravox: Ultravox, agency: Agency) -> None:
    """Upserts do not count: each holds as many rows as the database takes at once."""
    counts = []
    voices = ultravox.voices
    for number in (50, 300, 300):  # the last sync updates existing rows
        ultravox.voices = voices[:number]
        with CaptureQueriesContext(connection) as queries:
            assert sync_voices(trigger="service").synced == number
        upserts = [query for query in queries if 'INTO "ultravox_voices"' in query["sql"]]
        assert len(upserts) <= 1 + number // 90
        counts.append(len(queries) - len(upserts))
    assert counts[0] == counts[1]
    assert max(counts) <= QUERIES


def test_the_command_loads_no_web_modules(
    project: Callable[..., Project], ultravox: Ultravox
) -> None:
    made = project(ULTRAVOX_API_URL=ultravox.url)
    add_agency(made)
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "manage.py", "sync_voices"],
        cwd=ROOT,
        env=made.environment,
        capture_output=True,
        text=True,
        check=True,
    )
    loaded = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "ultravox" in loaded
    web = {
        "celery.app.task",
        "django_celery_beat.admin",
        "drf_spectacular.openapi",
        "requests",
        "rest_framework.views",
        "voiceproject.urls",
        "voices.admin",
    }
    assert not web & loaded
