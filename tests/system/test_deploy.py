"""What deploy/ holds, as the tools that will read it see it; tests/nightly builds the image and runs it."""

import re
import shutil
import sys
from pathlib import Path

from tests.support.project import on_postgresql
from tests.support.tools import DEPLOY, compose, find, of_venv, run


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
    for name in ("web", "worker", "beat"):
        url = "amqp://voices:digits@rabbitmq:5672//"
        assert services[name]["environment"]["CELERY_BROKER_URL"] == url
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


def test_systemd_takes_the_units(tmp_path: Path) -> None:
    analyze = find("systemd-analyze", "systemd")
    shutil.copytree(DEPLOY / "systemd", tmp_path, dirs_exist_ok=True)
    units = [tmp_path / f"voices-{kind}.service" for kind in ("web", "worker", "beat")]
    for unit in units:
        text = unit.read_text()
        [program] = re.findall(r"^ExecStart=/opt/voices-sync/.venv/bin/(\S+)", text, re.MULTILINE)
        unit.write_text(text.replace("/opt/voices-sync/.venv/bin/", f"{of_venv('')}/"))
        assert Path(of_venv(program)).exists()
    common = tmp_path / "voices-.service.d/common.conf"
    assert {"Restart=always", "StartLimitIntervalSec=0"} <= set(common.read_text().splitlines())
    for odd in ("", "Restart=perhaps\n"):  # it is read, too
        common.write_text(common.read_text() + odd)
        done = run(analyze, "verify", *map(str, units))
        assert bool(done.stderr) == bool(odd), done.stderr


@on_postgresql
def test_the_release_before_goes_on_while_migrations_run() -> None:
    """SQLite makes whole tables anew: there, everything is stopped for an upgrade."""
    command = ("-m", "django", "lintmigrations", "--settings=tests.settings", "--no-cache")
    done = run(sys.executable, *command, "--include-apps", "agencies", "operations", "voices")
    assert (done.returncode, "Erroneous migrations: 0/" in done.stdout) == (0, True), done.stdout
