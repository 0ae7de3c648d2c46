"""How the settings read the environment and `.env`. An empty variable counts as unset."""

import contextlib
from collections.abc import Callable
from email.utils import getaddresses
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import dj_email_url  # type: ignore[import-untyped]
import django_cache_url  # type: ignore[import-untyped]
from environs import Env, EnvError, ValidationError, validate

BASE_DIR = Path(__file__).resolve().parent.parent
ABOVE_0 = validate.Range(min=0, min_inclusive=False, error="Must be above 0.")
DAYS = validate.Range(min=0, max=36_500, error="Must be from 0 to 36500.")
HOURS = validate.Range(min=0, max=876_000, min_inclusive=False, error="Must be above 0, to 876000.")
NOT_NEGATIVE = validate.Range(min=0, error="Must not be negative.")
RATE = validate.Regexp(
    r"[1-9]\d*/(s|sec|second|m|min|minute|h|hour|d|day)\Z", error="Is not like 600/min."
)
SCHEMA = validate.Regexp(r"(?!pg_)[a-z_][a-z0-9_]{0,62}\Z", error="Is not like voices.")

T = TypeVar("T")

env = Env()
env.read_env(BASE_DIR / ".env", recurse=False)


@env.parser_for("email_url")
def _email_url(value: str) -> dict[str, Any]:
    with contextlib.suppress(ValueError):  # which would quote a piece of the password
        parsed: dict[str, Any] = dj_email_url.parse(value)
        if "EMAIL_BACKEND" in parsed:
            path = {"EMAIL_FILE_PATH": urlsplit(value).path}  # dj_email_url takes its first slash
            return parsed | path
    raise ValidationError("Is not like submission://user:password@host:587.")


@env.parser_for("cache_url")
def _cache_url(value: str) -> dict[str, Any]:
    """Parse like environs, whose error would quote a piece of the password."""
    try:
        return dict(django_cache_url.parse(value))
    except Exception:  # the parser's own
        raise ValidationError("Not a valid cache URL.") from None


def optional(parse: Callable[..., T], name: str, default: T, **options: Any) -> T:
    """Read a variable with one of `env`'s parsers. Raises EnvError."""
    return parse(name, **options) if env.str(name, "").strip() else default


def strings(name: str) -> list[str]:
    """Read a comma-separated list; spaces around commas and empty parts do no harm."""
    return [part.strip() for part in env.str(name, "").split(",") if part.strip()]


def addresses(name: str) -> list[tuple[str, str]]:
    """Read a comma-separated list of e-mail addresses, as Django's ADMINS has them. Raises EnvError."""
    read = getaddresses(strings(name))
    if not all("@" in address for _, address in read):
        raise EnvError(f"{name} has something that is no e-mail address")
    return read


def url(name: str, default: str = "") -> str:
    """Read an http or https URL; a slash at its end does no harm. Raises EnvError."""
    value = env.str(name, "").strip().rstrip("/") or default
    with contextlib.suppress(ValueError):
        if not value or (urlsplit(value).scheme in ("http", "https") and urlsplit(value).hostname):
            return value
    raise EnvError(f"{name} is not an http or https URL")
