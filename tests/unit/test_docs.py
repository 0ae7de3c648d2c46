"""The documents say what the project does."""

import re
import runpy
import tomllib
from typing import Any

import pytest
from django.conf import settings

from tests.support.environment import ENVIRONMENT
from tests.support.project import ROOT

README = (ROOT / "README.md").read_text()
SETTINGS = (ROOT / "voiceproject/settings.py").read_text()
EXAMPLE = re.findall(r"^# ([A-Z_]+)=(.*)$", (ROOT / ".env.example").read_text(), re.M)


def test_readme_lists_the_variables_that_settings_read_in_their_order() -> None:
    read = re.findall(r'(?:env\.\w+[(,]|strings\(|addresses\(|url\()\s*"([A-Z_]+)"', SETTINGS)
    listed = re.findall(r"^\| `([A-Z_]+)` \|", README, re.M)
    assert listed == list(dict.fromkeys(read))
    assert set(listed) == set(ENVIRONMENT) - {"DJANGO_SETTINGS_MODULE"}


def test_env_example_shows_the_readme_s_variables_and_defaults() -> None:
    rows = re.findall(r"^\| `([A-Z_]+)` \| (.*?) \|", README, re.M)
    assert [name for name, _ in EXAMPLE] == [name for name, _ in rows]
    shown = dict(EXAMPLE)
    for name, default in rows:
        if default == "none" or default.startswith("`"):
            assert shown[name] == default.replace("none", "").strip("`")


def test_env_example_s_defaults_are_those_of_the_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, _ in EXAMPLE:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("DJANGO_SECRET_KEY", "required")
    defaults = read_settings()
    for name, value in EXAMPLE:
        if value:
            monkeypatch.setenv(name, value)
    assert read_settings() == defaults


def read_settings() -> dict[str, Any]:
    """Return all settings under the environment of now, without what a database URL leaves empty."""
    read = runpy.run_path(str(ROOT / "voiceproject/settings.py"))
    del read["SQLITE"], read["LOCMEM"]  # changed in place where they serve as defaults
    for name in ("DATABASES", "CACHES"):
        read[name] = {key: value for key, value in read[name]["default"].items() if value}
    return {name: value for name, value in read.items() if name.isupper()}


def test_api_has_the_version_of_the_project() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert settings.SPECTACULAR_SETTINGS["VERSION"] == project["version"]


def test_readme_names_files_and_targets_that_exist() -> None:
    targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.M)
    assert set(re.findall(r"`?make ([a-z]+)", README)) <= set(targets)
    for file in re.findall(r"`((?:[a-z_]+/)*[a-z_]+\.(?:py|txt|md)|[a-z]+/)`", README):
        folders = ("", "voices/")
        assert any((ROOT / folder / file).exists() for folder in folders), file
    for file in re.findall(r"\]\((docs/[^)]+)\)", README):
        assert (ROOT / file).exists()


def test_changelog_begins_with_what_is_unreleased() -> None:
    assert (ROOT / "CHANGELOG.md").read_text().startswith("# Changelog\n\n## Unreleased\n\n- ")
