"""A thread that is a few items ahead: waiting for Ultravox and making rows of its pages overlap."""

import threading
from collections.abc import Callable, Generator, Iterable
from queue import Empty, SimpleQueue
from typing import TypeVar

AHEAD = 2  # items that wait for the caller
TICK = 0.2  # seconds between two ticks while the caller waits
END = object()

T = TypeVar("T")


def read_ahead(
    items: Iterable[T], *, tick: Callable[[], object], cancel: Callable[[], object]
) -> Generator[T, None, None]:
    """Yield the items, which come from a thread; raise what the thread raises.

    While it waits it calls `tick`, which may raise to give up. Whatever happens it ends with `cancel`,
    which lets the thread's own waiting end, and then with the thread.
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

    reader = threading.Thread(target=run, name="ultravox", daemon=True)
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
        reader.join(timeout=1)  # a name look-up, for one, ends by itself
