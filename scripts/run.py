"""`make run`: set up, sync, and run web server and beat on this machine.

Keeps existing data: `.env`, the database, its agencies and users. While the oldest agency with a key has the
sandbox's key, the sandbox replaces Ultravox.
"""

import contextlib
import os
import secrets
import shlex
import signal
import socket
import sys
from collections.abc import Iterator
from threading import Thread
from typing import TYPE_CHECKING

import django.db
import urllib3
from cryptography.fernet import Fernet
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.management import CommandError, call_command
from honcho.manager import Manager

from sandbox import API_KEY, Sandbox
from voiceproject.errors import CredentialsUnavailable

if TYPE_CHECKING:
    from agencies.models import User

HOST = "127.0.0.1"
EMAIL = "admin@example.com"


def main() -> int:
    os.environ["DJANGO_SETTINGS_MODULE"] = "voiceproject.settings"
    port = _free_port()
    _write_env()
    try:
        django.setup()
        call_command("migrate", verbosity=0, skip_checks=False)
    except (ImproperlyConfigured, CommandError, django.db.Error) as error:
        sys.exit(f"make run: {error}")
    new_user = _add_agency_and_user(os.environ.get("ULTRAVOX_API_KEY", "").strip())
    with _ultravox() as source:
        try:
            call_command("sync_voices")
        except CommandError as error:
            if error.returncode == 130:  # Ctrl-C
                return 130
            print(f"The sync failed: {error}", file=sys.stderr)
        sys.stdout.flush()
        if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:  # nohup ignores it
            signal.signal(signal.SIGHUP, _hang_up)
        announcement = (f"http://{HOST}:{port}", source, new_user)
        Thread(target=_announce, args=announcement, daemon=True).start()
        return _serve()


def _write_env() -> None:
    """Write `.env` with new secrets, readable by its owner only, unless it exists."""
    with contextlib.suppress(FileExistsError):
        descriptor = os.open(".env", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(
                "# Created by `make run`. docs/configuration.md lists all variables.\n"
                f"DJANGO_SECRET_KEY={secrets.token_urlsafe(50)}\n"
                f"CREDENTIALS_KEYS={Fernet.generate_key().decode()}\n"
                f"SERVICE_API_KEYS={secrets.token_urlsafe(32)}\n"
            )


def _free_port() -> int:
    port = int(os.environ.get("PORT", "8000"))
    if not _is_free(port):
        sys.exit(f"Port {port} is in use. Choose another one: make run PORT={port + 1}")
    return port


def _is_free(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_server((HOST, port)):
        return True
    return False


def _add_agency_and_user(key: str) -> "User | None":
    """Add an agency and a user if there are none. Return the user if it has no password yet.

    `key`, if it is not empty, becomes the key of the oldest agency. If no agency has a key, that agency
    gets the sandbox's key.
    """
    from agencies.credentials import agencies_with_key  # models need django.setup()
    from agencies.models import Agency, User

    agency = Agency.objects.first() or Agency.objects.create(name="My agency")
    if key or not agencies_with_key().exists():
        agency.ultravox_api_key = key or API_KEY
        agency.save()
    if not User.objects.exists():
        User.objects.create_superuser(EMAIL, agency=agency)
    user = User.objects.filter(email=EMAIL).first()
    return user if user and not user.has_usable_password() else None


@contextlib.contextmanager
def _ultravox() -> Iterator[str]:
    """Run the sandbox if its key is used, and yield a description of the voices' source."""
    from agencies.credentials import agencies_with_key, get_agency_credentials

    key = ""
    with contextlib.suppress(CredentialsUnavailable):
        key = get_agency_credentials(agencies_with_key()[0])
    if key != API_KEY or settings.ULTRAVOX_API_URL != "https://api.ultravox.ai":
        yield settings.ULTRAVOX_API_URL
        return
    with Sandbox(port=8765 if _is_free(8765) else 0) as sandbox:
        settings.ULTRAVOX_API_URL = os.environ["ULTRAVOX_API_URL"] = sandbox.url
        yield f"""made-up voices from the sandbox. For your own voices: ULTRAVOX_API_KEY=... make run
          From another terminal: ULTRAVOX_API_URL={sandbox.url} .venv/bin/python manage.py sync_voices"""


def _serve() -> int:
    """Run the web server and beat until Ctrl-C, and return the exit status."""
    python = f"{shlex.quote(sys.executable)} -m"
    manager = Manager()
    manager.add_process("web", f"{python} gunicorn --config gunicorn.conf.py --graceful-timeout 1")
    manager.add_process("beat", f"{python} celery --quiet --app voiceproject beat --loglevel info")
    manager.loop()
    return 0 if manager.returncode in (130, 143) else manager.returncode or 0  # Ctrl-C, SIGTERM


def _hang_up(*_: object) -> None:
    """Stop as on SIGTERM after the terminal was closed. Writing to it would fail."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    os.dup2(null, 2)
    os.kill(os.getpid(), signal.SIGTERM)


def _announce(url: str, source: str, new_user: "User | None") -> None:
    """Print the addresses and the login once the web server responds. Set a new user's password only now."""
    retries = urllib3.Retry(60, backoff_factor=0.1, backoff_max=1)
    try:
        urllib3.request("GET", f"{url}/livez", retries=retries, timeout=10)
    except urllib3.exceptions.HTTPError:
        print("The web server isn't responding. See the log above.", file=sys.stderr)
    login = "your existing account"
    if new_user:
        password = secrets.token_urlsafe(12)
        new_user.set_password(password)
        new_user.save()
        login = f"{EMAIL}, password {password} (shown only once)"
    print(
        f"""
  Voices  {url}/
  Login   {login}
  Admin   {url}/admin/
  Source  {source}
  Sync    curl -X POST {url}/functions/v1/voices-sync \\
            -H "apikey: $(sed -n 's/^SERVICE_API_KEYS=//p' .env)"
  Stop    Ctrl-C
""",
        flush=True,
    )


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
