"""Another server, to which a client must never connect."""

import contextlib
import socket


class Decoy:
    """Listens on a port of its own, and counts connections."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.setblocking(False)
        self.netloc = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self.url = f"http://{self.netloc}"

    @property
    def connections(self) -> int:
        """The number of connections since the last call."""
        count = 0
        with contextlib.suppress(BlockingIOError):
            while True:
                self._listener.accept()[0].close()
                count += 1
        return count

    def stop(self) -> None:
        self._listener.close()
