"""The JavaScript of the pages. Its types are in comments."""

import subprocess

from tests.support import npm
from tests.support.project import ROOT, on_sqlite

pytestmark = on_sqlite  # about no database


def test_types() -> None:
    npm.install(npm.TYPESCRIPT)
    command = ["node_modules/.bin/tsc", "-p", "pages.json"]
    done = subprocess.run(command, cwd=npm.TYPESCRIPT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_page_is_small() -> None:
    folder = ROOT / "voices/static/voices"
    files = [*folder.glob("*.js"), folder / "library.css"]
    assert sum(file.stat().st_size for file in files) <= 60_000
