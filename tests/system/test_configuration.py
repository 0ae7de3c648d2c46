"""The settings, as an operator's environment and `.env` make them."""

import json
import logging
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.environment import CREDENTIALS_KEY, ENVIRONMENT
from tests.support.project import ROOT, free_port

SHOW = """
import json, sys
from voiceproject import settings
print(json.dumps({name: getattr(settings, name) for name in sys.argv[1:]}))
"""
SECRET = "the-secret-key-of-these-tests-0123456789-abcdefghijklmnopqrstuvwxyz"


def run(
    *command: str, environment: dict[str, str] | None = None, folder: Path = ROOT
) -> subprocess.CompletedProcess[str]:
    """Run the tests' Python under their environment, or under another one."""
    given = ENVIRONMENT if environment is None else environment
    kept = {name: value for name, value in os.environ.items() if name not in ENVIRONMENT}
    kept.pop("DJANGO_SETTINGS_MODULE", None)
    return subprocess.run(
        [sys.executable, *command],
        cwd=folder,
        env=kept | given,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def show(*names: str, folder: Path = ROOT, **environment: str) -> dict[str, Any]:
    """Return settings of a process with these variables and no others."""
    done = run("-c", SHOW, *names, environment=environment, folder=folder)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A project root of the test's own, for a `.env` of its own."""
    for name in ("voiceproject", "agencies", "voices", "manage.py"):
        source = ROOT / name
        if source.is_dir():
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(source, tmp_path / name, ignore=ignored)
        else:
            shutil.copy(source, tmp_path / name)
    return tmp_path


# Starting, or refusing to


@pytest.mark.parametrize("secret", [{}, {"DJANGO_SECRET_KEY": ""}])
@pytest.mark.parametrize("command", ["check", "migrate", "sync_voices"])
def test_no_start_without_the_secret_key(clone: Path, secret: dict[str, str], command: str) -> None:
    done = run("manage.py", command, environment=secret, folder=clone)
    assert done.returncode == 1
    assert done.stdout == ""
    (line,) = done.stderr.strip().splitlines()
    assert "DJANGO_SECRET_KEY is not set" in line
    assert "DJANGO_DEBUG" in line


@pytest.mark.parametrize(
    "command",
    [
        ("-m", "gunicorn", "--config", "gunicorn.conf.py", "--bind=127.0.0.1:{port}"),
        ("-m", "celery", "-A", "voiceproject", "report"),
    ],
    ids=["gunicorn", "celery"],
)
def test_nothing_else_starts_without_it(command: tuple[str, ...]) -> None:
    port = str(free_port())
    environment = ENVIRONMENT | {"DJANGO_SECRET_KEY": ""}
    done = run(*[part.format(port=port) for part in command], environment=environment)
    assert done.returncode != 0
    assert "DJANGO_SECRET_KEY is not set" in done.stdout + done.stderr


def test_a_start_without_it_for_nobody_else(clone: Path) -> None:
    shown = show("DEBUG", "SECRET_KEY", folder=clone, DJANGO_DEBUG="true")
    assert shown["DEBUG"] is True
    assert shown["SECRET_KEY"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DJANGO_DEBUG", "perhaps"),
        ("DJANGO_TRUSTED_PROXIES", "two"),
        ("DJANGO_TRUSTED_PROXIES", "-1"),
        ("DJANGO_LOG_LEVEL", "loud"),
        ("DATABASE_URL", "db.sqlite3"),
        ("CACHE_URL", "redis"),
        ("ULTRAVOX_TIMEOUT", "ten seconds"),
        ("ULTRAVOX_DEADLINE", "1,5"),
        ("ULTRAVOX_DEADLINE", "0"),
        ("ULTRAVOX_MAX_PAGES", "1.5"),
        ("RATE_LIMIT_SYNC", "many"),
        ("RATE_LIMIT_TOKEN", "0/min"),
        ("RATE_LIMIT_FAILED", "5/fortnight"),
        ("LOGIN_FAILURES", "many"),
        ("LOGIN_LOCK_MINUTES", "-5"),
    ],
)
def test_a_malformed_value_is_named_in_one_line(name: str, value: str) -> None:
    done = run("manage.py", "check", environment=ENVIRONMENT | {name: value})
    assert done.returncode == 1
    (line,) = done.stderr.strip().splitlines()
    assert name in line


@pytest.mark.parametrize("value", ["", "not-a-key"])
def test_the_keys_of_credentials_are_checked_at_the_start(value: str) -> None:
    done = run("manage.py", "check", environment=ENVIRONMENT | {"CREDENTIALS_KEYS": value})
    assert done.returncode == 1
    assert "CREDENTIALS_KEYS" in done.stderr
    assert "Fernet.generate_key()" in done.stderr
    assert "Traceback" not in done.stderr
    assert "not-a-key" not in done.stderr


# What is written loosely


LOOSE = {
    "DJANGO_SECRET_KEY": SECRET,
    "DJANGO_ALLOWED_HOSTS": " voices.example.com ,localhost , ",
    "CREDENTIALS_KEYS": f" {CREDENTIALS_KEY} , {CREDENTIALS_KEY},",
    "SERVICE_API_KEYS": " one ,two,, three ",
    "SUPABASE_URL": " https://abcdefgh.supabase.co/ ",
    "ULTRAVOX_API_URL": "https://api.example.com/base// ",
    "CORS_ALLOWED_ORIGINS": " https://a.example.com/ ,http://localhost:3000 , ",
}
NEAT = {
    "ALLOWED_HOSTS": ["voices.example.com", "localhost"],
    "CREDENTIALS_KEYS": [CREDENTIALS_KEY, CREDENTIALS_KEY],
    "SERVICE_API_KEYS": ["one", "two", "three"],
    "SUPABASE_URL": "https://abcdefgh.supabase.co",
    "ULTRAVOX_API_URL": "https://api.example.com/base",
    "CORS_ALLOWED_ORIGINS": ["https://a.example.com", "http://localhost:3000"],
}


def test_spaces_and_slashes_in_the_environment(clone: Path) -> None:
    assert show(*NEAT, folder=clone, **LOOSE) == NEAT


@pytest.mark.parametrize("quote", ["", '"', "'"])
def test_spaces_and_slashes_in_the_file(clone: Path, quote: str) -> None:
    lines = ["# A comment", "", *(f"{name}={quote}{value}{quote}" for name, value in LOOSE.items())]
    (clone / ".env").write_text("\n".join(lines) + "\n")
    assert show(*NEAT, folder=clone) == NEAT


def test_the_environment_wins_over_the_file(clone: Path) -> None:
    (clone / ".env").write_text(
        f"DJANGO_SECRET_KEY={SECRET}\nULTRAVOX_TIMEOUT=3\nDJANGO_DEBUG=on\n"
    )
    shown = show("ULTRAVOX_TIMEOUT", "DEBUG", folder=clone, ULTRAVOX_TIMEOUT="4.5")
    assert shown == {"ULTRAVOX_TIMEOUT": 4.5, "DEBUG": True}


@pytest.mark.parametrize(
    "unset", [{}, dict.fromkeys(ENVIRONMENT, ""), dict.fromkeys(ENVIRONMENT, " ")]
)
def test_defaults(clone: Path, unset: dict[str, str]) -> None:
    unset = {name: value for name, value in unset.items() if name != "DJANGO_SETTINGS_MODULE"}
    shown = show(
        "DEBUG", "ALLOWED_HOSTS", "CREDENTIALS_KEYS", "SERVICE_API_KEYS", "SUPABASE_URL",
        "SUPABASE_JWT_SECRET", "ULTRAVOX_API_URL", "ULTRAVOX_TIMEOUT", "ULTRAVOX_DEADLINE",
        "CORS_ALLOWED_ORIGINS", "CORS_ALLOW_ALL_ORIGINS", "HTTPS", "TRUSTED_PROXIES", "LOG_LEVEL",
        "CELERY_BROKER_URL", "RATE_LIMIT_SYNC", "LOGIN_FAILURES",
        folder=clone, **unset | {"DJANGO_SECRET_KEY": SECRET},
    )  # fmt: skip
    assert shown == {
        "DEBUG": False,
        "ALLOWED_HOSTS": ["localhost", "127.0.0.1"],
        "CREDENTIALS_KEYS": [],
        "SERVICE_API_KEYS": [],
        "SUPABASE_URL": "",
        "SUPABASE_JWT_SECRET": "",
        "ULTRAVOX_API_URL": "https://api.ultravox.ai",
        "ULTRAVOX_TIMEOUT": 10,
        "ULTRAVOX_DEADLINE": 50,
        "CORS_ALLOWED_ORIGINS": [],
        "CORS_ALLOW_ALL_ORIGINS": False,
        "HTTPS": False,
        "TRUSTED_PROXIES": 0,
        "LOG_LEVEL": logging.INFO,
        "CELERY_BROKER_URL": "filesystem://",
        "RATE_LIMIT_SYNC": "600/min",
        "LOGIN_FAILURES": 10,
    }
