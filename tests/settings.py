"""The project's settings, with the environment of the tests."""

import os
import tempfile
from pathlib import Path

from tests.support.environment import ENVIRONMENT

os.environ.update(ENVIRONMENT)

from voiceproject.settings import *  # noqa: F403
from voiceproject.settings import DATABASES, INSTALLED_APPS

INSTALLED_APPS += ["django_migration_linter"]

if DATABASES["default"]["ENGINE"].endswith("sqlite3"):
    # A file, because threads share one connection to a database in memory.
    folder = tempfile.TemporaryDirectory(prefix="voices-sync-tests-")  # removed at exit
    DATABASES["default"]["TEST"] = {"NAME": Path(folder.name) / "test.sqlite3"}

# Argon2 is slow by design.
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
