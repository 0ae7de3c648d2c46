"""npm packages, as the `package-lock.json` of a folder here pins them."""

import fcntl
import json
import shutil
import subprocess
from pathlib import Path

import pytest

SUPABASE = Path(__file__).resolve().parent / "supabase"
TYPESCRIPT = Path(__file__).resolve().parent / "typescript"
SUPABASE_JS = SUPABASE / "node_modules/@supabase/supabase-js/dist/umd/supabase.js"


def install(folder: Path) -> None:
    """Install a folder's packages unless they are there; skips where that cannot be."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if not node or not npm:
        pytest.skip("needs node 20 or newer and npm: one of them is missing")
    version = subprocess.run([node, "--version"], capture_output=True, text=True, check=True).stdout
    if int(version.removeprefix("v").partition(".")[0]) < 20:
        pytest.skip(f"needs node 20 or newer: this is {version.strip()}")
    with (
        folder / "package-lock.json"
    ).open() as lock:  # two of pytest-xdist's workers may come at once
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not _is_installed(folder):
            command = [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
            done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
            if done.returncode:
                last = (done.stderr.strip() or "no reason given").splitlines()[-1]
                pytest.skip(f"`npm ci` could not install the packages of {folder.name}: {last}")


def _is_installed(folder: Path) -> bool:
    installed = folder / "node_modules" / ".package-lock.json"
    if not installed.exists():
        return False
    wanted, found = (
        json.loads(file.read_text())["packages"]
        for file in (folder / "package-lock.json", installed)
    )
    return {name: package["version"] for name, package in found.items()} == {
        name: package["version"] for name, package in wanted.items() if name in found
    }
