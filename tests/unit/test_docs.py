"""The documents say what the project does."""

import re

from tests.support.environment import ENVIRONMENT
from tests.support.project import ROOT
from tests.ultravox import FAULTS

README = (ROOT / "README.md").read_text()
SETTINGS = (ROOT / "voiceproject/settings.py").read_text()


def test_readme_lists_the_variables_that_settings_read_in_their_order() -> None:
    read = re.findall(r'(?:env\.\w+[(,]|strings\(|url\()\s*"([A-Z_]+)"', SETTINGS)
    listed = re.findall(r"^\| `([A-Z_]+)` \|", README, re.M)
    assert listed == list(dict.fromkeys(read))
    assert set(listed) == set(ENVIRONMENT) - {"DJANGO_SETTINGS_MODULE"}


def test_readme_names_files_and_targets_that_exist() -> None:
    targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.M)
    assert set(re.findall(r"`?make ([a-z]+)", README)) <= set(targets)
    for file in re.findall(r"`((?:[a-z_]+/)*[a-z_]+\.(?:py|txt|md)|[a-z]+/)`", README):
        folders = ("", "voices/")
        assert any((ROOT / folder / file).exists() for folder in folders), file
    for file in re.findall(r"\]\((docs/[^)]+)\)", README):
        assert (ROOT / file).exists()


def test_reliability_tells_of_what_was_tried() -> None:
    page, cases = (
        (ROOT / f"docs/{n}.md").read_text() for n in ("reliability", "reliability-cases")
    )
    assert {name for name in FAULTS if f"::test_client_meets[{name}]`" not in cases} == set()
    for section in cases.split("\n## ")[1:]:
        title, rows = section.partition("\n")[0], section.count("` |\n")
        assert f"| {title} | {rows} |" in page
        assert rows > 0


def test_changelog_begins_with_what_is_unreleased() -> None:
    assert (ROOT / "CHANGELOG.md").read_text().startswith("# Changelog\n\n## Unreleased\n\n- ")
