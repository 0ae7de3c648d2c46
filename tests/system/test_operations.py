"""Every command of docs/operations.md is run, or, where it would change this machine, read by its program."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.project import ROOT, Database, Project, on_sqlite, own_project
from tests.support.tools import compose, find, of_venv, run, shell
from tests.ultravox import Ultravox

TEXT = (ROOT / "docs/operations.md").read_text()
PROGRAMS = (
    "cp",
    "docker",
    "git",
    "install",
    "pg_dump",
    "pg_restore",
    "python",
    "python3",
    "sudo",
    "systemctl",
    "useradd",
    ".venv/bin/pip",
)
COMMANDS = sorted(
    {
        line.partition("    #")[0].strip()
        for line in re.findall(r"^    (\S.*)$", TEXT, re.MULTILINE)
        if line.split()[0] in PROGRAMS
    }
    | {
        command
        for command in re.findall(r"`((?:python )?manage\.py .+?)`", TEXT)
        if "..." not in command
    }
)
MANAGE = re.compile(r"(?:.*\bpython )?manage\.py (.+)")
DOCKER = re.compile(r"docker compose --file deploy/compose\.yaml (up|exec) (.+)")


@pytest.fixture
def site(synced: Database, ultravox: Ultravox, tmp_path: Path) -> Iterator[Project]:
    with own_project(synced, tmp_path, ULTRAVOX_API_URL=ultravox.url) as site:
        yield site


@on_sqlite  # what they do is tested on both
def test_commands_of_manage_py(site: Project) -> None:
    lines = {match[1] for command in COMMANDS if (match := MANAGE.fullmatch(command))}
    assert {line.split()[0] for line in lines} == {
        "check",
        "createsuperuser",
        "doctor",
        "migrate",
        "prune",
        "rotate_credentials",
        "sendtestemail",
        "sync_voices",
    }
    for line in sorted(lines):
        options = line.split()
        if options[0] == "createsuperuser":
            options += ["--noinput", "--email=ada@example.com"]
        done = site.manage(
            *options, DJANGO_SUPERUSER_PASSWORD="a password", ADMINS="ada@example.com"
        )
        assert done.returncode == 0, (line, done.stdout, done.stderr)


def test_a_backup_is_restored(site: Project, tmp_path: Path) -> None:
    dump, restore, vacuum = (
        next(command for command in COMMANDS if command.startswith(start))
        for start in ("pg_dump", "pg_restore", "python -c")
    )
    before = site.database.rows("SELECT * FROM ultravox_voices ORDER BY id")
    assert len(before) == 300
    if site.database.is_postgresql:
        find("pg_dump", "postgresql-client")
        shell(dump, tmp_path, DATABASE_URL=site.database.url)
        site.database.rows("DELETE FROM ultravox_voices")
        site.database.rows("DROP TABLE agencies CASCADE")
        shell(restore, tmp_path, DATABASE_URL=site.database.url)
    else:
        shell(vacuum, tmp_path)
        for file in tmp_path.glob("db.sqlite3*"):
            file.unlink()
        (tmp_path / "voices.sqlite3").rename(tmp_path / "db.sqlite3")
    assert site.database.rows("SELECT * FROM ultravox_voices ORDER BY id") == before
    done = site.manage("sync_voices")  # the key is readable
    assert done.stdout == "Synced 300 voices from Ultravox\n", done.stderr


def test_commands_of_docker_are_such_that_it_takes(tmp_path: Path) -> None:
    services = compose(tmp_path, "compose.yaml")
    seen = set()
    for command in COMMANDS:
        if not command.startswith("docker"):
            continue
        match = DOCKER.fullmatch(command)
        assert match, command
        verb, rest = match.groups()
        seen.add(verb)
        usage = run(of_venv("docker-compose"), verb, "--help").stdout
        words = shlex.split(rest.partition(" > ")[0])
        for position, word in enumerate(words):
            if word.startswith("-"):
                assert re.search(rf"^\s+(-\w, )?{word}\b|\s{word},", usage, re.MULTILINE), command
            elif verb == "exec":
                assert word in services
                assert words[position + 1] in ("python", "pg_dump")
                break
            else:
                assert re.fullmatch(r"worker=\d", word)
    assert seen == {"up", "exec"}


def test_commands_of_the_system_name_what_there_is() -> None:
    rest = [
        command
        for command in COMMANDS
        if not (MANAGE.fullmatch(command) or command.startswith(("docker", "pg_", "python -c")))
    ]
    units = {file.stem for file in (ROOT / "deploy/systemd").glob("*.service")}
    for command in rest:
        words = shlex.split(command)
        files = {word for word in words if re.match(r"deploy/|requirements|\.env", word)}
        for file in files - {"deploy/.env", ".env"}:
            assert list(ROOT.glob(file)), command
        if words[0] == "systemctl":
            assert {word for word in words if word.startswith("voices")} <= units, command
    assert len(rest) >= 8
