"""The project's settings under the tests' environment."""

import os
import tempfile
from pathlib import Path

from tests.support.environment import ENVIRONMENT

os.environ.update(ENVIRONMENT)

from voiceproject.settings import *  # noqa: F403
from voiceproject.settings import DATABASES, INSTALLED_APPS

INSTALLED_APPS += ["django_migration_linter"]

if DATABASES["default"]["ENGINE"].endswith("sqlite3"):
    # A file, as in production: in memory, a server's threads would share one connection.
    folder = tempfile.TemporaryDirectory(prefix="voices-sync-tests-")  # removed at exit
    DATABASES["default"]["TEST"] = {"NAME": Path(folder.name) / "test.sqlite3"}

# Argon2's cost is for attackers, not for a thousand logins of tests.
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
