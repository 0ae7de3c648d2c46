"""The documentation matches the code."""

import re
from typing import Any

import pytest

from tests.support.environment import ENVIRONMENT, load_settings
from tests.support.project import ROOT

SETTINGS = re.findall(r'env\.\w+\(\s*"([A-Z_]+)"', (ROOT / "voiceproject/settings.py").read_text())
CONFIGURATION = re.findall(
    r"^\| `([A-Z_]+)` \| (.*?) \|", (ROOT / "docs/configuration.md").read_text(), re.MULTILINE
)
EXAMPLE = re.findall(r"^# ([A-Z_]+)=(.*)$", (ROOT / ".env.example").read_text(), re.MULTILINE)
PAGES = ["README.md", "CONTRIBUTING.md", *(f"docs/{file.name}" for file in ROOT.glob("docs/*.md"))]


def test_variables_are_the_same_and_in_the_same_order_everywhere() -> None:
    assert [name for name, _ in CONFIGURATION] == SETTINGS
    assert [name for name, _ in EXAMPLE] == SETTINGS
    assert [name for name in ENVIRONMENT if name != "DJANGO_SETTINGS_MODULE"] == SETTINGS


def test_env_example_has_the_defaults_of_configuration_md() -> None:
    example = dict(EXAMPLE)
    for name, default in CONFIGURATION:
        if default == "none" or default.startswith("`"):
            assert example[name] == default.replace("none", "").strip("`"), name


def test_env_example_has_the_defaults_of_the_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in SETTINGS:
        monkeypatch.setenv(name, "")
    monkeypatch.setenv("DJANGO_SECRET_KEY", "required")
    defaults = comparable_settings()
    for name, value in EXAMPLE:
        if value:
            monkeypatch.setenv(name, value)
    assert comparable_settings() == defaults


def comparable_settings() -> dict[str, Any]:
    """Return the settings, without empty parts of URLs."""
    loaded = load_settings()
    for name in ("DATABASES", "CACHES"):
        loaded[name] = {key: value for key, value in loaded[name]["default"].items() if value}
    for name in ("SQLITE", "LOCMEM"):  # settings.py changes these, if they are the default
        del loaded[name]
    return loaded


@pytest.mark.parametrize("page", PAGES)
def test_pages_name_targets_and_files_that_exist(page: str) -> None:
    text = (ROOT / page).read_text()
    targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert set(re.findall(r"(?:^ {4}|`)make ([a-z]+)", text, re.MULTILINE)) <= set(targets)
    links = re.findall(r"\]\(((?!https?:|#)[^)#]+)", text)
    assert [link for link in links if not ((ROOT / page).parent / link).exists()] == []
    files = re.findall(r"`((?:[a-z_-]+/)+[a-z_.-]+\.(?:py|js|md|txt|yaml|conf))`", text)
    assert [file for file in files if not (ROOT / file).exists()] == []
