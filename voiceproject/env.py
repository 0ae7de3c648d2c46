"""Parsers for the settings in the environment and in `.env`. An empty variable counts as unset."""

import contextlib
from collections.abc import Callable
from email.utils import getaddresses
from functools import partial
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

import dj_email_url  # type: ignore[import-untyped]
import django_cache_url  # type: ignore[import-untyped]
from environs import Env, EnvError, ValidationError, validate

BASE_DIR = Path(__file__).resolve().parent.parent
ABOVE_0 = validate.Range(min=0, min_inclusive=False, error="Must be above 0.")
DAYS = validate.Range(min=0, max=36_500, error="Must be from 0 to 36500.")
HOURS = validate.Range(
    min=0, max=876_000, min_inclusive=False, error="Must be above 0, at most 876000."
)
NOT_NEGATIVE = validate.Range(min=0, error="Must not be negative.")
RATE = validate.Regexp(
    r"[1-9]\d*/(s|sec|second|m|min|minute|h|hour|d|day)\Z", error="Must be a rate such as 600/min."
)
SCHEMA = validate.Regexp(r"(?!pg_)[a-z_][a-z0-9_]{0,62}\Z", error="Must be a name such as voices.")

T = TypeVar("T")

env = Env()
env.read_env(BASE_DIR / ".env", recurse=False)


@env.parser_for("email_url")
def _parse_email_url(value: str) -> dict[str, object]:
    with contextlib.suppress(ValueError):  # its message may quote the password
        parsed: dict[str, object] = dj_email_url.parse(value)
        if "EMAIL_BACKEND" in parsed:
            return parsed
    raise ValidationError("Must be a URL such as submission://user:password@host:587.")


@env.parser_for("cache_url")
def _parse_cache_url(value: str) -> dict[str, object]:
    with contextlib.suppress(Exception):  # of any class; its message may quote the password
        return dict(django_cache_url.parse(value))
    raise ValidationError("Must be a URL such as redis://host:6379/1.")


def optional(parse: Callable[..., T], name: str, default: T, **options: object) -> T:
    """Read a variable with one of `env`'s parsers. Raises EnvError."""
    return parse(name, **options) if env.str(name, "").strip() else default


text = partial(optional, env.str)
boolean = partial(optional, env.bool)
integer = partial(optional, env.int)
number = partial(optional, env.float)
log_level = partial(optional, env.log_level)
database_url = partial(optional, env.dj_db_url)
cache_url = partial(optional, env.cache_url)
email_url = partial(optional, env.email_url)


def strings(name: str) -> list[str]:
    """Read a comma-separated list, without spaces around items and without empty items."""
    return [item.strip() for item in env.str(name, "").split(",") if item.strip()]


def addresses(name: str) -> list[tuple[str, str]]:
    """Read a comma-separated list of email addresses, in the form of ADMINS. Raises EnvError."""
    pairs = getaddresses(strings(name))
    if not all("@" in address for _, address in pairs):
        raise EnvError(f"{name} must be a list of email addresses")
    return pairs


def url(name: str, default: str = "") -> str:
    """Read an http or https URL, without slashes at its end. Raises EnvError."""
    value = env.str(name, "").strip().rstrip("/") or default
    with contextlib.suppress(ValueError):
        if not value or (urlsplit(value).scheme in ("http", "https") and urlsplit(value).hostname):
            return value
    raise EnvError(f"{name} must be an http or https URL")
