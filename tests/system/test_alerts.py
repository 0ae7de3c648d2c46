"""The alert rules, as Prometheus itself reads them and plays them through."""

import re
from typing import Any

import pytest
from django.test import Client

from tests.support.project import ROOT
from tests.support.tools import find, run

ALERTS = ROOT / "deploy/alerts.yml"


def test_each_alert_rings_when_it_should_and_only_then() -> None:
    done = run(find("promtool", "prometheus"), "test", "rules", "tests/support/alerts.yml")
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.django_db
def test_they_are_about_figures_that_there_are(settings: Any) -> None:
    settings.METRICS_TOKEN = "token"
    shown = Client().get("/metrics", headers={"authorization": "Bearer token"}).text
    used = set(re.findall(r"voices_\w+", ALERTS.read_text()))
    assert len(used) == 4
    assert used <= set(re.findall(r"^(voices_\w+)", shown, re.MULTILINE))


def test_the_documents_say_what_to_do_about_each() -> None:
    names = re.findall(r"alert: (\w+)", ALERTS.read_text())
    told = (ROOT / "docs/operations.md").read_text()
    assert [name for name in names if f"`{name}`" not in told] == []
