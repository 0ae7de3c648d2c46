"""`make run`: set up, sync and serve, on a machine with nothing but Python.

Keeps what is there: `.env`, the database, its agencies and users. As long as the oldest agency with a key
has the sandbox's, the sandbox stands in for Ultravox, with made-up voices.
"""

import contextlib
import fcntl
import os
import secrets
import shlex
import signal
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Any

import django.db
import requests
from cryptography.fernet import Fernet
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.management import CommandError, call_command
from honcho.manager import Manager
from requests.adapters import HTTPAdapter
from urllib3.util import Retry

if TYPE_CHECKING:
    from agencies.models import User

ROOT = Path(__file__).resolve().parent.parent
HOST = "127.0.0.1"
EMAIL = "admin@example.com"


def main() -> int:
    os.chdir(ROOT)
    sys.path.insert(0, str(ROOT))
    os.environ["DJANGO_SETTINGS_MODULE"] = "voiceproject.settings"
    _write_env()
    try:
        fcntl.flock(os.open(".env", os.O_RDONLY), fcntl.LOCK_EX | fcntl.LOCK_NB)  # to the end
    except BlockingIOError:
        sys.exit("`make run` runs in this folder already: end that one first.")
    port = _port()
    try:
        django.setup()
        call_command("migrate", verbosity=0, skip_checks=False)
    except (ImproperlyConfigured, CommandError, django.db.Error) as error:
        sys.exit(f"make run: {error}")
    print(f"The voices will be at http://{HOST}:{port}/", flush=True)
    new_user = _agency_and_user(os.environ.get("ULTRAVOX_API_KEY", "").strip())
    with _ultravox() as voices:
        try:
            call_command("sync_voices")
        except CommandError as error:
            if error.returncode == 130:  # Ctrl-C
                return 130
            print(f"The sync failed: {error}", file=sys.stderr)
        sys.stdout.flush()
        if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:  # as nohup does
            signal.signal(signal.SIGHUP, _hang_up)
        announcement = (f"http://{HOST}:{port}", voices, new_user)
        Thread(target=_announce, args=announcement, daemon=True).start()
        return _serve()


@contextlib.contextmanager
def _ultravox() -> Iterator[str]:
    """Let the sandbox stand in for Ultravox if need be; yields whose voices there are."""
    from sandbox import Sandbox

    if not _needs_sandbox():
        yield f"those of {settings.ULTRAVOX_API_URL}"
        return
    with Sandbox(port=8765 if _is_free(8765) else 0) as sandbox:
        settings.ULTRAVOX_API_URL = os.environ["ULTRAVOX_API_URL"] = sandbox.url
        yield f"""made up by a sandbox, to other terminals ULTRAVOX_API_URL={sandbox.url}
          For those of Ultravox: ULTRAVOX_API_KEY=... make run"""


def _serve() -> int:
    """Run the web server and a worker with beat until Ctrl-C; return the exit status."""
    python = shlex.quote(sys.executable)
    celery = f"{python} -m celery --quiet --app voiceproject worker --beat --concurrency 1"
    manager = Manager()
    manager.add_process("web", f"{python} -m gunicorn --config gunicorn.conf.py")
    manager.add_process("worker", f"{celery} --loglevel info")
    manager.loop()
    # Ctrl-C is how this is meant to end.
    return 0 if manager.returncode in (130, 143) else manager.returncode or 0


def _hang_up(*_: Any) -> None:
    """End as by SIGTERM, when the terminal was closed and nothing can be written to it."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    os.dup2(null, 2)
    os.kill(os.getpid(), signal.SIGTERM)


def _announce(url: str, voices: str, new_user: "User | None") -> None:
    """Say where to look once the web server answers; a password that was not shown is not set either."""
    ready = requests.Session()
    ready.trust_env = False  # no proxy
    ready.mount(url, HTTPAdapter(max_retries=Retry(60, backoff_factor=0.1, backoff_max=1)))
    try:
        ready.options(f"{url}/api/voices/sync/", timeout=10)
    except requests.RequestException:
        print("The web server does not answer yet: see above.", file=sys.stderr)
    login = "as before"
    if new_user:
        password = secrets.token_urlsafe(12)
        new_user.set_password(password)
        new_user.save()
        login = f"{EMAIL}, password {password} (shown only now)"
    print(
        f"""
  Voices  {url}/
  Login   {login}
  Admin   {url}/admin/
  Source  {voices}
  Sync    curl -X POST {url}/functions/v1/voices-sync \\
            -H "apikey: $(sed -n 's/^SERVICE_API_KEYS=//p' .env)"
  End     Ctrl-C
""",
        flush=True,
    )


def _port() -> int:
    port = os.environ.get("PORT", "8000")
    if not port.isdigit() or not 0 < int(port) < 65536:
        sys.exit(f"PORT is not a port: {port}")
    if not _is_free(int(port)):
        sys.exit(f"Port {port} is taken; choose another one with: make run PORT={int(port) + 1}")
    return int(port)


def _is_free(port: int) -> bool:
    try:
        socket.create_server((HOST, port)).close()
    except OSError:
        return False
    return True


def _write_env() -> None:
    """Write `.env` with fresh secrets, readable by its owner only, unless there is one."""
    with contextlib.suppress(FileExistsError):
        descriptor = os.open(".env", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(
                "# Made by `make run`. README.md lists all variables.\n"
                f"DJANGO_SECRET_KEY={secrets.token_urlsafe(50)}\n"
                f"CREDENTIALS_KEYS={Fernet.generate_key().decode()}\n"
                f"SERVICE_API_KEYS={secrets.token_urlsafe(32)}\n"
            )


def _agency_and_user(key: str) -> "User | None":
    """Make an agency and a user if there are none; returns the user if nobody was told a password yet.

    An Ultravox key goes to the oldest agency; if no agency has one, that gets the sandbox's.
    """
    from agencies.credentials import agencies_with_key
    from agencies.models import Agency, User
    from sandbox import API_KEY

    agency = Agency.objects.first() or Agency.objects.create(name="My agency")
    if key or not agencies_with_key().exists():
        agency.ultravox_api_key = key or API_KEY
        agency.save()
    if not User.objects.exists():
        User.objects.create_superuser(EMAIL, agency=agency)
    user = User.objects.filter(email=EMAIL).first()
    return user if user and not user.has_usable_password() else None


def _needs_sandbox() -> bool:
    from agencies.credentials import agencies_with_key, get_agency_credentials
    from sandbox import API_KEY
    from voiceproject.errors import CredentialsUnavailable

    if settings.ULTRAVOX_API_URL != "https://api.ultravox.ai":
        return False  # somebody chose it
    oldest = agencies_with_key().first()
    with contextlib.suppress(CredentialsUnavailable):
        return oldest is None or get_agency_credentials(oldest) == API_KEY
    return False


if __name__ == "__main__":
    sys.exit(main())
