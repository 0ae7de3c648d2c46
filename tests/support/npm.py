"""The npm package @supabase/supabase-js, as `tests/support/supabase/package-lock.json` pins it."""

import fcntl
import json
import shutil
import subprocess
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parent / "supabase"
LOCK = FOLDER / "package-lock.json"
INSTALLED = FOLDER / "node_modules" / ".package-lock.json"
BROWSER_BUILD = FOLDER / "node_modules/@supabase/supabase-js/dist/umd/supabase.js"


def install() -> None:
    """Install the package unless it is there; skips where that cannot be."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if not node or not npm:
        pytest.skip("needs node 20 or newer and npm: one of them is missing")
    version = subprocess.run([node, "--version"], capture_output=True, text=True, check=True).stdout
    if int(version.removeprefix("v").partition(".")[0]) < 20:
        pytest.skip(f"needs node 20 or newer: this is {version.strip()}")
    with LOCK.open() as lock:  # two of pytest-xdist's workers may come at once
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not _is_installed():
            command = [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
            done = subprocess.run(command, cwd=FOLDER, capture_output=True, text=True, check=False)
            if done.returncode:
                last = (done.stderr.strip() or "no reason given").splitlines()[-1]
                pytest.skip(f"`npm ci` could not install @supabase/supabase-js: {last}")


def _is_installed() -> bool:
    if not INSTALLED.exists() or not BROWSER_BUILD.exists():
        return False
    wanted, found = (json.loads(file.read_text())["packages"] for file in (LOCK, INSTALLED))
    return {name: package["version"] for name, package in found.items()} == {
        name: package["version"] for name, package in wanted.items() if name
    }
