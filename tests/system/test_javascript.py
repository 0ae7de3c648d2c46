"""The pages' own JavaScript, which has its types in comments."""

import subprocess
from pathlib import Path

from tests.support import npm
from tests.support.project import on_sqlite

STATIC = Path(__file__).resolve().parents[2] / "voices" / "static" / "voices"
PAGE = ("voice-picker.js", "library.js", "library.css")


@on_sqlite  # or any database
def test_types() -> None:
    npm.install(npm.TYPESCRIPT)
    tsc = npm.TYPESCRIPT / "node_modules" / ".bin" / "tsc"
    done = subprocess.run(
        [tsc, "-p", "pages.json"], cwd=npm.TYPESCRIPT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout


def test_the_page_is_light() -> None:
    assert sum((STATIC / name).stat().st_size for name in PAGE) <= 60_000
