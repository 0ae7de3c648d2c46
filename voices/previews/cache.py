"""Files in PREVIEW_FOLDER, readable by their owner only.

A file's name begins with a hash of everything that the audio depends on, so a changed voice gets new files.
"""

import contextlib
import hashlib
import json
import logging
import math
import os
import re
import time
from pathlib import Path

from django.conf import settings

from voices.models import Voice

logger = logging.getLogger(__name__)

FILE_NAME = re.compile(r"[0-9a-f]{64}(\..*)?")


def file_name(voice: Voice) -> str:
    """Return the name of the file for the voice's audio."""
    content = json.dumps([voice.pk, voice.preview_url, voice.definition], sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()


def load(name: str, *, max_age: float = math.inf) -> bytes | None:
    """Return the content of a file that is at most `max_age` seconds old."""
    file = settings.PREVIEW_FOLDER / name
    with contextlib.suppress(OSError):
        now, stored_at = time.time(), file.stat().st_mtime
        if abs(now - stored_at) < max_age:  # negative if the clock was set back
            os.utime(file, (now, stored_at))
            return file.read_bytes()
    return None


def store(name: str, content: bytes) -> None:
    """Write a whole file or none. An error is logged, because previews work without a cache."""
    folder = settings.PREVIEW_FOLDER
    temporary = folder / f"{name}.{os.getpid()}"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        temporary.touch(mode=0o600)
        temporary.write_bytes(content)
        temporary.replace(folder / name)
        _make_room()
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        logger.error("Previews can't be cached in %s: %s", folder, error.strerror)


def remove_unused() -> int:
    """Remove this machine's files of voices that are gone or have changed, and return their number."""
    files = _files()
    voices = Voice.objects.only("preview_url", "definition").exclude(preview_url=None)
    used = {file_name(voice) for voice in voices.iterator()}
    unused = [file for file in files if file.name.partition(".")[0] not in used]
    try:
        for file in unused:
            file.unlink(missing_ok=True)
    except OSError as error:
        logger.error("Unused previews can't be removed: %s", error.strerror)
    return len(unused)


def _files() -> list[Path]:
    """Return the cache's files. The folder may hold others."""
    return [file for file in settings.PREVIEW_FOLDER.glob("*") if FILE_NAME.fullmatch(file.name)]


def _make_room() -> None:
    """Remove the least recently used files until the others have at most PREVIEW_BYTES."""
    total = 0
    with contextlib.suppress(FileNotFoundError):  # another process removes files as well
        for file in sorted(_files(), key=lambda file: file.stat().st_atime_ns, reverse=True):
            total += file.stat().st_size
            if total > settings.PREVIEW_BYTES:
                file.unlink(missing_ok=True)
