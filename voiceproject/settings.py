"""All settings, read from the environment and from `.env`, in the order of the README's table."""

import gc
import logging
import os
from typing import Any

from csp.constants import NONE, SELF
from django.core.exceptions import ImproperlyConfigured
from environs import EnvError, validate

from voiceproject.env import (
    ABOVE_0,
    BASE_DIR,
    DAYS,
    HOURS,
    NOT_NEGATIVE,
    RATE,
    SCHEMA,
    addresses,
    env,
    optional,
    strings,
    url,
)
from voiceproject.logging.formats import FORMATTERS

gc.set_threshold(10_000)  # voices are many objects and no cycles: a fifth of the time to write them
SQLITE = {"ENGINE": "django.db.backends.sqlite3", "NAME": "db.sqlite3"}
NO_EMAIL = {"EMAIL_BACKEND": "django.core.mail.backends.dummy.EmailBackend"}
LOCMEM = {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}

try:
    # Django
    SECRET_KEY = optional(env.str, "DJANGO_SECRET_KEY", "")
    DEBUG = optional(env.bool, "DJANGO_DEBUG", False)
    ALLOWED_HOSTS = strings("DJANGO_ALLOWED_HOSTS") or ["localhost", "127.0.0.1"]
    _LOCAL = {"localhost", "127.0.0.1", "[::1]", ".localhost", "testserver"}
    _is_public = not DEBUG and any(host not in _LOCAL for host in ALLOWED_HOSTS)
    HTTPS = optional(env.bool, "DJANGO_HTTPS", _is_public)
    SECURE_HSTS_INCLUDE_SUBDOMAINS = optional(env.bool, "DJANGO_HSTS_SUBDOMAINS", False)
    SECURE_HSTS_PRELOAD = optional(env.bool, "DJANGO_HSTS_PRELOAD", False)
    TRUSTED_PROXIES = optional(env.int, "DJANGO_TRUSTED_PROXIES", 0, validate=NOT_NEGATIVE)
    LOG_LEVEL = optional(env.log_level, "DJANGO_LOG_LEVEL", logging.INFO)
    LOG_FORMAT = optional(env.str, "LOG_FORMAT", "text", validate=validate.OneOf([*FORMATTERS]))
    # The database and the cache
    DATABASES: dict[str, Any] = {"default": optional(env.dj_db_url, "DATABASE_URL", SQLITE)}
    DATABASE_SCHEMA = optional(env.str, "DATABASE_SCHEMA", "", validate=SCHEMA)
    CACHES = {"default": optional(env.cache_url, "CACHE_URL", LOCMEM)}
    # Keys and tokens
    CREDENTIALS_KEYS = strings("CREDENTIALS_KEYS")
    SERVICE_API_KEYS = strings("SERVICE_API_KEYS")
    SUPABASE_URL = url("SUPABASE_URL")
    SUPABASE_JWT_SECRET = optional(env.str, "SUPABASE_JWT_SECRET", "")
    # Ultravox
    ULTRAVOX_API_URL = url("ULTRAVOX_API_URL", "https://api.ultravox.ai")
    ULTRAVOX_TIMEOUT = optional(env.float, "ULTRAVOX_TIMEOUT", 10.0, validate=ABOVE_0)
    ULTRAVOX_DEADLINE = optional(env.float, "ULTRAVOX_DEADLINE", 50.0, validate=ABOVE_0)
    # Previews
    PREVIEW_FOLDER = BASE_DIR / optional(env.str, "PREVIEW_FOLDER", ".previews")
    PREVIEW_BYTES = optional(env.int, "PREVIEW_BYTES", 500_000_000, validate=NOT_NEGATIVE)
    # The schedule
    CELERY_BROKER_URL = optional(env.str, "CELERY_BROKER_URL", "filesystem://")
    # Watching it
    SYNC_PING_URL = url("SYNC_PING_URL")
    ADMINS = addresses("ADMINS")
    _email: dict[str, Any] = optional(env.email_url, "EMAIL_URL", NO_EMAIL)
    STALE_HOURS = optional(env.float, "STALE_HOURS", 24.0, validate=HOURS)
    SYNC_HISTORY_DAYS = optional(env.int, "SYNC_HISTORY_DAYS", 90, validate=DAYS)
    METRICS_TOKEN = optional(env.str, "METRICS_TOKEN", "")
    SENTRY_DSN = optional(env.str, "SENTRY_DSN", "")
    # Browsers, and limits against guessing and floods
    _origins = [origin.rstrip("/") for origin in strings("CORS_ALLOWED_ORIGINS")]
    RATE_LIMIT_SYNC = optional(env.str, "RATE_LIMIT_SYNC", "600/min", validate=RATE)
    RATE_LIMIT_PREVIEW = optional(env.str, "RATE_LIMIT_PREVIEW", "600/min", validate=RATE)
    RATE_LIMIT_TOKEN = optional(env.str, "RATE_LIMIT_TOKEN", "300/min", validate=RATE)
    RATE_LIMIT_FAILED = optional(env.str, "RATE_LIMIT_FAILED", "600/min", validate=RATE)
    AXES_FAILURE_LIMIT = optional(env.int, "LOGIN_FAILURES", 10, validate=ABOVE_0)
    LOGIN_LOCK_MINUTES = optional(env.float, "LOGIN_LOCK_MINUTES", 5.0, validate=ABOVE_0)
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
    "operations",
    "voiceproject.admin.AdminConfig",  # urls.py loads the admin: commands do without
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
    "drf_spectacular_sidecar",
    "rest_framework",
]
MIDDLEWARE = [
    "voiceproject.http.middleware.RequestIdMiddleware",
    "operations.probes.Probes",
    "corsheaders.middleware.CorsMiddleware",
    "voiceproject.http.middleware.ErrorFormatMiddleware",
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
            ]
        },
    }
]
TIME_ZONE = "UTC"
STATIC_URL = "static/"
WHITENOISE_USE_FINDERS = True  # serves the admin's files without `collectstatic`
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# The database and the cache: SQLite takes the write lock when a transaction begins, so that the second
# of two waits instead of failing half way, and readers do not wait for writers. A Redis cache that does
# not answer holds nobody up.

_database = DATABASES["default"]
_database["CONN_MAX_AGE"] = 60  # seconds
if _database["ENGINE"] == "django.db.backends.sqlite3":
    os.umask(0o077)  # its files are for their owner
    if _database["NAME"] and not _database["NAME"].startswith((":", "file:")):
        _database["NAME"] = BASE_DIR / _database["NAME"]
    _database["OPTIONS"] = {
        "timeout": 20,
        "transaction_mode": "IMMEDIATE",
        "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
    } | _database.get("OPTIONS", {})
elif _database["ENGINE"] == "django.db.backends.postgresql":
    # A server that is cut off is noticed within seconds, not the hours of the kernel's defaults.
    _database["OPTIONS"] = {
        "connect_timeout": 5,
        "tcp_user_timeout": 15_000,  # seconds, milliseconds
        "keepalives_idle": 10,
        "keepalives_interval": 5,
        "keepalives_count": 2,
    } | _database.get("OPTIONS", {})
    if DATABASE_SCHEMA:
        _given = _database["OPTIONS"].get("options", "")
        _database["OPTIONS"]["options"] = f"{_given} -c search_path={DATABASE_SCHEMA}"
    _database["CONN_HEALTH_CHECKS"] = True
    _database["DISABLE_SERVER_SIDE_CURSORS"] = True  # a pooler in transaction mode has none
_cache: dict[str, Any] = CACHES["default"]
if _cache["BACKEND"] == "django.core.cache.backends.redis.RedisCache":
    _timeouts = {"socket_connect_timeout": 1, "socket_timeout": 1}  # seconds
    _cache["OPTIONS"] = _timeouts | _cache.get("OPTIONS", {})

# Users, passwords, login

AUTH_USER_MODEL = "agencies.User"
AUTHENTICATION_BACKENDS = [
    "axes.backends.AxesStandaloneBackend",
    "django.contrib.auth.backends.ModelBackend",
]
PASSWORD_HASHERS = [
    "agencies.hashers.Argon2PasswordHasher",
    "django.contrib.auth.hashers.PBKDF2PasswordHasher",
]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}Validator"}
    for name in ("UserAttributeSimilarity", "MinimumLength", "CommonPassword", "NumericPassword")
]
LOGIN_URL = "login"
LOGIN_REDIRECT_URL = "library"
AXES_COOLOFF_TIME = LOGIN_LOCK_MINUTES / 60
AXES_HANDLER = "agencies.lockout.Handler"
AXES_LOCKOUT_PARAMETERS = [["username", "ip_address"]]
AXES_LOCKOUT_CALLABLE = "voiceproject.http.errors.locked_out"
AXES_RESET_ON_SUCCESS = True
AXES_RESET_COOL_OFF_ON_FAILURE_DURING_LOCKOUT = False
AXES_DISABLE_ACCESS_LOG = True
AXES_USERNAME_CALLABLE = "agencies.throttling.login_name"
AXES_CLIENT_IP_CALLABLE = "agencies.throttling.client_ip"
AXES_VERBOSE = False

# HTTP API

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": ["agencies.authentication.CallerAuthentication"],
    "DEFAULT_PERMISSION_CLASSES": ["agencies.permissions.Nobody"],
    "DEFAULT_PARSER_CLASSES": [
        "voiceproject.http.drf.JSONParser",
        "rest_framework.parsers.FormParser",
        "rest_framework.parsers.MultiPartParser",
    ],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_CONTENT_NEGOTIATION_CLASS": "voiceproject.http.drf.JSONNegotiation",
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "DEFAULT_THROTTLE_CLASSES": ["agencies.throttling.Throttle"],
    "DEFAULT_THROTTLE_RATES": {
        "sync": RATE_LIMIT_SYNC,
        "preview": RATE_LIMIT_PREVIEW,
        "token": RATE_LIMIT_TOKEN,
        "failed": RATE_LIMIT_FAILED,
    },
    "NON_FIELD_ERRORS_KEY": "body",
    "EXCEPTION_HANDLER": "voiceproject.http.errors.handle_exception",
    "NUM_PROXIES": TRUSTED_PROXIES,
    "URL_FORMAT_OVERRIDE": None,
}
SPECTACULAR_SETTINGS = {
    "TITLE": "Voices sync",
    "DESCRIPTION": "Mirrors the voices of the Ultravox API into a table that all agencies share.",
    "VERSION": "0.1.0",
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "ENUM_GENERATE_CHOICE_DESCRIPTION": False,  # their names say it all
    "SERVE_INCLUDE_SCHEMA": False,
    "SERVE_AUTHENTICATION": [],
    "COMPONENT_SPLIT_REQUEST": True,  # request fields may not be empty
}
# Tokens end when the password is changed.
SIMPLE_JWT = {"ISSUER": "voices-sync", "AUDIENCE": "voices-sync", "CHECK_REVOKE_TOKEN": True}

# Browsers on other origins: supabase-js preflights with these headers, `fetch` with those of caches, too.

CORS_ALLOW_ALL_ORIGINS = "*" in _origins
CORS_ALLOWED_ORIGINS = [origin for origin in _origins if origin != "*"]
CORS_ALLOW_HEADERS = [
    "accept",
    "apikey",
    "authorization",
    "content-type",
    "if-none-match",
    "range",
    "x-client-info",
    "x-region",
    "x-request-id",
    "x-supabase-api-version",
]
CORS_EXPOSE_HEADERS = ["Accept-Ranges", "Content-Range", "ETag", "Retry-After", "X-Request-ID"]

# Celery. The embedded broker keeps its messages in files. Nothing reads results.

CELERY_BEAT_SCHEDULER = "voiceproject.scheduler:DatabaseScheduler"
CELERY_TIMEZONE = TIME_ZONE
CELERY_TASK_IGNORE_RESULT = True
CELERY_RESULT_EXPIRES = None
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_TASK_ACKS_LATE = True
CELERY_TASK_REJECT_ON_WORKER_LOST = True
CELERY_BROKER_TRANSPORT_OPTIONS: dict[str, Any] = {}
BACKGROUND_DEADLINE = 10 * ULTRAVOX_DEADLINE  # seconds, for a sync that no request waits for
match CELERY_BROKER_URL.split("://"):
    case ["filesystem", _folder]:
        BROKER_FOLDER = BASE_DIR / (_folder.rstrip("/") or ".celery")
        CELERY_BROKER_TRANSPORT = "voiceproject.filesystem_broker:Transport"
        CELERY_BROKER_TRANSPORT_OPTIONS = {
            "data_folder_in": str(BROKER_FOLDER / "messages"),
            "data_folder_out": str(BROKER_FOLDER / "messages"),
            "control_folder": str(BROKER_FOLDER / "control"),
        }
    case ["redis" | "rediss", *_]:
        # A message that no worker has acknowledged in this time, that of the longest sync, its write and
        # its report, goes to another worker, which waits for the first sync if that is alive after all.
        # Workers look for such messages every 5 seconds; the default is 100.
        CELERY_BROKER_TRANSPORT_OPTIONS = {
            "visibility_timeout": BACKGROUND_DEADLINE + 30,
            "unacked_restore_interval": 5,
            "unacked_restore_throttle": 1,
        }
    case ["amqp" | "amqps" | "pyamqp", *_]:
        CELERY_TASK_DEFAULT_QUEUE_TYPE = "quorum"
        CELERY_BROKER_TRANSPORT_OPTIONS = {"confirm_publish": True}

# Security headers, cookies, the content security policy

# Pages for people redirect to HTTPS, and show errors as pages. Other addresses never redirect: that loses
# a POST.
PAGE_ADDRESSES = r"admin(?:/|\Z)|(?:login/?|logout/)?\Z"
SECURE_SSL_REDIRECT = HTTPS
SECURE_REDIRECT_EXEMPT = [rf"^(?!{PAGE_ADDRESSES})"]
SECURE_HSTS_SECONDS = 365 * 24 * 3600 if HTTPS else 0
SESSION_COOKIE_SECURE = HTTPS
CSRF_COOKIE_SECURE = HTTPS
CSRF_FAILURE_VIEW = "voiceproject.http.errors.csrf_failed"
if TRUSTED_PROXIES:
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
# Subdomains and browsers' preload lists are for the operator to decide.
SILENCED_SYSTEM_CHECKS = ["security.W005", "security.W021"]
if not HTTPS:
    # A site that only answers to the names of this machine has no TLS to enforce.
    SILENCED_SYSTEM_CHECKS += ["security.W004", "security.W008", "security.W012", "security.W016"]
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [SELF],
        "img-src": [SELF, "data:"],
        "object-src": [NONE],
        # Previews are played from where providers keep them, by HTTP where this is not HTTPS itself.
        "media-src": [SELF, "https:", *([] if HTTPS else ["http:"])],
        "base-uri": [SELF],
        "form-action": [SELF],
        "frame-ancestors": [NONE],
    }
}

# Logs: one line per event, to standard error. E-mails are for scheduled syncs: voices/watchdog.py.

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"()": FORMATTERS[LOG_FORMAT]}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["stderr"], "level": LOG_LEVEL},
    "loggers": {
        "django": {"handlers": []},  # Django's own would e-mail each error to ADMINS
        "axes": {"level": "WARNING"},
        "multiprocessing": {"handlers": ["stderr"]},  # celery's pool
        "urllib3": {"level": "ERROR"},  # its warnings quote what the other side sent
    },
}

# E-mails and Sentry, which takes a while to load

EMAIL_TIMEOUT = 10  # seconds
globals().update({name: value for name, value in _email.items() if value is not None})
EMAIL_SUBJECT_PREFIX = f"[Voices sync, {ALLOWED_HOSTS[0]}] "
if ADMINS:
    SERVER_EMAIL = _email.get("SERVER_EMAIL") or ADMINS[0][1]
if SENTRY_DSN:
    from voiceproject.logging import sentry

    sentry.start(SENTRY_DSN)
