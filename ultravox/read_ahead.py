"""A thread that is a few items ahead: waiting for Ultravox and making rows of its pages overlap."""

import contextvars
import threading
from collections.abc import Callable, Generator, Iterable
from queue import Empty, SimpleQueue
from typing import TypeVar

AHEAD = 2  # items that wait for the caller
TICK = 0.2  # seconds between ticks while the caller waits
END = object()

T = TypeVar("T")


def read_ahead(
    items: Iterable[T], *, tick: Callable[[], object], cancel: Callable[[], object]
) -> Generator[T, None, None]:
    """Yield items that a thread produces; raise what the thread raises.

    While waiting, calls `tick`, which may raise to give up. Whatever happens, it finally calls
    `cancel`, which must end the thread's own waiting, and joins the thread.
    """
    read: SimpleQueue[tuple[T | object, BaseException | None]] = SimpleQueue()
    room = threading.Semaphore(AHEAD - 1)
    stopped = threading.Event()

    def run() -> None:
        try:
            for item in items:
                read.put((item, None))
                room.acquire()
                if stopped.is_set():
                    return
            read.put((END, None))
        except BaseException as error:
            read.put((END, error))

    log_ids = contextvars.copy_context()
    reader = threading.Thread(target=log_ids.run, args=[run], name="ultravox", daemon=True)
    reader.start()
    try:
        while True:
            tick()
            try:
                item, error = read.get(timeout=TICK)
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
        reader.join(timeout=1)  # what cannot be cancelled, such as a name lookup, ends by itself
