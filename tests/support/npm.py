"""Install npm packages for tests. The `package-lock.json` of each folder pins them."""

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
    """Install a folder's packages if they are missing. Skip the test without Node or a network."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if not node or not npm:
        pytest.skip("needs Node 20 or newer, and npm")
    version = subprocess.run([node, "--version"], capture_output=True, text=True, check=True).stdout
    if int(version.removeprefix("v").partition(".")[0]) < 20:
        pytest.skip(f"needs Node 20 or newer, not {version.strip()}")
    with (folder / "package-lock.json").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # pytest-xdist's workers run in parallel
        if not _is_installed(folder):
            command = [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
            npm_ci = subprocess.run(
                command, cwd=folder, capture_output=True, text=True, check=False
            )
            if npm_ci.returncode:
                reason = (npm_ci.stderr.strip() or "no error message").splitlines()[-1]
                pytest.skip(f"`npm ci` could not install the packages of {folder.name}: {reason}")


def _is_installed(folder: Path) -> bool:
    installed = folder / "node_modules" / ".package-lock.json"
    if not installed.exists():
        return False
    locked, present = (
        json.loads(file.read_text())["packages"]
        for file in (folder / "package-lock.json", installed)
    )
    return all(
        package["version"] == locked.get(name, {}).get("version")
        for name, package in present.items()
    )
