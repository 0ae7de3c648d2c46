"""The media type of audio by its first bytes, because Ultravox sometimes labels MP3 as text/plain."""

import re

# An MP3 frame is of layer III. An AAC frame differs only in the layer.
FIRST_BYTES = {
    "audio/wav": rb"(?s)RIFF....WAVE",
    "audio/mpeg": rb"ID3|\xff[\xe2\xe3\xf2\xf3\xfa\xfb]",
    "audio/aac": rb"\xff[\xf0\xf1\xf8\xf9]",
    "audio/ogg": rb"OggS",
    "audio/flac": rb"fLaC",
    "audio/webm": rb"\x1a\x45\xdf\xa3",
    "audio/mp4": rb"(?s)....ftyp",
}


def media_type(audio: bytes) -> str | None:
    """Return the media type, or None if the bytes are not audio."""
    return next((kind for kind, start in FIRST_BYTES.items() if re.match(start, audio)), None)
