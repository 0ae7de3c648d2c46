"""All settings, read from the environment and from `.env`, in the order of the README's table."""

from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from django.core.exceptions import ImproperlyConfigured
from environs import Env, EnvError

BASE_DIR = Path(__file__).resolve().parent.parent
PAGE_SIZE = 100  # voices a page of Ultravox's listing, and rows a page of the admin

env = Env()
env.read_env(BASE_DIR / ".env", recurse=False)


def _strings(name: str) -> list[str]:
    """Read a comma-separated list; spaces around commas and empty parts do no harm."""
    return [part.strip() for part in env.str(name, "").split(",") if part.strip()]


def _url(name: str, default: str = "") -> str:
    return (env.str(name, "").strip() or default).rstrip("/")


try:
    # Django
    SECRET_KEY = env.str("DJANGO_SECRET_KEY", "")
    DEBUG = env.bool("DJANGO_DEBUG", False)
    ALLOWED_HOSTS = _strings("DJANGO_ALLOWED_HOSTS") or ["localhost", "127.0.0.1"]
    _LOCAL = {"localhost", "127.0.0.1", "[::1]", ".localhost", "testserver", "*"}
    HTTPS = env.bool("DJANGO_HTTPS", not DEBUG and any(h not in _LOCAL for h in ALLOWED_HOSTS))
    TRUSTED_PROXIES = env.int("DJANGO_TRUSTED_PROXIES", 0)
    LOG_LEVEL = env.str("DJANGO_LOG_LEVEL", "INFO").upper()
    # The database and the cache
    DATABASES: dict[str, Any] = {
        "default": env.dj_db_url("DATABASE_URL", "sqlite:///db.sqlite3", conn_max_age=60)
    }
    PORTABLE_WRITER = env.bool("PORTABLE_WRITER", False)
    CACHES = {"default": env.dj_cache_url("CACHE_URL", "locmem://")}
    # Keys and tokens
    CREDENTIALS_KEYS = _strings("CREDENTIALS_KEYS")
    SERVICE_API_KEYS = _strings("SERVICE_API_KEYS")
    SUPABASE_URL = _url("SUPABASE_URL")
    SUPABASE_JWT_SECRET = env.str("SUPABASE_JWT_SECRET", "")
    # Ultravox
    ULTRAVOX_API_URL = _url("ULTRAVOX_API_URL", "https://api.ultravox.ai")
    ULTRAVOX_TIMEOUT = env.float("ULTRAVOX_TIMEOUT", 10)
    ULTRAVOX_DEADLINE = env.float("ULTRAVOX_DEADLINE", 50)
    ULTRAVOX_MAX_PAGES = env.int("ULTRAVOX_MAX_PAGES", 10_000)
    ULTRAVOX_MAX_PAGE_BYTES = env.int("ULTRAVOX_MAX_PAGE_BYTES", 32 * 1024 * 1024)
    ULTRAVOX_MAX_BYTES = env.int("ULTRAVOX_MAX_BYTES", 512 * 1024 * 1024)
    # The schedule
    CELERY_BROKER_URL = env.str("CELERY_BROKER_URL", "") or "filesystem://"
    # Browsers, and limits against guessing and floods
    _origins = [origin.rstrip("/") for origin in _strings("CORS_ALLOWED_ORIGINS")]
    RATE_LIMIT_SYNC = env.str("RATE_LIMIT_SYNC", "600/min")
    RATE_LIMIT_TOKEN = env.str("RATE_LIMIT_TOKEN", "300/min")
    RATE_LIMIT_FAILED = env.str("RATE_LIMIT_FAILED", "600/min")
    LOGIN_FAILURES = env.int("LOGIN_FAILURES", 10)
    LOGIN_LOCK_MINUTES = env.float("LOGIN_LOCK_MINUTES", 5)
except EnvError as error:
    raise ImproperlyConfigured(f"{error} (in the environment or in .env)") from error

if not SECRET_KEY:
    if not DEBUG:
        raise ImproperlyConfigured(
            "DJANGO_SECRET_KEY is not set. Set it to a long random text, for example the output of "
            "`python -c 'import secrets; print(secrets.token_urlsafe(50))'`, "
            "or set DJANGO_DEBUG=true on a machine that serves nobody but you."
        )
    SECRET_KEY = "insecure-and-public-only-for-DJANGO_DEBUG-on-a-machine-of-your-own"  # noqa: S105

# Applications

INSTALLED_APPS = [
    "agencies",
    "voices",
    "django.contrib.admin.apps.SimpleAdminConfig",  # urls.py loads the admin: commands need none
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "axes",
    "corsheaders",
    "csp",
    "django_celery_beat",
    "drf_spectacular",
    "rest_framework",
]
MIDDLEWARE = [
    "corsheaders.middleware.CorsMiddleware",
    "voiceproject.api.JSONErrors",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "csp.middleware.CSPMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "axes.middleware.AxesMiddleware",
]
ROOT_URLCONF = "voiceproject.urls"
WSGI_APPLICATION = "voiceproject.wsgi.application"
APPEND_SLASH = False  # both spellings are routed: a redirect would lose a POST
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]
LANGUAGE_CODE = "en-us"
TIME_ZONE = "UTC"
USE_TZ = True
STATIC_URL = "static/"
WHITENOISE_USE_FINDERS = True  # the admin has its files without `collectstatic`
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# The database: SQLite takes the write lock when a transaction begins, so that two of them wait for
# each other instead of failing half way, and readers do not wait for writers.

_database = DATABASES["default"]
if _database["ENGINE"] == "django.db.backends.sqlite3":
    if _database["NAME"] and not _database["NAME"].startswith((":", "file:")):
        _database["NAME"] = BASE_DIR / _database["NAME"]
    _database["OPTIONS"] = {
        "timeout": 20,
        "transaction_mode": "IMMEDIATE",
        "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
    } | _database.get("OPTIONS", {})
elif _database["ENGINE"] == "django.db.backends.postgresql":
    _database["OPTIONS"] = {"connect_timeout": 5} | _database.get("OPTIONS", {})
    _database["CONN_HEALTH_CHECKS"] = True

# Users, passwords, login

AUTH_USER_MODEL = "agencies.User"
AUTHENTICATION_BACKENDS = [
    "axes.backends.AxesStandaloneBackend",
    "django.contrib.auth.backends.ModelBackend",
]
PASSWORD_HASHERS = [
    "django.contrib.auth.hashers.Argon2PasswordHasher",
    "django.contrib.auth.hashers.PBKDF2PasswordHasher",
]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in (
        "UserAttributeSimilarityValidator",
        "MinimumLengthValidator",
        "CommonPasswordValidator",
        "NumericPasswordValidator",
    )
]
LOGIN_URL = "admin:login"
AXES_FAILURE_LIMIT = LOGIN_FAILURES
AXES_COOLOFF_TIME = LOGIN_LOCK_MINUTES / 60
AXES_LOCKOUT_PARAMETERS = [["username", "ip_address"]]
AXES_LOCKOUT_CALLABLE = "voiceproject.api.locked_out"
AXES_RESET_ON_SUCCESS = True
AXES_DISABLE_ACCESS_LOG = True
AXES_IPWARE_PROXY_COUNT = TRUSTED_PROXIES or None
AXES_USERNAME_CALLABLE = "agencies.throttling.login_name"
AXES_CLIENT_IP_CALLABLE = "agencies.throttling.client_ip"
AXES_VERBOSE = False

# HTTP API

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [],
    "DEFAULT_PERMISSION_CLASSES": [],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_CONTENT_NEGOTIATION_CLASS": "voiceproject.negotiation.AlwaysJSON",
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "DEFAULT_THROTTLE_RATES": {
        "sync": RATE_LIMIT_SYNC,
        "token": RATE_LIMIT_TOKEN,
        "failed": RATE_LIMIT_FAILED,
    },
    "EXCEPTION_HANDLER": "voiceproject.api.handle_exception",
    "NUM_PROXIES": TRUSTED_PROXIES,
    "URL_FORMAT_OVERRIDE": None,
}
SPECTACULAR_SETTINGS = {
    "TITLE": "Voices sync",
    "DESCRIPTION": "Mirrors the voices of the Ultravox API into a table that all agencies share.",
    "VERSION": "1",
    "SERVE_INCLUDE_SCHEMA": False,
    "COMPONENT_SPLIT_REQUEST": True,  # what is sent may not be empty
    "SERVE_AUTHENTICATION": [],
}
SIMPLE_JWT = {
    "ISSUER": "voices-sync",
    "AUDIENCE": "voices-sync",
    "AUTH_HEADER_TYPES": ("Bearer",),
    "UPDATE_LAST_LOGIN": False,
}

# Browsers of other origins: supabase-js preflights with these headers.

CORS_ALLOW_ALL_ORIGINS = "*" in _origins
CORS_ALLOWED_ORIGINS = [origin for origin in _origins if origin != "*"]
CORS_ALLOW_HEADERS = [
    "accept",
    "apikey",
    "authorization",
    "content-type",
    "x-client-info",
    "x-supabase-api-version",
]
CORS_EXPOSE_HEADERS = ["Retry-After"]

# Celery. The embedded broker keeps its messages in files. Nothing reads results.

CELERY_BEAT_SCHEDULER = "django_celery_beat.schedulers:DatabaseScheduler"
CELERY_TIMEZONE = TIME_ZONE
CELERY_TASK_IGNORE_RESULT = True
CELERY_RESULT_EXPIRES = None
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_TASK_ACKS_LATE = True
CELERY_TASK_REJECT_ON_WORKER_LOST = True
CELERY_BROKER_TRANSPORT_OPTIONS: dict[str, Any] = {}
BACKGROUND_DEADLINE = 10 * ULTRAVOX_DEADLINE  # seconds: of a sync that no request waits for
_broker = urlsplit(CELERY_BROKER_URL)
match _broker.scheme:
    case "filesystem":
        BROKER_FOLDER = BASE_DIR / (_broker.path.rstrip("/") or ".celery")
        CELERY_BROKER_TRANSPORT_OPTIONS = {
            "data_folder_in": str(BROKER_FOLDER / "messages"),
            "data_folder_out": str(BROKER_FOLDER / "messages"),
            "control_folder": str(BROKER_FOLDER / "control"),
        }
    case "redis" | "rediss":
        # A message that no worker acknowledged in this time, of the longest sync and its write, is
        # given to another one; should its sync live after all, the other waits for that and is done.
        # Such messages are looked for every 5 seconds, by default every 100.
        CELERY_BROKER_TRANSPORT_OPTIONS = {
            "visibility_timeout": BACKGROUND_DEADLINE + 15,
            "unacked_restore_interval": 5,
            "unacked_restore_throttle": 1,
        }
    case "amqp" | "amqps" | "pyamqp":
        CELERY_TASK_DEFAULT_QUEUE_TYPE = "quorum"
        CELERY_BROKER_TRANSPORT_OPTIONS = {"confirm_publish": True}

# Security headers, cookies, the content security policy

SECURE_SSL_REDIRECT = HTTPS
SECURE_HSTS_SECONDS = 365 * 24 * 3600 if HTTPS else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = HTTPS
SECURE_HSTS_PRELOAD = HTTPS
SESSION_COOKIE_SECURE = HTTPS
CSRF_COOKIE_SECURE = HTTPS
CSRF_FAILURE_VIEW = "voiceproject.api.csrf_failed"
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
if TRUSTED_PROXIES:
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
if not HTTPS:
    # A site that only answers to the names of this machine has no TLS to enforce.
    SILENCED_SYSTEM_CHECKS = ["security.W004", "security.W008", "security.W012", "security.W016"]
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": ["'self'"],
        "img-src": ["'self'", "data:"],
        "object-src": ["'none'"],
        "base-uri": ["'self'"],
        "form-action": ["'self'"],
        "frame-ancestors": ["'none'"],
    }
}

# Logs: one line an event, to standard error

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "line": {"format": "%(asctime)s %(levelname)s %(name)s: %(message)s"},
    },
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["stderr"], "level": LOG_LEVEL},
    "loggers": {
        "axes": {"level": "WARNING"},
        "urllib3": {"level": "ERROR"},  # its warnings quote what the other side sent
    },
}
