"""The sound of a voice's preview, made here so that the sandbox ships no recordings."""

import array
import functools
import io
import math
import sys
import wave
import zlib

SAMPLE_RATE = 16_000
_NOTE = SAMPLE_RATE // 4
_FADE = SAMPLE_RATE // 50
_CHORDS = ((0, 4, 7, 12), (0, 3, 7, 12), (0, 5, 9, 12), (12, 7, 4, 0), (12, 9, 5, 0), (0, 7, 4, 12))

# MPEG-1 Layer III, no CRC, 64 kbit/s, 44.1 kHz, mono. 144 * 64000 / 44100, rounded down, is 208.
_MP3_HEADER = b"\xff\xfb\x50\xc4"
_MP3_FRAME_SIZE = 208
_MP3_FRAMES = 39


@functools.lru_cache(maxsize=64)
def wav(seed: str) -> bytes:
    """Return one second of 16-bit mono WAV: four notes, others for another seed."""
    number = zlib.crc32(seed.encode("utf-8", "replace"))
    root = 196.0 * 2 ** (number % 997 / 997)
    chord = _CHORDS[number // 997 % len(_CHORDS)]
    overtone = 0.15 + number // 5_982 % 8 / 20
    samples = array.array("h")
    for step in chord:
        omega = 2 * math.pi * root * 2 ** (step / 12) / SAMPLE_RATE
        for i in range(_NOTE):
            fade = min(1.0, i / _FADE, (_NOTE - 1 - i) / _FADE)
            tone = math.sin(omega * i) + overtone * math.sin(2 * omega * i)
            samples.append(int(fade * tone * 16_000))
    if sys.byteorder == "big":
        samples.byteswap()
    file = io.BytesIO()
    with wave.open(file, "wb") as recording:
        recording.setnchannels(1)
        recording.setsampwidth(2)
        recording.setframerate(SAMPLE_RATE)
        recording.writeframes(samples.tobytes())
    return file.getvalue()


@functools.cache
def mp3() -> bytes:
    """Return one second of silent MP3.

    After each frame's header all is zero: side information that says "no spectrum in this frame".
    """
    return _MP3_HEADER.ljust(_MP3_FRAME_SIZE, b"\0") * _MP3_FRAMES
