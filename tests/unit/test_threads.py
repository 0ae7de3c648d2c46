"""Work in a thread: how far it runs ahead, and how it ends."""

import threading
import time
from collections.abc import Iterator
from contextlib import closing

import pytest

from voiceproject import threads
from voiceproject.threads import read_ahead, run_in_thread


@pytest.fixture(autouse=True)
def hurry(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(threads, "TICK", 0.01)
    yield
    assert not [thread for thread in threading.enumerate() if thread.name == "read-ahead"]


def test_a_thread_stays_two_items_ahead() -> None:
    produced: list[int] = []

    def produce() -> Iterator[int]:
        for number in range(9):
            produced.append(number)
            yield number

    with closing(read_ahead(produce(), tick=lambda: None, cancel=lambda: None)) as items:
        for count, item in enumerate(items, 1):
            time.sleep(0.02)  # enough for a thread without a limit
            assert item == count - 1
            assert len(produced) == min(count + 2, 9)


def test_work_that_takes_too_long_is_cancelled() -> None:
    cancelled = threading.Event()
    with pytest.raises(TimeoutError):
        run_in_thread(cancelled.wait, seconds=0.02, cancel=cancelled.set)
    assert cancelled.is_set()


def test_an_error_of_the_work_is_raised() -> None:
    with pytest.raises(ZeroDivisionError):
        run_in_thread(lambda: 1 / 0, seconds=5)
