"""The settings, as an operator's environment and `.env` make them."""

import json
import logging
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import jwt
import pytest
from django.contrib.auth.hashers import PBKDF2PasswordHasher
from django.test import Client
from django.utils.module_loading import import_string

from agencies.hashers import Argon2PasswordHasher
from tests.support.answers import BOTH_SPELLINGS, REFRESH, TOKEN
from tests.support.environment import CREDENTIALS_KEY, ENVIRONMENT, OTHER_SERVICE_KEY, SERVICE_KEY
from tests.support.project import ROOT

SHOW = """
import importlib, json, os, sys
from django.core.exceptions import ImproperlyConfigured
names, environments = json.loads(sys.argv[1])
kept, shown = dict(os.environ), []
for environment in environments:
    os.environ.clear()
    os.environ.update(kept | environment)
    sys.modules.pop("voiceproject.settings", None)
    try:
        settings = importlib.import_module("voiceproject.settings")
        shown.append({name: getattr(settings, name) for name in names})
    except ImproperlyConfigured as error:
        shown.append(str(error))
print(json.dumps(shown, default=str))
"""
SECRET = {
    "DJANGO_SECRET_KEY": "the-secret-key-of-these-tests-0123456789-abcdefghijklmnopqrstuvwxyz"
}


def run(
    *command: str, environment: dict[str, str], folder: Path = ROOT
) -> subprocess.CompletedProcess[str]:
    """Run the tests' Python with these variables of ours and no others."""
    kept = {name: value for name, value in os.environ.items() if name not in ENVIRONMENT}
    kept.pop("DJANGO_SETTINGS_MODULE", None)
    return subprocess.run(
        [sys.executable, *command],
        cwd=folder,
        env=kept | environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        umask=0o022,
    )


def show(folder: Path, names: list[str], *environments: dict[str, str]) -> list[Any]:
    """Return settings in each of the environments, or why there are none, from one process."""
    done = run("-c", SHOW, json.dumps([names, environments]), environment={}, folder=folder)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A project root of the test's own, for a `.env` of its own."""
    for name in ("voiceproject", "agencies", "operations", "voices"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / name, tmp_path / name, ignore=ignored)
    shutil.copy(ROOT / "manage.py", tmp_path)
    return tmp_path


# Starting, or refusing to


@pytest.mark.parametrize(
    ("command", "secret"),
    [("check", {}), ("migrate", {"DJANGO_SECRET_KEY": ""}), ("sync_voices", {})],
)
def test_no_start_without_the_secret_key(clone: Path, command: str, secret: dict[str, str]) -> None:
    done = run("manage.py", command, environment=secret, folder=clone)
    assert (done.returncode, done.stdout) == (1, "")
    [line] = done.stderr.strip().splitlines()
    assert "DJANGO_SECRET_KEY is not set" in line
    assert "DJANGO_DEBUG" in line


MALFORMED = [
    ("DJANGO_DEBUG", "perhaps"),
    *(("DJANGO_TRUSTED_PROXIES", value) for value in ("two", "-1")),
    ("DJANGO_LOG_LEVEL", "loud"),
    ("DATABASE_URL", "db.sqlite3"),
    *(("CACHE_URL", value) for value in ("redis", "redis://:secret/word@cache:6379/1")),
    *(
        ("ULTRAVOX_API_URL", value)
        for value in ("api.ultravox.ai", "ftp://api.ultravox.ai", "http://[::")
    ),
    ("SUPABASE_URL", "project.supabase.co"),
    *(("EMAIL_URL", value) for value in ("mail", "submission://user:secret/word@mail:587")),
    ("ADMINS", "ada"),
    ("SYNC_PING_URL", "hc-ping.com/secret"),
    ("SENTRY_DSN", "secret"),
    ("LOG_FORMAT", "yaml"),
    *(("STALE_HOURS", value) for value in ("0", "1e9")),
    *(("SYNC_HISTORY_DAYS", value) for value in ("-1", "1000000")),
    ("ULTRAVOX_TIMEOUT", "ten seconds"),
    *(("ULTRAVOX_DEADLINE", value) for value in ("1,5", "0")),
    ("RATE_LIMIT_SYNC", "many"),
    ("RATE_LIMIT_TOKEN", "0/min"),
    ("RATE_LIMIT_FAILED", "5/fortnight"),
    ("LOGIN_FAILURES", "many"),
    ("LOGIN_LOCK_MINUTES", "-5"),
]


def test_a_malformed_value_is_named_in_one_line() -> None:
    shown = show(ROOT, [], *(ENVIRONMENT | {name: value} for name, value in MALFORMED))
    for (name, value), reason in zip(MALFORMED, shown, strict=True):
        assert isinstance(reason, str), (name, value)
        assert name in reason
        assert "\n" not in reason
        assert "secret" not in reason
    done = run("manage.py", "check", environment=ENVIRONMENT | dict(MALFORMED[:1]))
    assert (done.returncode, done.stderr.strip()) == (1, f"manage.py: {shown[0]}")


# What is written loosely


LOOSE = SECRET | {
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
    assert show(clone, [*NEAT], LOOSE) == [NEAT]


@pytest.mark.parametrize("quote", ["", '"', "'"])
def test_spaces_and_slashes_in_the_file(clone: Path, quote: str) -> None:
    lines = ["# A comment", "", *(f"{name}={quote}{value}{quote}" for name, value in LOOSE.items())]
    (clone / ".env").write_text("\n".join(lines) + "\n")
    assert show(clone, [*NEAT], {}) == [NEAT]


def test_the_environment_wins_over_the_file(clone: Path) -> None:
    (clone / ".env").write_text("ULTRAVOX_TIMEOUT=3\nDJANGO_DEBUG=on\n")
    [shown] = show(clone, ["ULTRAVOX_TIMEOUT", "DEBUG", "SECRET_KEY"], {"ULTRAVOX_TIMEOUT": "4.5"})
    assert (shown["ULTRAVOX_TIMEOUT"], shown["DEBUG"]) == (4.5, True)
    assert shown["SECRET_KEY"]  # DJANGO_DEBUG needs none


def test_defaults(clone: Path) -> None:
    defaults = {
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
        "CELERY_BROKER_URL": "",
        "RATE_LIMIT_SYNC": "600/min",
        "AXES_FAILURE_LIMIT": 10,
    }
    unset = [dict.fromkeys(ENVIRONMENT, nothing) | SECRET for nothing in ("", " ")]
    assert show(clone, [*defaults], SECRET, *unset) == [defaults] * 3


# A public name: HTTPS


def test_a_public_name_turns_https_on() -> None:
    public = {"DJANGO_ALLOWED_HOSTS": "voices.example.com", "DJANGO_HTTPS": ""}
    secure = {
        "HTTPS": True,
        "SECURE_SSL_REDIRECT": True,
        "SECURE_HSTS_SECONDS": 31_536_000,
        "SECURE_HSTS_INCLUDE_SUBDOMAINS": False,
        "SECURE_HSTS_PRELOAD": False,
    }
    assert show(ROOT, [*secure], ENVIRONMENT | public) == [secure]


@pytest.mark.django_db
def test_only_pages_redirect_to_https(settings: Any) -> None:
    settings.SECURE_SSL_REDIRECT = True
    client = Client(headers={"host": "localhost"})
    for page in ("/admin/", "/admin/login/"):
        answer = client.get(page)
        assert (answer.status_code, answer["Location"]) == (301, f"https://localhost{page}")
    for method, address in (
        *(("POST", address) for address in (*BOTH_SPELLINGS, TOKEN, TOKEN[:-1], REFRESH)),
        *(("GET", "/api/voices/sync/"), ("GET", "/api/schema/"), ("GET", "/api/")),
        *(("GET", "/nothing"), ("POST", "/nothing/")),
    ):
        answer = client.generic(method, address)
        assert answer.status_code in (200, 400, 401, 404, 405), address
        assert "Location" not in answer, address


# What `check --deploy` says


def check_deploy(level: str, **environment: str) -> subprocess.CompletedProcess[str]:
    public = {"DJANGO_ALLOWED_HOSTS": "voices.example.com", "DJANGO_HTTPS": ""}
    command = ("manage.py", "check", "--deploy", "--fail-level", level)
    return run(*command, environment=ENVIRONMENT | public | environment)


def test_check_deploy_has_nothing_to_say() -> None:
    done = check_deploy(
        "DEBUG", DJANGO_TRUSTED_PROXIES="1", SERVICE_API_KEYS=f"{SERVICE_KEY},{OTHER_SERVICE_KEY}"
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "System check identified no issues (2 silenced).\n"


ANON = jwt.encode({"role": "anon", "iss": "supabase"}, "x" * 40)


@pytest.mark.parametrize(
    ("expected", "environment"),
    [
        ("security.W009", {"DJANGO_SECRET_KEY": "short"}),
        ("agencies.W001", {"SERVICE_API_KEYS": "tooshort"}),
        ("agencies.W002", {"SERVICE_API_KEYS": f"{SERVICE_KEY},{ANON}"}),
        ("agencies.W002", {"SERVICE_API_KEYS": "sb_publishable_0123456789abcdefghij"}),
        ("agencies.W003", {"SUPABASE_JWT_SECRET": "a secret of few letters"}),
        ("voices.W001", {"DJANGO_ALLOWED_HOSTS": "*"}),
        ("voices.W002", {"DJANGO_TRUSTED_PROXIES": "0"}),
        ("voices.W004", {"ADMINS": "ada@example.com"}),
        ("voices.W005", {"METRICS_TOKEN": "tooshort"}),
    ],
)
def test_check_deploy_warns(expected: str, environment: dict[str, str]) -> None:
    done = check_deploy("WARNING", **{"DJANGO_TRUSTED_PROXIES": "1"} | environment)
    assert done.returncode == 1
    assert re.findall(r"\((\w+\.W\d+)\)", done.stderr) == [expected]
    assert not any(value in done.stderr for value in environment.values() if len(value) > 1)


def test_passwords_are_hashed_with_argon2() -> None:
    [shown] = show(ROOT, ["PASSWORD_HASHERS"], ENVIRONMENT)
    hashers = [import_string(name) for name in shown["PASSWORD_HASHERS"]]
    assert hashers == [Argon2PasswordHasher, PBKDF2PasswordHasher]  # the others are of before
    assert Argon2PasswordHasher().encode("one", "salt" * 4).startswith("argon2$argon2id$")


@pytest.mark.parametrize("name", ["requirements.txt", "requirements-dev.txt"])
def test_requirements_are_pinned_by_hash(name: str) -> None:
    text = (ROOT / name).read_text().replace("\\\n", " ")
    lines = re.findall(r"^ *([^#\s].*?) *(?:    #.*)?$", text, re.MULTILINE)
    assert len(lines) > 30
    pin = r"[A-Za-z0-9._-]+(\[[a-z0-9,._-]+\])?==\S+( ;.*?)?(\s+--hash=sha256:[0-9a-f]{64})+"
    assert [line for line in lines if not re.fullmatch(pin, line)] == []
    pinned = {re.split(r"\[|==", line)[0].lower() for line in lines}
    source = (ROOT / name).with_suffix(".in").read_text().lower()
    assert set(re.findall(r"^[a-z][a-z0-9._-]*", source, re.MULTILINE)) <= pinned
