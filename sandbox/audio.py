"""Made-up audio for previews."""

import array
import functools
import io
import math
import sys
import wave
import zlib
from pathlib import Path

SAMPLE_RATE = 16_000
_NOTE = SAMPLE_RATE // 4
_FADE = SAMPLE_RATE // 50
_CHORDS = ((0, 4, 7, 12), (0, 3, 7, 12), (0, 5, 9, 12), (12, 7, 4, 0), (12, 9, 5, 0), (0, 7, 4, 12))


@functools.lru_cache(maxsize=64)
def wav(seed: str) -> bytes:
    """Return one second of 16-bit mono WAV: four notes, which depend on the seed."""
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
    """Return one second of MP3: `wav("an MP3")` after `lame -b 32 --cbr -t -m m --resample 16`."""
    return (Path(__file__).parent / "notes.mp3").read_bytes()
