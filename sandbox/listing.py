"""A list of voices as the pages that `GET /api/voices` answers with."""

import base64
import binascii
import json
import threading
from collections.abc import Iterable, Sequence
from typing import Any
from urllib.parse import urlencode

from sandbox.catalogue import PROVIDER_LABELS

DEFAULT_PAGE_SIZE = 100
MAX_PAGE_SIZE = 1000
LISTING_PATH = "/api/voices"

_CACHE_BYTES = 1 << 30
_CHOICES = {
    "ownership": ("public", "private"),
    "billingStyle": ("VOICE_BILLING_STYLE_INCLUDED", "VOICE_BILLING_STYLE_EXTERNAL"),
    "provider": tuple(PROVIDER_LABELS),
}
_SEARCHED = ("name", "description", "languageLabel")


class BadQueryError(Exception):
    """A query that Ultravox answers with an error: its status and its JSON."""

    def __init__(self, status: int, detail: dict[str, Any]) -> None:
        super().__init__(status, detail)
        self.status = status
        self.detail = detail


def dump(value: Any) -> bytes:
    """Return JSON as Django REST framework writes it; what UTF-8 cannot carry is escaped."""
    try:
        return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
    except UnicodeEncodeError:
        return json.dumps(value, separators=(",", ":")).encode()


def encode_cursor(offset: int) -> str:
    return base64.b64encode(f"o={offset}".encode()).decode()


def decode_cursor(cursor: str) -> int:
    """Return the cursor's offset. Raises BadQueryError."""
    try:
        name, _, offset = base64.b64decode(cursor, validate=True).decode("ascii").partition("=")
    except (binascii.Error, ValueError):
        raise BadQueryError(404, {"detail": "Invalid cursor"}) from None
    if name != "o" or not offset.isdigit() or len(offset) > 12:
        raise BadQueryError(404, {"detail": "Invalid cursor"})
    return int(offset)


def decode_page_size(query: dict[str, str], maximum: int) -> int:
    """Return the page size asked for; `limit` serves where there is no `pageSize`."""
    for name in ("pageSize", "limit"):
        value = query.get(name, "")
        if value.isascii() and value.isdigit() and 0 < len(value) < 10 and int(value):
            return min(int(value), maximum)
    return min(DEFAULT_PAGE_SIZE, maximum)


class Listing:
    """The pages of a fixed list of voices, each built once and kept."""

    def __init__(self, voices: Sequence[Any], max_page_size: int) -> None:
        self.voices = voices
        self._max_page_size = max_page_size
        self._records: dict[int, bytes] = {}
        self._answers: dict[tuple[str, str], bytes] = {}
        self._size = 0
        self._selections: dict[tuple[tuple[str, str], ...], list[int]] = {}
        self._places: dict[str, int] | None = None
        self._lock = threading.Lock()

    def answer(self, base_url: str, target: str, parameters: Iterable[tuple[str, str]]) -> bytes:
        """Return the whole HTTP answer with the page for a target. Raises BadQueryError."""
        key = (base_url, target)
        answer = self._answers.get(key)
        if answer is None:
            body = self.page(base_url, list(parameters))
            answer = (
                b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
                b"Allow: GET, HEAD\r\nVary: Accept\r\nContent-Length: %d\r\n\r\n" % len(body)
            ) + body
            with self._lock:
                self._size += len(answer)
                if self._size > _CACHE_BYTES:
                    self._answers.clear()
                    self._size = len(answer)
                self._answers[key] = answer
        return answer

    def page(
        self, base_url: str, parameters: list[tuple[str, str]], offset: int | None = None
    ) -> bytes:
        """Return the JSON of a page, at `offset` instead of the cursor's if given.

        Raises BadQueryError.
        """
        query = dict(parameters)
        size = decode_page_size(query, self._max_page_size)
        if offset is None:
            offset = decode_cursor(query["cursor"]) if query.get("cursor") else 0
        selection = self._select(parameters)
        total = len(self.voices) if selection is None else len(selection)
        places = range(offset, min(offset + size, total))
        records = [self.record(i if selection is None else selection[i]) for i in places]
        following = previous = None
        if offset + size < total:
            following = self._link(base_url, parameters, offset + size)
        if offset:
            previous = self._link(base_url, parameters, max(0, offset - size))
        return b'{"next":%s,"previous":%s,"results":[%s],"total":%d}' % (
            dump(following),
            dump(previous),
            b",".join(records),
            total,
        )

    def record(self, place: int) -> bytes:
        """Return the JSON of one voice."""
        record = self._records.get(place)
        if record is None:
            record = self._records[place] = dump(self.voices[place])
        return record

    def find(self, voice_id: str) -> int | None:
        """Return the place of a voice in the list."""
        if self._places is None:
            self._places = {
                str(voice["voiceId"]): place
                for place, voice in enumerate(self.voices)
                if isinstance(voice, dict) and "voiceId" in voice
            }
        return self._places.get(voice_id)

    @staticmethod
    def _link(base_url: str, parameters: list[tuple[str, str]], offset: int) -> str:
        query = [pair for pair in parameters if pair[0] != "cursor"]
        query.append(("cursor", encode_cursor(offset)))
        return f"{base_url}{LISTING_PATH}?{urlencode(sorted(query))}"

    def _select(self, parameters: list[tuple[str, str]]) -> list[int] | None:
        """Return the places of the voices that the filters let through; None is all of them."""
        filters = tuple(sorted(pair for pair in parameters if pair[0] in _FILTERS and pair[1]))
        if not filters:
            return None
        selection = self._selections.get(filters)
        if selection is None:
            for name, value in filters:
                if value not in _CHOICES.get(name, (value,)):
                    message = f"Select a valid choice. {value} is not one of the available choices."
                    raise BadQueryError(400, {name: [message]})
            selection = self._filter(filters)
            with self._lock:
                if len(self._selections) > 100:
                    self._selections.clear()
                self._selections[filters] = selection
        return selection

    def _filter(self, filters: tuple[tuple[str, str], ...]) -> list[int]:
        wanted = dict(filters)
        providers = {PROVIDER_LABELS[value] for name, value in filters if name == "provider"}
        language = wanted.get("primaryLanguage", "").lower()
        search = wanted.get("search", "").casefold()
        exact: list[int] = []
        related: list[int] = []
        for place, voice in enumerate(self.voices):
            if not isinstance(voice, dict):
                continue
            if providers and voice.get("provider") not in providers:
                continue
            if any(
                name in wanted and voice.get(name) != wanted[name]
                for name in ("ownership", "billingStyle")
            ):
                continue
            if search and not any(
                search in str(voice.get(field) or "").casefold() for field in _SEARCHED
            ):
                continue
            tag = str(voice.get("primaryLanguage") or "").lower()
            if not language or tag == language:
                exact.append(place)
            elif tag.partition("-")[0] == language.partition("-")[0]:
                related.append(place)
        return exact + related


_FILTERS = frozenset({"primaryLanguage", "provider", "ownership", "billingStyle", "search"})
