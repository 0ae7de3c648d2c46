"""Run blocking work in a thread, for a limited time, and end it."""

import contextvars
import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing
from queue import Empty, SimpleQueue
from typing import TypeVar

AHEAD = 2  # items that may wait for the caller
TICK = 0.2  # seconds between calls of `tick`
END = object()

T = TypeVar("T")


def run_in_thread(
    work: Callable[[], T], *, seconds: float, cancel: Callable[[], object] = lambda: None
) -> T:
    """Return what `work` returns, or raise what it raises.

    After `seconds`, or on any error, calls `cancel`, which must make `work` end. Raises TimeoutError.
    """
    ends_at = time.monotonic() + seconds

    def check_time() -> None:
        if time.monotonic() > ends_at:
            raise TimeoutError

    def results() -> Iterator[T]:
        yield work()

    with closing(read_ahead(results(), tick=check_time, cancel=cancel)) as items:
        return next(items)


def read_ahead(
    items: Iterable[T], *, tick: Callable[[], object], cancel: Callable[[], object]
) -> Generator[T, None, None]:
    """Yield items that a thread produces, so that the thread waits for the network while the caller works.

    While the caller waits, `tick` is called several times a second, and may raise to give up. Raises what
    the thread raises. In the end `cancel` is called, which must end the thread's own waiting, and the
    thread is joined.
    """
    produced: SimpleQueue[tuple[T | object, BaseException | None]] = SimpleQueue()
    room = threading.Semaphore(AHEAD - 1)
    stopped = threading.Event()

    def produce() -> None:
        try:
            for item in items:
                produced.put((item, None))
                room.acquire()
                if stopped.is_set():
                    return
            produced.put((END, None))
        except BaseException as error:
            produced.put((END, error))

    context = contextvars.copy_context()  # the request id and run of log lines
    thread = threading.Thread(target=context.run, args=[produce], name="read-ahead", daemon=True)
    thread.start()
    try:
        while True:
            tick()
            try:
                item, error = produced.get(timeout=TICK)
            except Empty:
                continue
            room.release()
            if error is not None:
                raise error
            if item is END:
                return
            yield item  # type: ignore[misc]
    finally:
        stopped.set()
        room.release()
        cancel()
        # Work that cannot be cancelled, such as a DNS lookup, ends by itself.
        thread.join(timeout=1)
