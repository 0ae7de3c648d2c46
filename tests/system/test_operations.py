"""Every command in docs/operations.md works, or, if it would change this machine, is valid."""

import re
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command

from tests.support.project import ROOT, Project, on_sqlite
from tests.support.tools import compose, find, shell

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
        words = re.sub("--scale |=3", "", command).split()[1:]
        names = [word for word in words if not word.startswith("-")]
        assert set(names[:1] if verb == "exec" else names) <= services.keys(), command


@on_sqlite
def test_commands_of_the_system_name_existing_files_and_units() -> None:
    commands = re.findall(
        r"^ {4}(?:cp|install|systemctl|python3|\.venv/bin/pip) .*", TEXT, re.MULTILINE
    )
    files = set(re.findall(r" (deploy/[a-z.]+|requirements\S+|\.env\.\w+)", " ".join(commands)))
    units = set(re.findall(r" (voices-[a-z]+)", " ".join(commands)))
    assert (len(commands), len(files), len(units)) > (5, 2, 2)
    assert all((ROOT / file).exists() for file in files - {"deploy/.env"})
    assert all((ROOT / f"deploy/systemd/{unit}.service").exists() for unit in units)
