"""What deploy/ holds, as the tools that will read it see it; tests/nightly builds the image and runs it."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.nginx import find
from tests.support.project import ROOT, on_postgresql

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


def test_compose_runs_all_that_there_is(tmp_path: Path) -> None:
    services = compose(tmp_path, "compose.yaml")
    ours = {"migrate", "web", "worker", "beat"}
    assert services.keys() == ours | {"nginx", "postgres", "redis"}
    for name in ours:
        service = services[name]
        assert service["image"] == "voices-sync"
        assert (service["user"], service["read_only"]) == ("10001:10001", True)
        assert service["environment"]["DATABASE_URL"].startswith(
            "postgres://voices:letters@postgres"
        )
        assert service["environment"]["CELERY_BROKER_URL"] == "redis://redis:6379/0"
        assert service["environment"]["CREDENTIALS_KEYS"] == "y"
        restarts = "no" if name == "migrate" else "unless-stopped"
        assert service["restart"] == restarts
    for name in ("web", "worker", "beat"):
        after = services[name]["depends_on"]
        assert after["migrate"]["condition"] == "service_completed_successfully"
    assert [name for name in services if "ports" in services[name]] == ["nginx"]
    for name in ("nginx", "postgres", "redis"):
        assert services[name]["healthcheck"]["test"]


def test_rabbitmq_comes_by_one_more_file(tmp_path: Path) -> None:
    services = compose(tmp_path, "compose.yaml", "compose.rabbitmq.yaml")
    assert "rabbitmq" in services
    for name in ("migrate", "web", "worker", "beat"):
        url = "amqp://voices:digits@rabbitmq:5672//"
        assert services[name]["environment"]["CELERY_BROKER_URL"] == url
    for name in ("web", "worker", "beat"):
        after = services[name]["depends_on"]
        assert {"migrate", "redis", "rabbitmq"} <= after.keys()


def test_compose_says_what_is_missing(tmp_path: Path) -> None:
    said = compose(tmp_path, "compose.yaml", POSTGRES_PASSWORD="")
    assert "POSTGRES_PASSWORD" in said
    assert "set it in deploy/.env" in said


def test_the_changes_that_compose_makes_to_nginx_s_configuration_are_made(tmp_path: Path) -> None:
    command = compose(tmp_path, "compose.yaml")["nginx"]["command"][-1]
    [there] = re.findall(r"sed 's/(.*?)/web:8000/'", command)
    assert (DEPLOY / "nginx.conf").read_text().count(f"server {there};") == 1


def test_the_dockerfile_has_no_faults() -> None:
    done = run(of_venv("hadolint"), "deploy/Dockerfile")
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.parametrize("kind", ["web", "worker", "beat"])
def test_systemd_takes_the_units(tmp_path: Path, kind: str) -> None:
    analyze = find("systemd-analyze", "apt-get install systemd")
    unit = tmp_path / f"voices-{kind}.service"
    text = (DEPLOY / "systemd" / unit.name).read_text()
    [program] = re.findall(r"^ExecStart=/opt/voices-sync/.venv/bin/(\S+)", text, re.MULTILINE)
    unit.write_text(text.replace("/opt/voices-sync/.venv/bin/", f"{of_venv('')}/"))
    assert Path(of_venv(program)).exists()
    done = run(analyze, "verify", str(unit))
    assert (done.returncode, done.stderr) == (0, "")


@on_postgresql
def test_the_release_before_goes_on_while_migrations_run() -> None:
    """SQLite makes whole tables anew: there, everything is stopped for an upgrade."""
    command = ("-m", "django", "lintmigrations", "--settings=tests.settings", "--no-cache")
    done = run(sys.executable, *command, "--include-apps", "agencies", "operations", "voices")
    assert (done.returncode, "Erroneous migrations: 0/" in done.stdout) == (0, True), done.stdout
