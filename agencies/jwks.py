"""Supabase's public keys."""

import logging
import threading
import time
from functools import cache

import jwt
import requests

logger = logging.getLogger(__name__)

# Raised by requests and PyJWT when there is no response, or when it is not a key set.
UNREADABLE = (
    requests.RequestException,
    jwt.PyJWTError,
    ValueError,
    TypeError,
    AttributeError,
    KeyError,
)


class KeySet:
    """Supabase's public keys by `kid`, cached.

    Cached keys keep working while the server is down. An unknown `kid` is looked up once. Tokens with
    made-up ids cause at most LOOKUPS requests in PERIOD seconds, and one while the server hangs. A key
    that the server no longer lists is dropped after LIFETIME seconds.
    """

    LIFETIME = 600.0
    PERIOD = 30.0
    LOOKUPS = 3
    TIMEOUT = 3.0

    def __init__(self, url: str) -> None:
        self.url = url
        self._lock = threading.Lock()
        self._keys: dict[str, jwt.PyJWK] = {}
        self._lookups: list[tuple[float, str]] = []  # when, and for which kid
        self._read_at = -self.LIFETIME

    def find(self, kid: object, key_type: str) -> object:
        """Return the public key with that `kid`, or None if there is none of that type."""
        if not isinstance(kid, str):
            return None
        # A thread whose key is only old does not wait for another thread's request.
        if not self._is_cached(kid) and self._lock.acquire(blocking=kid not in self._keys):
            try:
                if not self._is_cached(kid):  # another thread may have fetched it
                    self._look_up(kid)
            finally:
                self._lock.release()
        key = self._keys.get(kid)
        return key.key if key is not None and key.key_type == key_type else None

    def _is_cached(self, kid: str) -> bool:
        return kid in self._keys and time.monotonic() - self._read_at < self.LIFETIME

    def _look_up(self, kid: str) -> None:
        now = time.monotonic()
        self._lookups = [lookup for lookup in self._lookups if now - lookup[0] < self.PERIOD]
        is_known = any(kid == other for _, other in self._lookups)
        if is_known or len(self._lookups) >= self.LOOKUPS:
            return
        self._lookups.append((now, kid))
        try:
            response = requests.get(self.url, timeout=self.TIMEOUT, allow_redirects=False)
            response.raise_for_status()
            keys = jwt.PyJWKSet.from_dict(response.json()).keys
        except UNREADABLE as error:
            logger.warning("Cannot read the key set %s: %s", self.url, type(error).__name__)
            if isinstance(error, requests.Timeout):  # other requests have waited for this one
                self._lookups = [(time.monotonic(), kid)] * self.LOOKUPS
            return
        self._keys = {key.key_id: key for key in keys if key.key_id}
        self._read_at = time.monotonic()


key_set = cache(KeySet)  # one for each URL in this process
