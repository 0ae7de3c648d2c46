"""Every setting, from the environment and `.env`, in the order of docs/configuration.md."""

import logging
import os
from typing import Any

from corsheaders.defaults import default_headers
from csp.constants import NONE, SELF
from django.core.exceptions import ImproperlyConfigured
from environs import EnvError, validate

from voiceproject import env
from voiceproject.env import BASE_DIR
from voiceproject.logging.formats import FORMATTERS

SQLITE = {"ENGINE": "django.db.backends.sqlite3", "NAME": "db.sqlite3"}
LOCMEM = {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}
NO_EMAIL = {"EMAIL_BACKEND": "django.core.mail.backends.dummy.EmailBackend"}

try:
    # Django
    SECRET_KEY = env.text("DJANGO_SECRET_KEY", "")
    DEBUG = env.boolean("DJANGO_DEBUG", False)
    ALLOWED_HOSTS = env.strings("DJANGO_ALLOWED_HOSTS") or ["localhost", "127.0.0.1"]
    _LOCAL = {"localhost", "127.0.0.1", "[::1]", ".localhost", "testserver"}
    _is_public = not DEBUG and not _LOCAL.issuperset(ALLOWED_HOSTS)
    HTTPS = env.boolean("DJANGO_HTTPS", _is_public)
    SECURE_HSTS_INCLUDE_SUBDOMAINS = env.boolean("DJANGO_HSTS_SUBDOMAINS", False)
    SECURE_HSTS_PRELOAD = env.boolean("DJANGO_HSTS_PRELOAD", False)
    TRUSTED_PROXIES = env.integer("DJANGO_TRUSTED_PROXIES", 0, validate=env.NOT_NEGATIVE)
    LOG_LEVEL = env.log_level("DJANGO_LOG_LEVEL", logging.INFO)
    LOG_FORMAT = env.text("LOG_FORMAT", "text", validate=validate.OneOf([*FORMATTERS]))
    # Database and cache
    DATABASES: dict[str, Any] = {"default": env.database_url("DATABASE_URL", SQLITE)}
    DATABASE_SCHEMA = env.text("DATABASE_SCHEMA", "", validate=env.SCHEMA)
    CACHES: dict[str, Any] = {"default": env.cache_url("CACHE_URL", LOCMEM)}
    # Keys and tokens
    CREDENTIALS_KEYS = env.strings("CREDENTIALS_KEYS")
    SERVICE_API_KEYS = env.strings("SERVICE_API_KEYS")
    SUPABASE_URL = env.url("SUPABASE_URL")
    SUPABASE_JWT_SECRET = env.text("SUPABASE_JWT_SECRET", "")
    # Ultravox and previews
    ULTRAVOX_API_URL = env.url("ULTRAVOX_API_URL", "https://api.ultravox.ai")
    ULTRAVOX_TIMEOUT = env.number("ULTRAVOX_TIMEOUT", 10.0, validate=env.ABOVE_0)
    ULTRAVOX_DEADLINE = env.number("ULTRAVOX_DEADLINE", 50.0, validate=env.ABOVE_0)
    PREVIEW_FOLDER = BASE_DIR / env.text("PREVIEW_FOLDER", ".previews")
    PREVIEW_BYTES = env.integer("PREVIEW_BYTES", 500_000_000, validate=env.NOT_NEGATIVE)
    # Schedule
    CELERY_BROKER_URL = env.text("CELERY_BROKER_URL", "")
    # Monitoring
    SYNC_PING_URL = env.url("SYNC_PING_URL")
    ADMINS = env.addresses("ADMINS")
    _email: dict[str, object] = env.email_url("EMAIL_URL", NO_EMAIL)
    STALE_HOURS = env.number("STALE_HOURS", 24.0, validate=env.HOURS)
    SYNC_HISTORY_DAYS = env.integer("SYNC_HISTORY_DAYS", 90, validate=env.DAYS)
    METRICS_TOKEN = env.text("METRICS_TOKEN", "")
    SENTRY_DSN = env.text("SENTRY_DSN", "")
    # Browsers, and limits against guessing and floods
    _origins = [origin.rstrip("/") for origin in env.strings("CORS_ALLOWED_ORIGINS")]
    RATE_LIMIT_SYNC = env.text("RATE_LIMIT_SYNC", "600/min", validate=env.RATE)
    RATE_LIMIT_PREVIEW = env.text("RATE_LIMIT_PREVIEW", "600/min", validate=env.RATE)
    RATE_LIMIT_TOKEN = env.text("RATE_LIMIT_TOKEN", "300/min", validate=env.RATE)
    RATE_LIMIT_FAILED = env.text("RATE_LIMIT_FAILED", "600/min", validate=env.RATE)
    AXES_FAILURE_LIMIT = env.integer("LOGIN_FAILURES", 10, validate=env.ABOVE_0)
    LOGIN_LOCK_MINUTES = env.number("LOGIN_LOCK_MINUTES", 5.0, validate=env.ABOVE_0)
except EnvError as error:
    raise ImproperlyConfigured(f"{error} (in the environment or in .env)") from error

if not (SECRET_KEY or DEBUG):
    raise ImproperlyConfigured(
        "DJANGO_SECRET_KEY is not set. Set it to a long random text, for example the output of "
        "`python -c 'import secrets; print(secrets.token_urlsafe(50))'`, "
        "or set DJANGO_DEBUG=true on a development machine."
    )
SECRET_KEY = SECRET_KEY or "insecure-and-public-for-development-with-DJANGO_DEBUG-only"

# Threads. A request that waits for Ultravox holds a thread until its deadline. The slots limit how
# many requests of a process do so, and leave threads for all other requests.
SYNC_SLOTS = 24  # joined syncs included
PREVIEW_SLOTS = 20
WEB_THREADS = SYNC_SLOTS + PREVIEW_SLOTS + 4
BACKGROUND_DEADLINE = 10 * ULTRAVOX_DEADLINE  # seconds, for a sync that no request waits for
# Seconds for syncs in progress to finish after SIGTERM. The files in deploy/ allow slightly more.
STOP_SECONDS = int(ULTRAVOX_DEADLINE) + 30

# Applications
INSTALLED_APPS = [
    "agencies",
    "voices",
    "operations",
    "voiceproject.admin.AdminConfig",
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
    "operations.probes.ProbesMiddleware",
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
APPEND_SLASH = False  # addresses work with and without a slash: a redirect would lose a POST
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
WHITENOISE_USE_FINDERS = True  # no need for `collectstatic`
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# Database and cache
_database = DATABASES["default"]
_database["CONN_MAX_AGE"] = 60  # seconds
if _database["ENGINE"] == "django.db.backends.sqlite3":
    os.umask(0o077)  # only the owner may read the files
    if _database["NAME"] and not _database["NAME"].startswith((":", "file:")):
        _database["NAME"] = BASE_DIR / _database["NAME"]
    _database["OPTIONS"] = {
        "timeout": 20,
        # A transaction takes the write lock when it begins: later, it would fail instead of waiting.
        "transaction_mode": "IMMEDIATE",
        "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
    } | _database.get("OPTIONS", {})
elif _database["ENGINE"] == "django.db.backends.postgresql":
    # Detect an unreachable server within seconds. The kernel's defaults take hours.
    _database["OPTIONS"] = {
        "connect_timeout": 5,  # seconds
        "tcp_user_timeout": 15_000,  # milliseconds
        "keepalives_idle": 10,
        "keepalives_interval": 5,
        "keepalives_count": 2,
    } | _database.get("OPTIONS", {})
    if DATABASE_SCHEMA:
        _options = _database["OPTIONS"].get("options", "")
        _database["OPTIONS"]["options"] = f"{_options} -c search_path={DATABASE_SCHEMA}"
    _database["CONN_HEALTH_CHECKS"] = True
    _database["DISABLE_SERVER_SIDE_CURSORS"] = True  # a pooler in transaction mode cannot keep them
_cache = CACHES["default"]
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
    "DEFAULT_PERMISSION_CLASSES": ["agencies.permissions.DenyAll"],
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
}
SPECTACULAR_SETTINGS = {
    "TITLE": "Voices sync",
    "DESCRIPTION": "Mirrors the voices of the Ultravox API into a table that all agencies share.",
    "VERSION": "0.1.0",
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "ENUM_GENERATE_CHOICE_DESCRIPTION": False,
    "SERVE_INCLUDE_SCHEMA": False,
    "SERVE_AUTHENTICATION": [],
    "COMPONENT_SPLIT_REQUEST": True,  # request fields must not be empty
}
# A new password revokes all tokens.
SIMPLE_JWT = {"ISSUER": "voices-sync", "AUDIENCE": "voices-sync", "CHECK_REVOKE_TOKEN": True}

# CORS. The headers are those of supabase-js and of fetch() with caching and ranges.
CORS_ALLOW_ALL_ORIGINS = "*" in _origins
CORS_ALLOWED_ORIGINS = [origin for origin in _origins if origin != "*"]
CORS_ALLOW_HEADERS = [
    *default_headers,
    "apikey",
    "if-none-match",
    "range",
    "x-client-info",
    "x-region",
    "x-request-id",
    "x-supabase-api-version",
]
CORS_EXPOSE_HEADERS = ["Accept-Ranges", "Content-Range", "ETag", "Retry-After", "X-Request-ID"]

# Security headers and cookies. Only pages for people redirect to HTTPS, and show errors as pages.
PAGE_ADDRESSES = r"admin(?:/|\Z)|(?:login/?|logout/)?\Z"
SECURE_SSL_REDIRECT = HTTPS
SECURE_REDIRECT_EXEMPT = [rf"^(?!{PAGE_ADDRESSES})"]
SECURE_HSTS_SECONDS = 365 * 24 * 3600 if HTTPS else 0
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = HTTPS
CSRF_FAILURE_VIEW = "voiceproject.http.errors.csrf_failed"
if TRUSTED_PROXIES:
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
# Checks for HSTS on subdomains and in preload lists: the operator decides.
SILENCED_SYSTEM_CHECKS = ["security.W005", "security.W021"]
if not HTTPS:  # checks for HSTS, the redirect and secure cookies
    SILENCED_SYSTEM_CHECKS += ["security.W004", "security.W008", "security.W012", "security.W016"]
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [SELF],
        "img-src": [SELF, "data:"],
        "object-src": [NONE],
        # Previews may be on a provider's host.
        "media-src": [SELF, "https:", *([] if HTTPS else ["http:"])],
        "base-uri": [SELF],
        "form-action": [SELF],
        "frame-ancestors": [NONE],
    }
}

# Logs: one line per event, to standard error
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"()": FORMATTERS[LOG_FORMAT]}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["stderr"], "level": LOG_LEVEL},
    "loggers": {
        "django": {"handlers": []},  # Django's default emails each error to ADMINS
        "axes": {"level": "WARNING"},
        "multiprocessing": {"handlers": ["stderr"]},  # celery's pool
        "urllib3": {"level": "ERROR"},  # its warnings quote responses
    },
}

# Emails and Sentry
EMAIL_TIMEOUT = 10  # seconds
globals().update({name: value for name, value in _email.items() if value is not None})
EMAIL_SUBJECT_PREFIX = f"[Voices sync, {ALLOWED_HOSTS[0]}] "
if ADMINS:
    SERVER_EMAIL = _email.get("SERVER_EMAIL") or ADMINS[0][1]
if SENTRY_DSN:
    from voiceproject.logging import sentry  # only here: it loads slowly

    sentry.start(SENTRY_DSN)
