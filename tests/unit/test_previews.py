"""Media types by first bytes, and the cache's files."""

import os
import stat
from pathlib import Path
from typing import Any

import pytest
import time_machine

from sandbox import audio
from voices.previews import cache, media_type

NAMES = ["a" * 64, "b" * 64, "c" * 64]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (audio.wav("v"), "audio/wav"),
        (audio.mp3(), "audio/mpeg"),
        (b"ID3\x04\0\0", "audio/mpeg"),
        (b"\xff\xf1\x50\x80", "audio/aac"),
        (b"OggS\0\2", "audio/ogg"),
        (b"fLaC\0", "audio/flac"),
        (b"\x1a\x45\xdf\xa3\0", "audio/webm"),
        (b"\0\0\0\x1cftypM4A ", "audio/mp4"),
        (b"", None),
        (b"RIFF", None),
        (b"<h1>no</h1>", None),
        (b"\xff\xff\xff", None),
    ],
)
def test_media_type(content: bytes, expected: str | None) -> None:
    assert media_type(content) == expected


@pytest.fixture
def folder(tmp_path: Path, settings: Any) -> Path:
    settings.PREVIEW_FOLDER = tmp_path / "previews"
    return tmp_path / "previews"


def test_only_the_owner_can_read_the_files(folder: Path) -> None:
    umask = os.umask(0)
    cache.store(NAMES[0], b"audio")
    os.umask(umask)
    assert cache.load(NAMES[0]) == b"audio"
    assert stat.S_IMODE((folder / NAMES[0]).stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_the_least_recently_used_files_are_removed_first(folder: Path, settings: Any) -> None:
    settings.PREVIEW_BYTES = 10
    folder.mkdir()
    for number, name in enumerate(["of another program", *NAMES]):
        (folder / name).write_bytes(b"audio")
        os.utime(folder / name, (number, number))
    cache.store("d" * 64, b"audio")
    assert {file.name for file in folder.iterdir()} == {"of another program", NAMES[2], "d" * 64}
    with time_machine.travel(4_000_000_000, tick=False):
        cache.load(NAMES[2])
    status = (folder / NAMES[2]).stat()
    assert (status.st_atime, status.st_mtime) == (4_000_000_000, 3)


def test_a_folder_that_cannot_be_written_is_logged(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder.write_text("a file")
    cache.store(NAMES[0], b"audio")
    assert cache.load(NAMES[0]) is None
    assert "Previews can't be cached" in caplog.text
