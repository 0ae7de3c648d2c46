"""Every command in docs/operations.md works, or, if it would change this machine, is valid."""

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command

from tests.support.project import ROOT, Project, on_sqlite
from tests.support.tools import compose, find, of_venv, run, shell

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


@on_sqlite  # tests/integration runs the commands on both databases
@pytest.mark.usefixtures("agency", "ultravox")
def test_commands_of_manage_py_work(monkeypatch: pytest.MonkeyPatch, settings: Any) -> None:
    monkeypatch.setenv("DJANGO_SUPERUSER_PASSWORD", "a password")
    settings.ADMINS = [("Ada", "ada@example.com")]
    assert len(MANAGE) > 5
    for line in sorted(MANAGE - {"doctor"}):  # test_doctor.py runs it
        name, *options = line.split()
        if name == "createsuperuser":
            options += ["--noinput", "--email=ada@example.com"]
        call_command(name, *options)


def test_backup_is_restored(before: Project, tmp_path: Path) -> None:
    def run_command(start: str) -> None:
        command = next(command for command in COMMANDS if command.startswith(f"{start} "))
        shell(command, tmp_path, DATABASE_URL=before.database.url)

    rows = "SELECT * FROM ultravox_voices ORDER BY id"
    voices = before.database.rows(rows)
    assert len(voices) == 300
    if before.database.is_postgresql:
        find("pg_dump", "postgresql-client")
        run_command("pg_dump")
        before.database.rows("DELETE FROM ultravox_voices")
        before.database.rows("DROP TABLE agencies CASCADE")
        run_command("pg_restore")
    else:
        run_command("python -c")
        for file in tmp_path.glob("db.sqlite3*"):
            file.unlink()
        (tmp_path / "voices.sqlite3").rename(tmp_path / "db.sqlite3")
    assert before.database.rows(rows) == voices
    done = before.manage("sync_voices")  # reads the agency's key
    assert done.stdout == "Synced 300 voices from Ultravox\n", done.stderr


@on_sqlite
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


@on_sqlite
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
