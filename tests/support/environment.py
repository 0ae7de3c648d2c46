"""Every variable that the settings read, with its value in tests, so that tests ignore `.env`."""

import os
import runpy
from pathlib import Path
from typing import Any

SERVICE_KEY = "service-key-one-of-the-tests"
OTHER_SERVICE_KEY = "service-key-two-of-the-tests"
CREDENTIALS_KEY = "c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0LXNlY3I="
ORIGIN = "https://dashboard.example.com"
PASSWORD = "a password of the tests"

ENVIRONMENT = {
    "DJANGO_SECRET_KEY": "the-secret-key-of-the-tests-0123456789-abcdefghijklmnopqrstuvwxyz",
    "DJANGO_DEBUG": "false",
    "DJANGO_ALLOWED_HOSTS": "localhost,127.0.0.1,testserver",
    "DJANGO_HTTPS": "false",
    "DJANGO_HSTS_SUBDOMAINS": "false",
    "DJANGO_HSTS_PRELOAD": "false",
    "DJANGO_TRUSTED_PROXIES": "0",
    "DJANGO_LOG_LEVEL": "INFO",
    "LOG_FORMAT": "text",
    "DATABASE_URL": os.environ.get("DATABASE_URL") or "sqlite:///db.sqlite3",
    "DATABASE_SCHEMA": "",
    "CACHE_URL": "locmem://",
    "CREDENTIALS_KEYS": CREDENTIALS_KEY,
    "SERVICE_API_KEYS": f"{SERVICE_KEY} , {OTHER_SERVICE_KEY}",
    "SUPABASE_URL": "",
    "SUPABASE_JWT_SECRET": "",
    "ULTRAVOX_API_URL": "http://127.0.0.1:9",
    "ULTRAVOX_TIMEOUT": "10",
    "ULTRAVOX_DEADLINE": "50",
    "PREVIEW_FOLDER": "",
    "PREVIEW_BYTES": "500000000",
    "CELERY_BROKER_URL": "",
    "SYNC_PING_URL": "",
    "ADMINS": "",
    "EMAIL_URL": "",
    "STALE_HOURS": "24",
    "SYNC_HISTORY_DAYS": "90",
    "METRICS_TOKEN": "",
    "SENTRY_DSN": "",
    "CORS_ALLOWED_ORIGINS": f" {ORIGIN}/ , http://localhost:3000",
    "RATE_LIMIT_SYNC": "600/min",
    "RATE_LIMIT_PREVIEW": "600/min",
    "RATE_LIMIT_TOKEN": "300/min",
    "RATE_LIMIT_FAILED": "600/min",
    "LOGIN_FAILURES": "10",
    "LOGIN_LOCK_MINUTES": "5",
}


def load_settings() -> dict[str, Any]:
    """Load the settings again, from the current environment."""
    file = Path(__file__).parents[2] / "voiceproject" / "settings.py"
    return {name: value for name, value in runpy.run_path(str(file)).items() if name.isupper()}
