"""The other host: where a client must never turn up."""

import contextlib
import socket
import threading
from collections.abc import Callable

_PAGE = b'{"next":null,"results":[{"voiceId":"decoy"}]}'
_ANSWER = (
    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n"
    b"Content-Length: %d\r\n\r\n%s" % (len(_PAGE), _PAGE)
)


class Decoy:
    """A listener on another loopback port that counts who comes.

    It answers with a page of one voice, so that a client that is sent there shows it.
    """

    def __init__(self, changed: Callable[[], None]) -> None:
        self.connections = 0
        self._changed = changed
        self._stopping = False

    @property
    def netloc(self) -> str:
        return f"127.0.0.1:{self._listener.getsockname()[1]}"

    @property
    def url(self) -> str:
        return f"http://{self.netloc}"

    def start(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._thread = threading.Thread(target=self._run, name="decoy", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stopping = True
        socket.create_connection(self._listener.getsockname()).close()  # wakes accept()
        self._thread.join()
        self._listener.close()

    def _run(self) -> None:
        while True:
            client, _ = self._listener.accept()
            if self._stopping:
                client.close()
                return
            self.connections += 1
            self._changed()
            with client, contextlib.suppress(OSError):  # The client left.
                client.settimeout(1.0)
                client.recv(65536)
                client.sendall(_ANSWER)
