"""The settings, from an operator's environment and `.env`."""

import itertools
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jwt
import pytest
from django.core.checks import run_checks
from django.core.exceptions import ImproperlyConfigured

from tests.support.environment import (
    CREDENTIALS_KEY,
    ENVIRONMENT,
    OTHER_SERVICE_KEY,
    SERVICE_KEY,
    load_settings,
)
from tests.support.project import ROOT

Load = Callable[..., dict[str, Any]]


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch) -> Load:
    """Load the settings with only these variables set."""

    def load(**variables: str) -> dict[str, Any]:
        for name in ENVIRONMENT:
            monkeypatch.setenv(name, variables.get(name, ""))  # unset, it would come from .env
        return load_settings()

    return load


SECRET_KEY = {"DJANGO_SECRET_KEY": ENVIRONMENT["DJANGO_SECRET_KEY"]}
DEFAULTS = {
    "DEBUG": False,
    "ALLOWED_HOSTS": ["localhost", "127.0.0.1"],
    "CREDENTIALS_KEYS": [],
    "SERVICE_API_KEYS": [],
    "SUPABASE_URL": "",
    "ULTRAVOX_API_URL": "https://api.ultravox.ai",
    "ULTRAVOX_TIMEOUT": 10,
    "ULTRAVOX_DEADLINE": 50,
    "CORS_ALLOWED_ORIGINS": [],
    "STALE_HOURS": 24,
    "SYNC_HISTORY_DAYS": 90,
    "RATE_LIMIT_PREVIEW": "600/min",
}


def test_empty_variable_counts_as_unset(load: Load) -> None:
    settings = load(**dict.fromkeys(ENVIRONMENT, " ") | SECRET_KEY)
    assert {name: settings[name] for name in DEFAULTS} == DEFAULTS


def test_secret_key_is_required_without_debug(load: Load) -> None:
    with pytest.raises(ImproperlyConfigured, match=r"DJANGO_SECRET_KEY is not set.*DJANGO_DEBUG"):
        load()
    assert load(DJANGO_DEBUG="on")["SECRET_KEY"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DJANGO_DEBUG", "perhaps"),
        ("DJANGO_LOG_LEVEL", "loud"),
        ("DATABASE_URL", "db.sqlite3"),
        ("DATABASE_SCHEMA", "pg_catalog"),
        ("CACHE_URL", "redis://:secret/word@cache:6379/1"),
        ("SUPABASE_URL", "project.supabase.co"),
        ("ULTRAVOX_API_URL", "ftp://api.ultravox.ai"),
        ("ULTRAVOX_DEADLINE", "0"),
        ("SYNC_PING_URL", "hc-ping.com/secret"),
        ("ADMINS", "ada"),
        ("EMAIL_URL", "submission://user:secret/word@mail:587"),
        ("STALE_HOURS", "0"),
        ("SYNC_HISTORY_DAYS", "-1"),
        ("SENTRY_DSN", "secret"),
        ("RATE_LIMIT_FAILED", "5/fortnight"),
        ("LOGIN_LOCK_MINUTES", "-5"),
    ],
)
@pytest.mark.filterwarnings("ignore:The send_default_pii option:DeprecationWarning")
def test_error_names_the_malformed_variable(load: Load, name: str, value: str) -> None:
    with pytest.raises(ImproperlyConfigured) as caught:
        load(**SECRET_KEY | {name: value})
    message = str(caught.value)
    assert name in message
    assert "\n" not in message
    assert "secret" not in message


# Spaces, slashes and quotes

TIDY: dict[str, Any] = {
    "ALLOWED_HOSTS": ["voices.example.com", "localhost"],
    "CREDENTIALS_KEYS": [CREDENTIALS_KEY, CREDENTIALS_KEY],
    "SERVICE_API_KEYS": ["one", "two", "three"],
    "SUPABASE_URL": "https://abcdefgh.supabase.co",
    "ULTRAVOX_API_URL": "https://api.example.com/base",
    "CORS_ALLOWED_ORIGINS": ["https://a.example.com", "http://localhost:3000"],
}
UNTIDY = SECRET_KEY | {
    "DJANGO_ALLOWED_HOSTS": " voices.example.com ,localhost , ",
    "CREDENTIALS_KEYS": f" {CREDENTIALS_KEY} , {CREDENTIALS_KEY},",
    "SERVICE_API_KEYS": " one ,two,, three ",
    "SUPABASE_URL": " https://abcdefgh.supabase.co/ ",
    "ULTRAVOX_API_URL": "https://api.example.com/base// ",
    "CORS_ALLOWED_ORIGINS": " https://a.example.com/ ,http://localhost:3000 , ",
}


def test_environment_may_have_spaces_and_slashes(load: Load) -> None:
    settings = load(**UNTIDY)
    assert {name: settings[name] for name in TIDY} == TIDY


def test_env_file_may_have_spaces_slashes_and_quotes(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "voiceproject", tmp_path / "voiceproject")
    quotes = itertools.cycle(["", '"', "'"])
    lines = ["# A comment", "", "ULTRAVOX_TIMEOUT=3"]
    for (name, value), quote in zip(UNTIDY.items(), quotes, strict=False):
        lines.append(f"{name}={quote}{value}{quote}")
    (tmp_path / ".env").write_text("\n".join(lines))
    names = [*TIDY, "ULTRAVOX_TIMEOUT"]
    code = f"from voiceproject import settings; print([getattr(settings, n) for n in {names}])"
    environment = {"PATH": os.environ["PATH"], "ULTRAVOX_TIMEOUT": "4.5"}
    output = subprocess.check_output(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, text=True
    )
    assert output == f"{[*TIDY.values(), 4.5]}\n"  # the environment wins


# Production

PUBLIC = ENVIRONMENT | {
    "DJANGO_ALLOWED_HOSTS": "voices.example.com",
    "DJANGO_HTTPS": "",
    "DJANGO_TRUSTED_PROXIES": "1",
}


@pytest.mark.parametrize("proxies", ["0", "1"])
def test_public_host_turns_https_on(load: Load, proxies: str) -> None:
    settings = load(**PUBLIC | {"DJANGO_TRUSTED_PROXIES": proxies})
    for name in ("SECURE_SSL_REDIRECT", "SESSION_COOKIE_SECURE", "CSRF_COOKIE_SECURE"):
        assert settings[name], name
    assert settings["SECURE_HSTS_SECONDS"] == 31_536_000
    # Only a trusted proxy may claim it.
    assert ("SECURE_PROXY_SSL_HEADER" in settings) is (proxies == "1")


SUPABASE_ANON_KEY = jwt.encode({"role": "anon", "iss": "supabase"}, "x" * 40)


@pytest.mark.parametrize(
    ("expected", "variables"),
    [
        ([], {"SERVICE_API_KEYS": f"{SERVICE_KEY},{OTHER_SERVICE_KEY}"}),
        (["security.W009"], {"DJANGO_SECRET_KEY": "short"}),
        (["agencies.W001"], {"SERVICE_API_KEYS": "tooshort"}),
        (["agencies.W002"], {"SERVICE_API_KEYS": f"{SERVICE_KEY},{SUPABASE_ANON_KEY}"}),
        (["agencies.W002"], {"SERVICE_API_KEYS": "sb_publishable_0123456789abcdefghij"}),
        (["agencies.W003"], {"SUPABASE_JWT_SECRET": "a secret of few letters"}),
        (["voices.W001"], {"DJANGO_ALLOWED_HOSTS": "*"}),
        (["voices.W002"], {"DJANGO_TRUSTED_PROXIES": "0"}),
        (["voices.W004"], {"ADMINS": "ada@example.com"}),
        (["voices.W005"], {"METRICS_TOKEN": "tooshort"}),
    ],
)
def test_check_deploy(
    load: Load, settings: Any, expected: list[str], variables: dict[str, str]
) -> None:
    for name, value in load(**PUBLIC | variables).items():
        if name not in ("DATABASES", "CACHES", "LOGGING", "INSTALLED_APPS"):
            setattr(settings, name, value)
    found = [each for each in run_checks(include_deployment_checks=True) if not each.is_silenced()]
    assert [message.id for message in found] == expected
    assert not any(value in str(found) for value in variables.values() if len(value) > 1)
