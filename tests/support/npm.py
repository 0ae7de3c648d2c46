"""npm packages for tests, pinned by a `package-lock.json`."""

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
    """Install a folder's packages, unless they are installed. Skip the test if that fails."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if not node or not npm:
        pytest.skip("needs node 20 or newer, and npm")
    version = subprocess.run([node, "--version"], capture_output=True, text=True, check=True).stdout
    if int(version.removeprefix("v").partition(".")[0]) < 20:
        pytest.skip(f"needs node 20 or newer, not {version.strip()}")
    with (folder / "package-lock.json").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # pytest-xdist runs several processes
        if not _is_installed(folder):
            command = [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
            done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
            if done.returncode:
                reason = (done.stderr.strip() or "no error message").splitlines()[-1]
                pytest.skip(f"`npm ci` failed in {folder.name}: {reason}")


def _is_installed(folder: Path) -> bool:
    installed = folder / "node_modules" / ".package-lock.json"
    if not installed.exists():
        return False
    pinned, present = (
        {
            name: package["version"]
            for name, package in json.loads(file.read_text())["packages"].items()
            if name
        }
        for file in (folder / "package-lock.json", installed)
    )
    return pinned.items() >= present.items()
