"""The alert rules, as Prometheus itself reads them and plays them through."""

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from django.test import Client

from tests.support.nginx import find
from tests.support.project import ROOT

ALERTS = ROOT / "deploy/alerts.yml"


def test_each_alert_rings_when_it_should_and_only_then(tmp_path: Path) -> None:
    promtool = find("promtool", "apt-get install --no-install-recommends prometheus")
    for file in (ALERTS, ROOT / "tests/support/alerts.yml"):
        shutil.copy(file, tmp_path / f"{file.parent.name}-{file.name}")
    played = tmp_path / "support-alerts.yml"
    played.write_text(played.read_text().replace("[alerts.yml]", "[deploy-alerts.yml]"))
    for command in (("check", "rules", "deploy-alerts.yml"), ("test", "rules", played.name)):
        done = subprocess.run(
            [promtool, *command], cwd=tmp_path, capture_output=True, text=True, check=False
        )
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
