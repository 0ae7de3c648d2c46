"""Ultravox's voices API as a function from request to response, without sockets.

Source: Ultravox's OpenAPI description of `GET /api/voices`, `/api/voices/{voice_id}` and its `/preview`.
"""

import base64
import binascii
import json
import re
import zlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, unquote, urlencode

from sandbox import audio

LISTING_PATH = "/api/voices"
DEFAULT_PAGE_SIZE = 100
MAX_PAGE_SIZE = 200

Parameters = list[tuple[str, str]]

_VOICE = re.compile(re.escape(LISTING_PATH) + "/(.+?)(/preview)?", re.DOTALL)
_AUDIO = re.compile(r"/audio/(.+)\.wav", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Response:
    status: int
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)


class BadQuery(Exception):
    """A query that Ultravox rejects, with its `response`."""

    def __init__(self, status: int, detail: dict[str, Any]) -> None:
        super().__init__(status, detail)
        self.response = as_json(status, detail)


def dump(value: Any) -> bytes:
    """Return JSON as Django REST framework writes it. Text that UTF-8 cannot encode is escaped."""
    try:
        return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
    except UnicodeEncodeError:
        return json.dumps(value, separators=(",", ":")).encode()


def as_json(status: int, value: Any, **headers: str) -> Response:
    return Response(status, dump(value), {"Content-Type": "application/json"} | headers)


def parse_parameters(target: str) -> Parameters:
    return parse_qsl(target.partition("?")[2], keep_blank_values=True, errors="replace")


def encode_cursor(offset: int) -> str:
    return base64.b64encode(f"o={offset}".encode()).decode()


def decode_cursor(cursor: str | None) -> int:
    """Return the cursor's offset. Raises BadQuery."""
    if not cursor:
        return 0
    try:
        match = re.fullmatch(r"o=(\d{1,12})", base64.b64decode(cursor, validate=True).decode())
    except (binascii.Error, ValueError):
        match = None
    if not match:
        raise BadQuery(404, {"detail": "Invalid cursor"})
    return int(match[1])


class Api:
    """The API for a list of voices, which may change at any time."""

    def __init__(
        self, voices: Sequence[Any], keys: Collection[str], *, max_page_size: int = MAX_PAGE_SIZE
    ) -> None:
        self.voices = list(voices)
        self.keys = set(keys)
        self._max_page_size = max_page_size

    def respond(self, method: str, target: str, *, key: str | None, base_url: str) -> Response:
        """Return the response to a request. `key` is its X-API-Key; links start with `base_url`."""
        path = unquote(target.partition("?")[0])
        if method not in ("GET", "HEAD"):
            return as_json(405, {"detail": f'Method "{method}" not allowed.'}, Allow="GET, HEAD")
        if match := _AUDIO.fullmatch(path):
            return self._recording(match[1])
        match = _VOICE.fullmatch(path)
        if path != LISTING_PATH and not match:
            return as_json(404, {"detail": "Not found."})
        if key not in self.keys:
            missing = "Authentication credentials were not provided."
            return as_json(401, {"detail": "Invalid API key." if key is not None else missing})
        if match is None:
            return self.list_voices(target, base_url=base_url)
        voice = self._find(match[1])
        if voice is None:
            return as_json(404, {"detail": "No Voice matches the given query."})
        return self._preview(match[1]) if match[2] else as_json(200, voice)

    def list_voices(self, target: str, *, base_url: str) -> Response:
        """Return the response to an authorized request for a page."""
        try:
            return as_json(200, self.page(parse_parameters(target), base_url=base_url))
        except BadQuery as error:
            return error.response

    def page(
        self, parameters: Parameters, *, base_url: str, offset: int | None = None
    ) -> dict[str, Any]:
        """Return a page. `offset` replaces the cursor. Raises BadQuery."""
        query = dict(parameters)
        size = self.page_size(query)
        if offset is None:
            offset = decode_cursor(query.get("cursor"))

        def link(place: int) -> str:
            pairs = [pair for pair in parameters if pair[0] != "cursor"]
            pairs.append(("cursor", encode_cursor(place)))
            return f"{base_url}{LISTING_PATH}?{urlencode(sorted(pairs))}"

        return {
            "next": link(offset + size) if offset + size < len(self.voices) else None,
            "previous": link(max(0, offset - size)) if offset else None,
            "results": self.voices[offset : offset + size],
            "total": len(self.voices),
        }

    def page_size(self, query: dict[str, str]) -> int:
        """Return the requested page size: `pageSize`, or else `limit`."""
        for name in ("pageSize", "limit"):
            value = query.get(name, "")
            if re.fullmatch("[0-9]{1,9}", value) and int(value):
                return min(int(value), self._max_page_size)
        return min(DEFAULT_PAGE_SIZE, self._max_page_size)

    def _find(self, voice_id: str) -> Any:
        for voice in self.voices:
            if isinstance(voice, dict) and str(voice.get("voiceId")) == voice_id:
                return voice
        return None

    def _recording(self, voice_id: str) -> Response:
        if self._find(voice_id) is None:
            return as_json(404, {"detail": "Not found."})
        headers = {"Content-Type": "audio/wav", "Access-Control-Allow-Origin": "*"}
        return Response(200, audio.wav(voice_id), headers)

    def _preview(self, voice_id: str) -> Response:
        """Return WAV, or MP3 that is labelled as text; always the same for a voice."""
        if zlib.crc32(voice_id.encode("utf-8", "replace")) % 3 == 0:
            # Ultravox labels some providers' MP3 like this
            return Response(200, audio.mp3(), {"Content-Type": "text/plain"})
        return Response(200, audio.wav(voice_id), {"Content-Type": "audio/wav"})
