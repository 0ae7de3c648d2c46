from concurrent.futures import ThreadPoolExecutor
from typing import Any

from django.contrib.auth import hashers

# Strangers choose how many logins there are. Memory that a thread has had for a hash, malloc keeps for it.
_threads = ThreadPoolExecutor(4, "hash")


class Argon2PasswordHasher(hashers.Argon2PasswordHasher):
    """Argon2id with the smaller parameters of OWASP's Password Storage Cheat Sheet, four at a time."""

    memory_cost = 19 * 1024  # KiB
    parallelism = 1

    def encode(self, *args: Any) -> Any:
        return _threads.submit(super().encode, *args).result()

    def verify(self, *args: Any) -> Any:
        return _threads.submit(super().verify, *args).result()
