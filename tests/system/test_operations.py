"""Every command in docs/operations.md works, or, if it would change this machine, is valid."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.project import ROOT, Database, Project, on_sqlite, own_project
from tests.support.tools import compose, find, of_venv, run, shell
from tests.ultravox import Ultravox

TEXT = (ROOT / "docs/operations.md").read_text()
COMMANDS = {
    line.partition("    #")[0].strip()
    for lines in re.findall(r"^    (\S.*)$|`([^`\n]+)`", TEXT, re.MULTILINE)
    for line in lines
    if "..." not in line
}
MANAGE = {
    match[1]
    for command in COMMANDS
    if (match := re.fullmatch(r"(?:.*\bpython )?manage\.py (.+)", command))
}
DOCKER = {
    match[1]: match[2]
    for command in COMMANDS
    if (match := re.fullmatch(r"docker compose --file deploy/compose\.yaml ((\w+) .+)", command))
}


@pytest.fixture
def site(synced: Database, ultravox: Ultravox, tmp_path: Path) -> Iterator[Project]:
    with own_project(synced, tmp_path, ULTRAVOX_API_URL=ultravox.url) as site:
        yield site


@on_sqlite  # other tests run the commands on both databases
def test_commands_of_manage_py_work(site: Project) -> None:
    names = {line.split()[0] for line in MANAGE}
    assert {"check", "doctor", "migrate", "rotate_credentials", "sync_voices"} <= names
    for line in sorted(MANAGE):
        options = line.split()
        if options[0] == "createsuperuser":
            options += ["--noinput", "--email=ada@example.com"]
        done = site.manage(
            *options, DJANGO_SUPERUSER_PASSWORD="a password", ADMINS="ada@example.com"
        )
        assert done.returncode == 0, (line, done.stdout, done.stderr)


def test_backup_is_restored(site: Project, tmp_path: Path) -> None:
    def command(start: str) -> str:
        return next(command for command in COMMANDS if command.startswith(f"{start} "))

    rows = "SELECT * FROM ultravox_voices ORDER BY id"
    before = site.database.rows(rows)
    assert len(before) == 300
    if site.database.is_postgresql:
        find("pg_dump", "postgresql-client")
        shell(command("pg_dump"), tmp_path, DATABASE_URL=site.database.url)
        site.database.rows("DELETE FROM ultravox_voices")
        site.database.rows("DROP TABLE agencies CASCADE")
        shell(command("pg_restore"), tmp_path, DATABASE_URL=site.database.url)
    else:
        shell(command("python -c"), tmp_path)
        for file in tmp_path.glob("db.sqlite3*"):
            file.unlink()
        (tmp_path / "voices.sqlite3").rename(tmp_path / "db.sqlite3")
    assert site.database.rows(rows) == before
    done = site.manage("sync_voices")  # reads the agency's key
    assert done.stdout == "Synced 300 voices from Ultravox\n", done.stderr


def test_commands_of_docker_are_valid(tmp_path: Path) -> None:
    services = compose(tmp_path, "compose.yaml")
    assert set(DOCKER.values()) >= {"up", "exec"}
    for command, verb in DOCKER.items():
        usage = run(of_venv("docker-compose"), verb, "--help").stdout
        words = shlex.split(command.partition(" > ")[0])[1:]
        while words and words[0].startswith("-"):
            option = words.pop(0).partition("=")[0]
            assert re.search(rf"^\s+(-\w, )?{option}\b|\s{option},", usage, re.MULTILINE), command
            if option == "--scale":
                words[0] = words[0].partition("=")[0]
        for word in words[:1] if verb == "exec" else words:
            assert word in services, command


def test_commands_of_the_system_name_existing_files_and_units() -> None:
    units = {file.stem for file in (ROOT / "deploy/systemd").glob("*.service")}
    commands = [
        shlex.split(command)
        for command in COMMANDS
        if re.match(r"(cp|install|systemctl|python3|\.venv/bin/pip) ", command)
    ]
    assert len(commands) >= 6
    for words in commands:
        files = {word for word in words if re.match(r"deploy/|requirements|\.env\.", word)}
        assert all((ROOT / file).exists() for file in files - {"deploy/.env"}), words
        if words[0] == "systemctl":
            assert {word for word in words if word.startswith("voices")} <= units, words
