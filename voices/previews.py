"""A voice's audio: where it lies in public, or what Ultravox made of it, kept in files of this machine.

Ultravox may make a preview anew for each request, which takes seconds and may cost money. So it is asked
once, by one thread of a process, and what came is kept under a name made of all that the audio depends on:
a changed voice has another name. Failures are kept, too, for a minute. Files are plain, for their owner only,
and the least recently used go first.
"""

import contextlib
import hashlib
import json
import logging
import os
import re
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit
from uuid import UUID

from django.conf import settings
from django.db.models import Case, When
from django.utils.crypto import salted_hmac

from agencies.credentials import agencies_with_key, get_agency_credentials
from ultravox import KEY_STATUSES, REDIRECT_STATUSES, Response, get_preview, server_of
from voiceproject.errors import (
    Busy,
    CredentialsUnavailable,
    NoApiKey,
    NoPreview,
    PreviewUnavailable,
    ServiceError,
    UltravoxError,
)
from voices.models import PUBLIC, Voice

logger = logging.getLogger(__name__)

MAX_BYTES = 10_000_000  # of one preview
AT_A_TIME = 20  # requests of a process that wait for Ultravox, or for another that does
KEPT = 60  # seconds that a failure counts, the address of a redirect, or audio that may be cut off
OURS = re.compile(r"[0-9a-f]{64}(\..*)?")  # names of files
# What audio files begin with. An MP3's frame is of layer III; AAC's frames look alike, but for the layer.
BEGINNINGS = {
    "audio/wav": rb"RIFF....WAVE",
    "audio/mpeg": rb"ID3|\xff[\xe2\xe3\xf2\xf3\xfa\xfb]",
    "audio/aac": rb"\xff[\xf0\xf1\xf8\xf9]",
    "audio/ogg": rb"OggS",
    "audio/flac": rb"fLaC",
    "audio/webm": rb"\x1a\x45\xdf\xa3",
    "audio/mp4": rb"....ftyp",
}
_TYPES = {kind: re.compile(start, re.DOTALL) for kind, start in BEGINNINGS.items()}


@dataclass(frozen=True)
class Elsewhere:
    """Audio that lies in public."""

    url: str


Preview = bytes | Elsewhere

_under_way: dict[str, Future[Preview]] = {}
_lock = threading.Lock()
_places = threading.BoundedSemaphore(AT_A_TIME)


def type_of(audio: bytes) -> str | None:
    """Return the media type that the bytes have; None if they are no audio."""
    return next((kind for kind, start in _TYPES.items() if start.match(audio)), None)


def preview_of(
    voice: Voice, *, agency: UUID | None, before_asking: Callable[[], object]
) -> Preview:
    """Return a voice's audio, for somebody who sees it, and who belongs to that agency, if any.

    Calls `before_asking` before Ultravox is asked; it may raise, and nobody is asked. Raises NoPreview,
    NoApiKey and CredentialsUnavailable if no agency that sees the voice has a key, or a readable one, Busy,
    and PreviewUnavailable with a sentence that says why.
    """
    url = _url(voice)
    if not url:
        raise NoPreview()
    try:
        if server_of(url) != server_of(settings.ULTRAVOX_API_URL):
            return Elsewhere(url)
    except UltravoxError:
        raise PreviewUnavailable("The voice's preview has an address that leads nowhere.") from None
    name = _name(voice)
    if kept := _kept(name):
        return kept
    if not _places.acquire(blocking=False):
        raise Busy()
    try:
        return _ask_once(name, url, voice, agency, before_asking)
    finally:
        _places.release()


def remove_unused() -> int:
    """Remove this machine's files of voices that are gone or have changed; return how many."""
    unused: list[Path] = []
    try:
        if files := _files():
            voices = Voice.objects.only("preview_url", "definition").exclude(preview_url=None)
            used = {_name(voice) for voice in voices.iterator()}
            unused = [file for file in files if file.name.partition(".")[0] not in used]
        for file in unused:
            file.unlink(missing_ok=True)
    except FileNotFoundError:
        pass  # no preview was ever kept here
    except OSError as error:
        logger.error("Previews cannot be removed from their folder: %s", error.strerror)
    return len(unused)


def _url(voice: Voice) -> str:
    return (voice.preview_url or "").strip()


def _name(voice: Voice) -> str:
    """Return the name under which a voice's audio is kept, made of all that it depends on."""
    depends_on = [voice.pk, _url(voice), voice.definition]
    return hashlib.sha256(json.dumps(depends_on, sort_keys=True).encode()).hexdigest()


def _kept(name: str) -> Preview | None:
    """Return what is kept under a name, and note its use. Raises PreviewUnavailable if that is a failure."""
    if failure := _read_recent(f"{name}.failed"):
        raise PreviewUnavailable(failure.decode())
    if address := _read_recent(f"{name}.redirect"):
        return Elsewhere(address.decode())
    if (file := _file(name)).exists():
        with contextlib.suppress(OSError):
            _note_use(file)
        with contextlib.suppress(FileNotFoundError):  # another process needed the room
            return file.read_bytes()
    return _read_recent(f"{name}.unsure")


def _ask_once(
    name: str, url: str, voice: Voice, agency: UUID | None, before_asking: Callable[[], object]
) -> Preview:
    """Ask, or wait for whoever in this process is asking the same."""
    key = ""
    if name not in _under_way:
        key = _key(name, voice, agency)
        before_asking()
    with _lock:
        future = _under_way.get(name)
        is_mine = future is None
        if future is None:
            future = _under_way[name] = Future()
    if is_mine:
        try:
            # Somebody may have been faster.
            preview = _kept(name) or _ask(name, url, key or _key(name, voice, agency))
            future.set_result(preview)
        except BaseException as error:
            future.set_exception(error)
        finally:
            del _under_way[name]
    return future.result()


def _ask(name: str, url: str, key: str) -> Preview:
    failed = f"{name}.failed"
    try:
        response = get_preview(
            url,
            api_url=settings.ULTRAVOX_API_URL,
            api_key=key,
            timeout=settings.ULTRAVOX_TIMEOUT,
            max_bytes=MAX_BYTES,
        )
        if response.status in KEY_STATUSES:
            failed = _refusal(name, key)
        preview = _preview_in(response)
    except UltravoxError as error:
        failure = PreviewUnavailable(None if error.is_transient else error.message)
    except PreviewUnavailable as error:
        failure = error
    else:
        if isinstance(preview, Elsewhere):
            _keep(f"{name}.redirect", preview.url.encode())
        else:
            _keep(f"{name}.unsure" if response.may_be_cut_off else name, preview)
        return preview
    _keep(failed, failure.message.encode())
    raise failure


def _key(name: str, voice: Voice, agency: UUID | None) -> str:
    """Return a key to ask with: of that agency, if it has one and sees the voice, else of any that does."""
    agencies = agencies_with_key().order_by(
        Case(When(pk=agency, then=0), default=1), "created_at", "id"
    )
    if voice.ownership != PUBLIC:
        agencies = agencies.filter(agencyvoice__voice=voice.pk)
    error: ServiceError = NoApiKey("No agency that sees this voice has an Ultravox API key.")
    for candidate in agencies:
        try:
            key = get_agency_credentials(candidate)
        except NoApiKey:
            continue  # it is blank
        except CredentialsUnavailable as unreadable:
            if isinstance(error, NoApiKey):
                error = unreadable
            continue
        if refusal := _read_recent(_refusal(name, key)):
            error = PreviewUnavailable(refusal.decode())
        else:
            return key
    raise error


def _refusal(name: str, key: str) -> str:
    """Return the name under which it is kept that Ultravox refused a key this preview."""
    return f"{name}.{salted_hmac('voices.previews', key, algorithm='sha256').hexdigest()}"


def _preview_in(response: Response) -> Preview:
    """Return what Ultravox's answer holds or leads to. Raises PreviewUnavailable."""
    status = response.status
    if status == 200 and type_of(response.body):
        return response.body
    if status < 300:
        reason = "What Ultravox sent for this voice is no audio."
    elif status in REDIRECT_STATUSES:
        address = response.headers.get("Location", "")
        with contextlib.suppress(UltravoxError):
            is_elsewhere = server_of(address) != server_of(settings.ULTRAVOX_API_URL)
            if is_elsewhere and urlsplit(address).scheme == "https":
                return Elsewhere(address)
        reason = "Ultravox's preview of this voice leads to an address that is not followed."
    elif status in KEY_STATUSES:
        reason = f"Ultravox refused the agency's API key (status {status})."
    elif status in (404, 410):
        reason = f"Ultravox has no preview of this voice (status {status})."
    elif 400 <= status < 500:
        reason = (
            f"This voice's provider refused to speak: it may be out of quota (status {status})."
        )
    else:
        reason = (
            f"Ultravox, or this voice's provider, failed (status {status}); try again in a minute."
        )
    raise PreviewUnavailable(reason)


# The files


def _file(name: str) -> Path:
    return settings.PREVIEW_FOLDER / name


def _read_recent(name: str) -> bytes | None:
    with contextlib.suppress(OSError):
        age = time.time() - _file(name).stat().st_mtime
        if abs(age) < KEPT:  # it is below 0 where the clock was set back
            return _file(name).read_bytes()
    return None


def _keep(name: str, content: bytes) -> None:
    """Write a file, whole or not at all, and make room for it; serving goes on where that fails."""
    unfinished = _file(f"{name}.{os.getpid()}")
    try:
        settings.PREVIEW_FOLDER.mkdir(mode=0o700, parents=True, exist_ok=True)
        unfinished.touch(mode=0o600)
        unfinished.write_bytes(content)
        _note_use(unfinished)
        unfinished.replace(_file(name))
        _make_room()
    except OSError as error:
        with contextlib.suppress(OSError):
            unfinished.unlink()
        logger.error("Previews are not kept in %s: %s", settings.PREVIEW_FOLDER, error.strerror)


def _files() -> list[Path]:
    """Return our files in the folder, which may hold others'."""
    return [file for file in settings.PREVIEW_FOLDER.iterdir() if OURS.fullmatch(file.name)]


def _note_use(file: Path) -> None:
    now = time.time_ns()  # the kernel's own time of a change is some milliseconds coarse
    os.utime(file, ns=(now, now))


def _make_room() -> None:
    """Remove the files that were used longest ago, until the others have PREVIEW_BYTES or less."""
    used = []
    for file in _files():
        with contextlib.suppress(FileNotFoundError):  # another process was faster
            status = file.stat()
            used.append((status.st_mtime_ns, status.st_size, file))
    total = 0
    for _, size, file in sorted(used, reverse=True):
        total += size
        if total > settings.PREVIEW_BYTES:
            file.unlink(missing_ok=True)
