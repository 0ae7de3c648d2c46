"""The image of deploy/Dockerfile: build it, and run its processes as its user.

buildah needs no daemon, and chroot isolation no container runtime. Debian's Python, installed by debootstrap,
replaces the official image, so that no registry is needed.
"""

import json
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.support.environment import ENVIRONMENT, SERVICE_KEY
from tests.support.project import ROOT, Project, free_port, on_postgresql, wait_for
from tests.support.seeding import add_agency
from tests.support.tools import find, run
from tests.ultravox import Ultravox

pytestmark = pytest.mark.nightly

BASE = "docker.io/library/python:3.11-slim-bookworm"
PACKAGES = "ca-certificates,python3,python3-venv"
TLS = "/etc/ssl/certs:/etc/ssl/certs:ro"  # for pip
SECRET = "a-secret-in-dot-env"
HOST = {"Host": "voices.example.com"}


class Image:
    """The image, and a container of it, in their own storage."""

    def __init__(self, folder: Path) -> None:
        storage = ("--root", str(folder / "storage"), "--runroot", str(folder / "run"))
        self._buildah = [find("buildah", "buildah crun"), *storage, "--storage-driver", "vfs"]
        self._create_base(folder / "base")
        context = folder / "context"
        ignored = shutil.ignore_patterns(".git", ".venv*", ".*_cache", "node_modules")
        shutil.copytree(ROOT, context, ignore=ignored)
        (context / "manage.py").chmod(0o600)  # like a clone by root with a strict umask
        for name in (".env", "voices/.env", "deploy/.env", "db.sqlite3"):
            (context / name).write_text(f"A={SECRET}")
        options = ("--quiet", "--format", "docker", "--isolation", "chroot", "--pull-never")
        dockerfile = str(context / "deploy/Dockerfile")
        self("bud", *options, "-v", TLS, "--file", dockerfile, "--tag", "app", str(context))
        inspected = json.loads(self("inspect", "--type", "image", "app"))
        self.config: dict[str, Any] = inspected["Docker"]["config"]
        self.container = self("from", "--pull-never", "app")
        self.files = Path(self("mount", self.container))

    def __call__(self, *arguments: str) -> str:
        return call(*self._buildah, *arguments)

    def command(self, *arguments: str, **environment: str) -> list[str]:
        """Return the command that runs another one in the container, as the image's user."""
        variables = [f"--env={name}={value}" for name, value in environment.items()]
        options = ("--isolation", "chroot", "--user", self.config["User"], *variables)
        return [*self._buildah, "run", *options, self.container, "--", *arguments]

    def _create_base(self, folder: Path) -> None:
        options = ("--variant=minbase", f"--include={PACKAGES}", "bookworm")
        call(find("debootstrap"), *options, str(folder))
        (folder / "usr/local/bin/python").symlink_to("/usr/bin/python3")
        container = self("from", "scratch")
        self("add", "--quiet", container, str(folder), "/")
        self("commit", "--quiet", "--rm", container, BASE)
        shutil.rmtree(folder)


def call(*command: str) -> str:
    done = run(*command)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout.strip()


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Image]:
    image = Image(tmp_path_factory.mktemp("image"))
    yield image
    image("umount", "--all")


def test_image_contains_only_what_it_needs(image: Image) -> None:
    assert image.config["User"] == "10001:10001"
    names = {file.name for file in (image.files / "app").iterdir()} - {"__pycache__"}
    code = {"agencies", "operations", "ultravox", "voiceproject", "voices"}
    assert names == code | {"manage.py", "gunicorn.conf.py"}
    assert SECRET not in json.dumps(image.config)
    for folder in (image.files / "app", image.files / "venv"):
        assert not [file for file in folder.rglob(".env*") if file.is_file()]
        files = [(file, file.lstat()) for file in folder.rglob("*") if not file.is_symlink()]
        assert not [file for file, status in files if status.st_uid or status.st_mode & 0o022]


@on_postgresql  # because the container has its own files
def test_image_works_on_a_read_only_file_system(
    image: Image, project: Callable[..., Project], ultravox: Ultravox
) -> None:
    site = project()
    add_agency(site)
    site.sync_every(1)
    environment = ENVIRONMENT | {
        "DATABASE_URL": site.database.url,
        "DJANGO_ALLOWED_HOSTS": HOST["Host"],
        "DJANGO_HTTPS": "",
        "DJANGO_TRUSTED_PROXIES": "1",
        "ULTRAVOX_API_URL": ultravox.url,
    }
    del environment["PREVIEW_FOLDER"]  # the image sets it
    processes = []
    url = f"http://{(address := f'127.0.0.1:{free_port()}')}"

    def manage(*arguments: str) -> str:
        return call(*image.command("python", "manage.py", *arguments, **environment))

    def start(log: str, *command: str) -> None:
        with (site.folder / f"{log}.log").open("w") as file:
            line = image.command(*command, **environment)
            processes.append(subprocess.Popen(line, stdout=subprocess.DEVNULL, stderr=file))

    def checks() -> dict[str, str]:
        try:
            return dict(requests.get(f"{url}/readyz", timeout=5).json()["checks"])
        except requests.ConnectionError:
            return {}

    began = time.time()
    manage("check", "--deploy", "--fail-level", "WARNING")
    manage("migrate")
    try:
        start("web", *(part.replace("0.0.0.0:8000", address) for part in image.config["Cmd"]))
        start("beat", "celery", "--quiet", "-A", "voiceproject", "beat", "--loglevel", "INFO")
        wait_for(lambda: checks().get("database") == "ok", 60, "the web server")
        _, *probe = image.config["Healthcheck"]["Test"]
        probe = [part.replace("127.0.0.1:8000", address) for part in probe]
        call(*image.command(*probe, **environment))
        headers = HOST | {"apikey": SERVICE_KEY, "X-Forwarded-Proto": "https"}
        response = requests.post(f"{url}/functions/v1/voices-sync", headers=headers, timeout=60)
        assert response.json()["stats"] == {"synced": 300}
        wait_for(lambda: "trigger=schedule" in site.log("beat"), 60, "a scheduled sync")
        assert set(checks().values()) == {"ok", "unused"}
        assert "FAULT" not in manage("doctor")
    finally:
        for process in processes:
            process.terminate()
            process.wait(60)
    changed = {
        file.relative_to(image.files).parts[0]
        for file in image.files.rglob("*")
        if not file.is_dir() and file.lstat().st_mtime > began
    }
    assert changed <= {"tmp", "data", "run", "dev", "etc"}
