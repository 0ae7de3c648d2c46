from collections.abc import Iterator
from contextlib import contextmanager

from django.db import connection, transaction

from voices.store import patience


@contextmanager
def statement_timeout(seconds: float) -> Iterator[None]:
    """Let each statement in this block take no longer, waiting for others' locks included."""
    if connection.vendor != "postgresql":
        with patience(seconds):
            yield
        return
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute(f"SET LOCAL statement_timeout = {int(seconds * 1000)}")  # milliseconds
        yield
