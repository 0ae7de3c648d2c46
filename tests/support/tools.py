"""Programs that tests run."""

import json
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.project import ROOT

DEPLOY = ROOT / "deploy"
VARIABLES = """
POSTGRES_PASSWORD=letters
RABBITMQ_PASSWORD=digits
DJANGO_SECRET_KEY=x
CREDENTIALS_KEYS=y
DJANGO_ALLOWED_HOSTS=voices.example.com
"""

# Debian puts only wrappers of PostgreSQL's programs on PATH.
POSTGRESQL = sorted(map(str, Path("/usr/lib/postgresql").glob("*/bin")), reverse=True)
PATH = os.pathsep.join([*POSTGRESQL, os.environ["PATH"], "/usr/sbin"])


def run(*command: str, folder: Path = ROOT, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        cwd=folder,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )


def shell(command: str, folder: Path, **environment: str) -> None:
    """Run a command from the documentation."""
    command = command.replace("python ", f"{shlex.quote(sys.executable)} ", 1)
    done = run("sh", "-ec", command, folder=folder, PATH=PATH, **environment)
    assert done.returncode == 0, done.stderr


def find(program: str, packages: str = "") -> str:
    """Return the path of a system program, or skip the test."""
    install = f"apt-get install --no-install-recommends {packages or program}"
    return shutil.which(program, path=PATH) or pytest.skip(f"{program} is missing: {install}")


def of_venv(program: str) -> str:
    """Return the path of a program of requirements-dev.txt."""
    return str(Path(sys.executable).parent / program)


def compose(folder: Path, *files: str) -> Any:
    """Return the services that docker reads from compose files."""
    shutil.copytree(DEPLOY, folder / "deploy", dirs_exist_ok=True)
    (folder / "deploy/.env").write_text(VARIABLES)
    options = [option for file in files for option in ("--file", file)]
    command = (of_venv("docker-compose"), *options, "config", "--format", "json")
    return json.loads(run(*command, folder=folder / "deploy").stdout)["services"]
