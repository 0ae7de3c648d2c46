"""A voice's preview: which key to use, and one request to Ultravox at a time.

Generating a preview takes Ultravox seconds and may cost money. So a process sends one request for it while
other listeners wait, and the machine caches the audio.
"""

import contextlib
import threading
from collections.abc import Callable
from concurrent.futures import Future
from urllib.parse import urlsplit
from uuid import UUID

from django.conf import settings
from django.utils.crypto import salted_hmac

from agencies.credentials import agencies_with_key, get_agency_credentials
from ultravox import KEY_STATUSES, REDIRECT_STATUSES, get_preview, server_of
from voiceproject import errors
from voices.models import PUBLIC, Voice
from voices.previews import cache
from voices.previews.audio import media_type

MAX_BYTES = 10_000_000  # of one preview
RECENT = 60  # seconds for which errors, redirects and audio that may be incomplete are cached

_slots = threading.BoundedSemaphore(settings.PREVIEW_SLOTS)
_pending: dict[str, Future[bytes | str]] = {}


def fetch_preview(
    voice: Voice, *, agency_id: UUID | None, before_request: Callable[[], object]
) -> bytes | str:
    """Return the audio of a voice that the caller sees, or the URL of a public copy.

    Prefers the key of the caller's agency. Calls `before_request`, which may raise, before a request to
    Ultravox. Raises NoPreview, NoApiKey, CredentialsUnavailable, PreviewUnavailable and Busy.
    """
    url = (voice.preview_url or "").strip()
    if not url:
        raise errors.NoPreview()
    try:
        if not _is_on_ultravox(url):
            return url
    except errors.UltravoxError:
        raise errors.PreviewUnavailable("This voice's preview URL is invalid.") from None
    name = cache.file_name(voice)
    if cached := _load(name):
        return cached
    if not _slots.acquire(blocking=False):
        raise errors.Busy()
    try:
        future = _pending.get(name)
        if future is None:
            key = _usable_key(name, voice, agency_id)
            before_request()
            future = _request_once(name, url, key)
        return future.result()
    finally:
        _slots.release()


def _is_on_ultravox(url: str) -> bool:
    """Return whether the URL has Ultravox's host and port. Raises UltravoxError if it is invalid."""
    return server_of(url) == server_of(settings.ULTRAVOX_API_URL)


def _load(name: str) -> bytes | str | None:
    """Return the cached preview, or raise the cached error."""
    if error := cache.load(f"{name}.error", max_age=RECENT):
        raise errors.PreviewUnavailable(error.decode())
    if url := cache.load(f"{name}.redirect", max_age=RECENT):
        return url.decode()
    return cache.load(name) or cache.load(f"{name}.incomplete", max_age=RECENT)


def _usable_key(name: str, voice: Voice, agency_id: UUID | None) -> str:
    """Return the key of the caller's agency, or else of another agency that sees the voice."""
    agencies = agencies_with_key().order_by("created_at", "id")
    if voice.ownership != PUBLIC:
        agencies = agencies.filter(agencyvoice__voice=voice.pk)
    error: errors.ServiceError = errors.NoApiKey(
        "No agency that sees this voice has an Ultravox API key."
    )
    for agency in sorted(agencies, key=lambda agency: agency.pk != agency_id):
        try:
            key = get_agency_credentials(agency)
        except errors.NoApiKey:
            continue  # it is blank
        except errors.CredentialsUnavailable as unreadable:
            if isinstance(error, errors.NoApiKey):
                error = unreadable
            continue
        rejection = cache.load(_rejection_name(name, key), max_age=RECENT)
        if rejection is None:
            return key
        error = errors.PreviewUnavailable(rejection.decode())
    raise error


def _rejection_name(name: str, key: str) -> str:
    """Return the name of the file that records that Ultravox rejected the key for this preview."""
    return f"{name}.{salted_hmac('voices.previews', key, algorithm='sha256').hexdigest()}"


def _request_once(name: str, url: str, key: str) -> Future[bytes | str]:
    """Send the request, unless another thread is already waiting for the same preview."""
    own: Future[bytes | str] = Future()
    future = _pending.setdefault(name, own)  # atomic
    if future is own:
        try:
            # Another thread may have stored it a moment ago.
            own.set_result(_load(name) or _request(name, url, key))
        except BaseException as error:
            own.set_exception(error)
        finally:
            del _pending[name]
    return future


def _request(name: str, url: str, key: str) -> bytes | str:
    """Request the preview from Ultravox, and cache the audio, the redirect or the error."""
    try:
        response = get_preview(
            url,
            api_url=settings.ULTRAVOX_API_URL,
            api_key=key,
            timeout=settings.ULTRAVOX_TIMEOUT,
            max_bytes=MAX_BYTES,
        )
    except errors.UltravoxError as error:
        raise _failure(f"{name}.error", None if error.is_transient else error.message) from None
    status = response.status
    if status == 200 and media_type(response.body):
        cache.store(f"{name}.incomplete" if response.may_be_cut_off else name, response.body)
        return response.body
    if status in REDIRECT_STATUSES:
        location = response.headers.get("Location", "")
        with contextlib.suppress(errors.UltravoxError):
            if not _is_on_ultravox(location) and urlsplit(location).scheme == "https":
                cache.store(f"{name}.redirect", location.encode())
                return location
    is_rejection = status in KEY_STATUSES
    raise _failure(_rejection_name(name, key) if is_rejection else f"{name}.error", _reason(status))


def _failure(name: str, message: str | None) -> errors.PreviewUnavailable:
    """Cache the error, and return it."""
    error = errors.PreviewUnavailable(message)
    cache.store(name, error.message.encode())
    return error


def _reason(status: int) -> str:
    """Return a sentence that names the cause, as far as the status shows it."""
    if status < 300:
        return "Ultravox didn't return audio for this voice."
    if status in REDIRECT_STATUSES:
        return "Ultravox redirected this preview to an address that isn't allowed."
    if status in KEY_STATUSES:
        return f"Ultravox rejected the agency's API key. ({status})"
    if status in (404, 410):
        return f"Ultravox has no preview of this voice. ({status})"
    if 400 <= status < 500:
        return f"The provider couldn't generate this preview; its quota may be used up. ({status})"
    return f"Ultravox or this voice's provider had a problem. Try again in a minute. ({status})"
