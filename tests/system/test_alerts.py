"""The Prometheus alert rules."""

import re
from typing import Any

import pytest
from django.test import Client

from tests.support.project import ROOT
from tests.support.tools import find, run

RULES = ROOT / "deploy/alerts.yml"


def test_prometheus_raises_each_alert_when_it_should() -> None:
    done = run(find("promtool", "prometheus"), "test", "rules", "tests/support/alerts.yml")
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.django_db
def test_the_rules_use_metrics_that_exist(settings: Any) -> None:
    settings.METRICS_TOKEN = "token"
    metrics = Client().get("/metrics", headers={"authorization": "Bearer token"}).text
    used = set(re.findall(r"voices_\w+", RULES.read_text()))
    assert len(used) == 4
    assert used <= set(re.findall(r"^(voices_\w+)", metrics, re.MULTILINE))
