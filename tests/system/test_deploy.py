"""The files in deploy/, read by the tools that use them. tests/nightly builds and runs the image."""

import re
import shutil
from pathlib import Path

from django.conf import settings

from tests.support.nginx import CONFIGURATION
from tests.support.project import on_sqlite
from tests.support.tools import DEPLOY, compose, find, of_venv, run

pytestmark = on_sqlite  # about no database


def test_compose_runs_every_process(tmp_path: Path) -> None:
    services = compose(tmp_path, "compose.yaml")
    own = {"migrate", "web", "worker", "beat"}
    assert services.keys() == own | {"nginx", "postgres", "redis"}
    for name in own:
        service = services[name]
        environment = service["environment"]
        assert (service["user"], service["read_only"]) == ("10001:10001", True)
        assert environment["DATABASE_URL"].startswith("postgres://voices:letters@postgres")
        assert environment["CELERY_BROKER_URL"] == "redis://redis:6379/0"
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
    common = (tmp_path / "voices-.service.d/common.conf").read_text()
    assert {"Restart=always", "StartLimitIntervalSec=0"} <= set(common.splitlines())
    assert run(analyze, "verify", *map(str, units)).stderr == ""


def test_threads_and_seconds_match(tmp_path: Path) -> None:
    command = [of_venv("gunicorn"), "--config", "gunicorn.conf.py", "--print-config"]
    gunicorn = dict(re.findall(r"^(\w+) += (\d+)$", run(*command).stdout, re.MULTILINE))
    nginx = dict(re.findall(r"^\s*(\w+) (\d+)s;", CONFIGURATION, re.MULTILINE))
    assert int(gunicorn["keepalive"]) > int(nginx["keepalive_timeout"])
    # Twenty syncs at once always fit, and leave threads for other requests.
    assert settings.SYNC_SLOTS >= 20
    assert int(gunicorn["threads"]) > settings.SYNC_SLOTS + settings.PREVIEW_SLOTS
    # Web servers and workers may finish their syncs.
    seconds = int(gunicorn["graceful_timeout"])
    assert settings.ULTRAVOX_DEADLINE < seconds < int(nginx["proxy_read_timeout"])
    assert seconds < stop_seconds("web", tmp_path)
    assert stop_seconds("worker", tmp_path) > settings.BACKGROUND_DEADLINE + 30


def stop_seconds(name: str, folder: Path) -> int:
    """Return the seconds that systemd and docker wait before SIGKILL."""
    unit = (DEPLOY / f"systemd/voices-{name}.service").read_text()
    [systemd] = re.findall(r"^TimeoutStopSec=(\d+)$", unit, re.MULTILINE)
    docker = compose(folder, "compose.yaml")[name]["stop_grace_period"]
    [(minutes, seconds)] = re.findall(r"^(?:(\d+)m)?(\d+)s$", docker)
    assert int(systemd) == 60 * int(minutes or 0) + int(seconds)
    return int(systemd)
