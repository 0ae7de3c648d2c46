"""Supabase's public keys."""

import logging
import threading
import time
from functools import cache
from typing import Any

import jwt
import requests

logger = logging.getLogger(__name__)

# What requests and PyJWT raise when nothing comes, or something that is not a key set.
UNREADABLE = (
    requests.RequestException,
    jwt.PyJWTError,
    ValueError,
    TypeError,
    AttributeError,
    KeyError,
    OverflowError,
    RecursionError,
)


class KeySet:
    """Supabase's public keys, by `kid`, fetched when needed and kept.

    Keys keep working while the server is down. An unknown `kid` is looked up once; strangers, who can
    make up any number of them, cause at most `LOOKUPS` requests in `PERIOD` seconds, and one where it
    hangs. A key that the server no longer lists is dropped after `LIFETIME` seconds.
    """

    LIFETIME = 600.0
    PERIOD = 30.0
    LOOKUPS = 3
    TIMEOUT = 3.0

    def __init__(self, url: str) -> None:
        self.url = url
        self._lock = threading.Lock()
        self._keys: dict[str, jwt.PyJWK] = {}
        self._unknown: dict[str, float] = {}
        self._lookups: list[float] = []
        self._read_at = -self.LIFETIME

    def find(self, kid: Any, key_type: str) -> Any:
        """Return the public key with that `kid`; None if there is none of that type."""
        if not isinstance(kid, str):
            return None
        now = time.monotonic()
        if kid not in self._keys:
            with self._lock:
                if kid not in self._keys and self._may_look_up(kid, now):
                    self._read()
        elif now - self._read_at > self.LIFETIME and self._lock.acquire(blocking=False):
            try:
                if self._may_look_up(kid, now):
                    self._read()
            finally:
                self._lock.release()
        key = self._keys.get(kid)
        return key.key if key is not None and key.key_type == key_type else None

    def _may_look_up(self, kid: str, now: float) -> bool:
        self._lookups = [at for at in self._lookups if now - at < self.PERIOD]
        self._unknown = {k: at for k, at in self._unknown.items() if now - at < self.PERIOD}
        if kid in self._unknown or len(self._lookups) >= self.LOOKUPS:
            return False
        self._lookups.append(now)
        self._unknown[kid] = now
        return True

    def _read(self) -> None:
        try:
            response = requests.get(self.url, timeout=self.TIMEOUT, allow_redirects=False)
            response.raise_for_status()
            keys = jwt.PyJWKSet.from_dict(response.json()).keys
        except UNREADABLE as error:
            logger.warning("The key set %s could not be read: %s", self.url, type(error).__name__)
            if isinstance(error, requests.Timeout):  # all have waited for it
                self._lookups = [time.monotonic()] * self.LOOKUPS
            return
        self._keys = {key.key_id: key for key in keys if key.key_id}
        self._read_at = time.monotonic()


key_set = cache(KeySet)  # of a URL: one in this process
