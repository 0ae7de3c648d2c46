"""The tools that read what deploy/ holds."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.support.project import ROOT

DEPLOY = ROOT / "deploy"
VARIABLES = {
    "POSTGRES_PASSWORD": "letters", "RABBITMQ_PASSWORD": "digits", "DJANGO_SECRET_KEY": "x",
    "CREDENTIALS_KEYS": "y", "DJANGO_ALLOWED_HOSTS": "voices.example.com",
}  # fmt: skip


def run(*command: str, folder: Path = ROOT) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def of_venv(program: str) -> str:
    """Return the path of a program that requirements-dev.txt installs."""
    return str(Path(sys.executable).parent / program)


def compose(folder: Path, *files: str, **changes: str) -> Any:
    """Return what docker makes of the files, or what it says of them."""
    shutil.copytree(DEPLOY, folder / "deploy", dirs_exist_ok=True)
    variables = {name: value for name, value in (VARIABLES | changes).items() if value}
    lines = [f"{name}={value}" for name, value in variables.items()]
    (folder / "deploy/.env").write_text("\n".join(lines))
    options = [option for file in files for option in ("--file", file)]
    done = run(
        of_venv("docker-compose"), *options, "config", "--format", "json", folder=folder / "deploy"
    )
    return json.loads(done.stdout)["services"] if done.returncode == 0 else done.stderr
