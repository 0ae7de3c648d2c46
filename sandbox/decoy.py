"""The other host: where a client of the sandbox must never turn up."""

import contextlib
import selectors
import socket
import threading
from collections.abc import Callable

_PAGE = b'{"next":null,"results":[{"voiceId":"decoy"}]}'
_ANSWER = (
    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n"
    b"Content-Length: %d\r\n\r\n%s" % (len(_PAGE), _PAGE)
)


class Decoy:
    """A listener on another loopback port that counts who comes and keeps what they send.

    It answers with a page of one voice, so that a client that is sent there shows it.
    """

    def __init__(self, changed: Callable[[], None]) -> None:
        self.connections = 0
        self.received: list[bytes] = []
        self.port = 0
        self._changed = changed
        self._listener: socket.socket | None = None

    @property
    def netloc(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        return f"http://{self.netloc}"

    def start(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", self.port))
        self.port = self._listener.getsockname()[1]
        self._waker, self._wakened = socket.socketpair()
        self._thread = threading.Thread(target=self._run, name="sandbox-decoy", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        if self._listener is None:
            return
        self._waker.close()
        self._thread.join()
        self._wakened.close()
        self._listener.close()
        self._listener = None

    def reset(self) -> None:
        self.connections = 0
        self.received.clear()

    def _run(self) -> None:
        assert self._listener is not None
        with selectors.DefaultSelector() as selector:
            selector.register(self._listener, selectors.EVENT_READ)
            selector.register(self._wakened, selectors.EVENT_READ)
            while not any(key.fileobj is self._wakened for key, _ in selector.select()):
                client, _ = self._listener.accept()
                self.connections += 1
                self._changed()
                with client:
                    client.settimeout(1.0)
                    with contextlib.suppress(OSError):  # The client left.
                        self.received.append(client.recv(65536))
                        client.sendall(_ANSWER)
