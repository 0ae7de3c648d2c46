from concurrent.futures import ThreadPoolExecutor
from typing import Any

from django.contrib.auth import hashers

# Each hash takes 19 MiB, which malloc keeps for its thread. Anyone can send many logins at once.
_threads = ThreadPoolExecutor(4, "hash")


class Argon2PasswordHasher(hashers.Argon2PasswordHasher):
    """Argon2id with the smallest parameters of OWASP's Password Storage Cheat Sheet, four at a time."""

    memory_cost = 19 * 1024  # KiB
    parallelism = 1

    def encode(self, *args: Any) -> Any:
        return _threads.submit(super().encode, *args).result()

    def verify(self, *args: Any) -> Any:
        return _threads.submit(super().verify, *args).result()
