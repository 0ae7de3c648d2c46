"""The files in deploy/, read by the tools that use them. tests/nightly builds and runs the image."""

import re
import shutil
import subprocess
from pathlib import Path

from django.conf import settings

from tests.support.nginx import CONFIGURATION
from tests.support.project import ROOT, on_sqlite
from tests.support.tools import DEPLOY, compose, find, of_venv, run

pytestmark = on_sqlite  # about no database


def test_compose_runs_every_process(tmp_path: Path) -> None:
    services = compose(tmp_path, "compose.yaml")
    own = {"migrate", "web", "worker", "beat"}
    assert services.keys() == own | {"nginx", "postgres", "redis"}
    for name in own:
        service = services[name]
        assert (service["user"], service["read_only"]) == ("10001:10001", True)
        assert service["environment"]["DATABASE_URL"].startswith(
            "postgres://voices:letters@postgres"
        )
        assert service["environment"]["CELERY_BROKER_URL"] == "redis://redis:6379/0"
        assert service["restart"] == ("no" if name == "migrate" else "unless-stopped")
    assert [name for name in services if "ports" in services[name]] == ["nginx"]
    command = services["nginx"]["command"][-1]
    [upstream] = re.findall(r"sed 's/(.*?)/web:8000/'", command)
    assert CONFIGURATION.count(f"server {upstream};") == 1


def test_compose_with_rabbitmq(tmp_path: Path) -> None:
    services = compose(tmp_path, "compose.yaml", "compose.rabbitmq.yaml")
    for name in ("web", "worker", "beat"):
        url = "amqp://voices:digits@rabbitmq:5672//"
        assert services[name]["environment"]["CELERY_BROKER_URL"] == url
        assert {"migrate", "redis", "rabbitmq"} <= services[name]["depends_on"].keys()


def test_compose_names_missing_variable(tmp_path: Path) -> None:
    assert "set it in deploy/.env" in compose(tmp_path, "compose.yaml", POSTGRES_PASSWORD="")


def test_hadolint_accepts_the_dockerfile() -> None:
    done = run(of_venv("hadolint"), "deploy/Dockerfile")
    assert (done.returncode, done.stdout) == (0, "")


def test_systemd_accepts_the_units(tmp_path: Path) -> None:
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
    for addition in ("", "Restart=perhaps\n"):  # the second shows that common.conf is read
        common.write_text(common.read_text() + addition)
        done = run(analyze, "verify", *map(str, units))
        assert bool(done.stderr) == bool(addition), done.stderr


# Threads and seconds


def gunicorn_setting(name: str) -> int:
    command = [of_venv("gunicorn"), "--config", "gunicorn.conf.py", "--print-config"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return int(re.findall(rf"^{name} += (\d+)$", done.stdout, re.MULTILINE)[0])


def nginx_setting(name: str) -> int:
    return int(re.findall(rf"^\s*{name} (\d+)s;", CONFIGURATION, re.MULTILINE)[0])


def test_syncs_and_previews_leave_threads_for_other_requests() -> None:
    assert settings.SYNC_SLOTS >= 20  # that many syncs at once always fit
    assert gunicorn_setting("threads") > settings.SYNC_SLOTS + settings.PREVIEW_SLOTS


def test_gunicorn_keeps_connections_longer_than_nginx() -> None:
    assert gunicorn_setting("keepalive") > nginx_setting("keepalive_timeout")


def test_web_server_may_finish_syncs(tmp_path: Path) -> None:
    seconds = gunicorn_setting("graceful_timeout")
    assert settings.ULTRAVOX_DEADLINE < seconds < nginx_setting("proxy_read_timeout")
    assert seconds < stop_seconds("web", tmp_path)


def test_worker_may_finish_syncs(tmp_path: Path) -> None:
    assert stop_seconds("worker", tmp_path) > settings.BACKGROUND_DEADLINE + 30


def stop_seconds(name: str, folder: Path) -> int:
    """Return the seconds that systemd and docker wait before SIGKILL."""
    unit = (DEPLOY / f"systemd/voices-{name}.service").read_text()
    [systemd] = re.findall(r"^TimeoutStopSec=(\d+)$", unit, re.MULTILINE)
    docker = compose(folder, "compose.yaml")[name]["stop_grace_period"]
    [(minutes, seconds)] = re.findall(r"^(?:(\d+)m)?(\d+)s$", docker)
    assert int(systemd) == 60 * int(minutes or 0) + int(seconds)
    return int(systemd)
