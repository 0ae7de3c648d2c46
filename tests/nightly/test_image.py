"""The image of deploy/Dockerfile: built, and what it holds run as its user would.

buildah does both in chroots, without a daemon. An image of Debian's Python, made by debootstrap, stands in
for the official one: no registry is needed.
"""

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.support.environment import ENVIRONMENT, SERVICE_KEY
from tests.support.project import ROOT, Project, free_port, wait_for
from tests.support.seeding import add_agency
from tests.support.tools import find
from tests.ultravox import Ultravox

pytestmark = pytest.mark.nightly

BASE = "docker.io/library/python:3.11-slim-bookworm"
PACKAGES = "ca-certificates,python3,python3-venv"
TLS = "/etc/ssl/certs:/etc/ssl/certs:ro"  # for pip, wherever that is
CODE = ("agencies", "operations", "voiceproject", "voices")
SECRET = "a-secret-of-dot-env"
HOST = {"Host": "voices.example.com"}


class Image:
    """The image, in a store of its own, and a container of it."""

    def __init__(self, folder: Path) -> None:
        stores = ("--root", str(folder / "storage"), "--runroot", str(folder / "run"))
        self._buildah = [find("buildah", "buildah crun"), *stores, "--storage-driver", "vfs"]
        self._make_base(folder / "base")
        self._copy_context(folder / "context")
        options = ("--quiet", "--format", "docker", "--isolation", "chroot", "--pull-never")
        dockerfile = str(folder / "context/deploy/Dockerfile")
        context = str(folder / "context")
        self("bud", *options, "--volume", TLS, "--file", dockerfile, "--tag", "app", context)
        inspected = json.loads(self("inspect", "--type", "image", "app"))
        self.config: dict[str, Any] = inspected["Docker"]["config"]
        self.container = self("from", "--pull-never", "app")
        self.files = Path(self("mount", self.container))

    def __call__(self, *arguments: str) -> str:
        return run(*self._buildah, *arguments)

    def line(self, *command: str, **environment: str) -> list[str]:
        """Return the line that runs a command in the container, as the image's user."""
        variables = [f"--env={name}={value}" for name, value in environment.items()]
        options = ("--isolation", "chroot", "--user", self.config["User"], *variables)
        return [*self._buildah, "run", *options, self.container, "--", *command]

    def _make_base(self, folder: Path) -> None:
        debootstrap = find("debootstrap")
        options = ("--variant=minbase", f"--include={PACKAGES}", "bookworm")
        run(debootstrap, *options, str(folder))
        (folder / "usr/local/bin/python").symlink_to("/usr/bin/python3")
        container = self("from", "scratch")
        self("add", "--quiet", container, str(folder), "/")
        self("commit", "--quiet", "--rm", container, BASE)
        shutil.rmtree(folder)

    def _copy_context(self, folder: Path) -> None:
        """Copy the project, with what must not get into the image."""
        for name in (*CODE, "deploy", "tests/support"):
            shutil.copytree(ROOT / name, folder / name)
        for name in ("manage.py", "gunicorn.conf.py", "requirements.txt", ".dockerignore"):
            shutil.copy(ROOT / name, folder)
        (folder / "manage.py").chmod(0o600)  # as where root's umask is strict
        for name in (".env", "voices/.env", "deploy/.env", "db.sqlite3"):
            (folder / name).write_text(f"A={SECRET}")


def run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout.strip()


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Image]:
    image = Image(tmp_path_factory.mktemp("image"))
    yield image
    image("umount", "--all")


def test_it_holds_what_runs_and_nothing_else(image: Image) -> None:
    assert image.config["User"] == "10001:10001"
    found = {file.name for file in (image.files / "app").iterdir()} - {"__pycache__"}
    assert found == {*CODE, "manage.py", "gunicorn.conf.py"}
    assert SECRET not in json.dumps(image.config)
    for folder in (image.files / "app", image.files / "venv"):
        assert not [file for file in folder.rglob(".env*") if file.is_file()]
        files = [(file, file.lstat()) for file in folder.rglob("*") if not file.is_symlink()]
        writable = [file for file, status in files if status.st_uid or status.st_mode & 0o022]
        assert writable == []
    for tool in ("pip", "gcc", "make"):
        places = [image.files / place / tool for place in ("venv/bin", "usr/bin")]
        assert not any(place.exists() for place in places), tool


def test_it_serves_syncs_and_tells_how_it_is(
    image: Image, project: Callable[..., Project], ultravox: Ultravox
) -> None:
    site = project()
    add_agency(site)
    if not site.database.is_postgresql:
        pytest.skip("The container has its own file system: run with DATABASE_URL=postgres://...")
    environment = ENVIRONMENT | {
        "DATABASE_URL": site.database.url,
        "DJANGO_ALLOWED_HOSTS": HOST["Host"],
        "DJANGO_HTTPS": "",
        "DJANGO_TRUSTED_PROXIES": "1",
        "ULTRAVOX_API_URL": ultravox.url,
        "LOG_FORMAT": "json",
    }
    del environment["PREVIEW_FOLDER"]  # the image's own

    def manage(*arguments: str) -> str:
        return run(*image.line("python", "manage.py", *arguments, **environment))

    started = []

    def start(log: str, *command: str) -> None:
        with (site.folder / f"{log}.log").open("w") as file:
            line = image.line(*command, **environment)
            started.append(subprocess.Popen(line, stdout=subprocess.DEVNULL, stderr=file))

    began = time.time()
    manage("check", "--deploy", "--fail-level", "WARNING")
    manage("migrate")
    site.sync_every(1)
    here = f"127.0.0.1:{free_port()}"
    url = f"http://{here}"
    try:
        start("web", *(part.replace("0.0.0.0:8000", here) for part in image.config["Cmd"]))
        start("beat", "celery", "--quiet", "--app", "voiceproject", "beat", "--loglevel", "INFO")

        def ready() -> dict[str, str]:
            try:
                return dict(requests.get(f"{url}/readyz", timeout=5).json()["checks"])
            except requests.ConnectionError:
                return {}

        wait_for(lambda: ready().get("database") == "ok", 60, "the web server")
        kind, *check = image.config["Healthcheck"]["Test"]
        assert kind == "CMD"
        run(*image.line(*(part.replace("127.0.0.1:8000", here) for part in check), **environment))
        headers = HOST | {"apikey": SERVICE_KEY, "X-Forwarded-Proto": "https"}
        answer = requests.post(f"{url}/functions/v1/voices-sync", headers=headers, timeout=60)
        assert answer.json()["stats"] == {"synced": 300}
        assert "Synced 300 voices" in manage("sync_voices")
        wait_for(lambda: "trigger=schedule" in site.log("beat"), 60, "a scheduled sync")
        assert set(ready().values()) == {"ok", "unused"}
        assert "FAULT" not in manage("doctor")
        manage("prune")
    finally:
        for process in started:
            process.send_signal(signal.SIGTERM)
        for process in started:
            process.wait(60)
    # It needs no file system that it may write to, but for these.
    changed = [
        file
        for folder, _, names in os.walk(image.files)
        for file in (Path(folder, name).relative_to(image.files) for name in names)
        if (image.files / file).lstat().st_mtime > began
    ]
    places = {file.parts[0] for file in changed}
    assert places <= {"tmp", "data", "run", "dev", "etc"}, changed
