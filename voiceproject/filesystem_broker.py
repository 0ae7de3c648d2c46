"""The embedded broker: kombu's, which keeps messages and bindings in files, made safe for several processes.

kombu's channel opens a file before it locks it. A process that reads in between finds it empty: that ends
a worker, and the message, a due sync, is lost. A file left half written, by a crash or a full disk, does
the same. Upstream: https://github.com/celery/kombu/issues/398 and 1551. What is overridden is private:
requirements.in pins kombu to the minor version that this was written for.
"""

import fcntl
import functools
import logging
from collections.abc import Callable
from pathlib import Path
from queue import Empty
from typing import Any

from kombu.transport import filesystem

logger = logging.getLogger(__name__)


def _alone(method: Callable[..., Any]) -> Callable[..., Any]:
    """Return the channel's method, run in one process at a time."""

    @functools.wraps(method)
    def alone(channel: filesystem.Channel, *args: Any, **kwargs: Any) -> Any:
        with (channel.control_folder / "lock").open("a") as file:
            fcntl.flock(file, fcntl.LOCK_EX)  # until it is closed
            return method(channel, *args, **kwargs)

    return alone


class Channel(filesystem.Channel):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for folder in (Path(self.data_folder_in), self.control_folder):
            folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            folder.mkdir(mode=0o700, exist_ok=True)

    get_table = _alone(filesystem.Channel.get_table)
    _delete = _alone(filesystem.Channel._delete)
    _put = _alone(filesystem.Channel._put)

    @_alone
    def _get(self, queue: str) -> dict[str, Any]:
        try:
            return super()._get(queue)
        except ValueError:
            logger.warning("A message in %s was half written; left out", self.data_folder_in)
            raise Empty from None

    @_alone
    def _queue_bind(self, exchange: str, *binding: str) -> None:
        try:
            super()._queue_bind(exchange, *binding)
        except ValueError:
            # Each process binds the queues that it uses.
            self._exchange_file(exchange).unlink()
            super()._queue_bind(exchange, *binding)


class Transport(filesystem.Transport):
    Channel = Channel
    default_connection_params: dict[str, Any] = {}  # no host, and no warning that there is none
