"""A small server that behaves like Ultravox's voices API, and misbehaves on request.

It uses sockets, not `http.server`, so that a fault can do anything to a connection that a broken network
does.
"""

import socket
import threading
from collections.abc import Callable
from typing import Self

from sandbox import API_KEY
from sandbox.api import LISTING_PATH, MAX_PAGE_SIZE, Api
from sandbox.catalogue import make_voices
from tests.ultravox.connection import Connection, Decoy, Request
from tests.ultravox.exchange import Exchange
from tests.ultravox.faults import FAULTS
from tests.ultravox.scripts import Fault, Script


class Ultravox(Api):
    """The server: a context manager, on a free port.

    `voices`, `keys` and `latency`, in seconds for each page, may be changed at any time.
    """

    def __init__(
        self,
        *,
        count: int = 300,
        max_page_size: int = MAX_PAGE_SIZE,
    ) -> None:
        self.latency = 0.0
        self.drip_interval = 1.0
        self.held = 0
        self._changed = threading.Condition()
        self._stopping = threading.Event()
        self._open: dict[Connection, threading.Thread] = {}
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        voices = make_voices(count, base_url=self.url)
        super().__init__(voices, {API_KEY}, max_page_size=max_page_size)
        self.decoy: Decoy = Decoy()
        self.reset()

    def __enter__(self) -> Self:
        self._acceptor = threading.Thread(target=self._accept, name="server", daemon=True)
        self._acceptor.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()

    def stop(self) -> None:
        """End all connections and threads, including hung ones."""
        if self._stopping.is_set():
            return
        self._stopping.set()
        socket.create_connection(self._listener.getsockname()).close()  # wakes accept()
        self._acceptor.join()
        self._listener.close()
        self.decoy.stop()
        for connection, thread in list(self._open.items()):
            connection.abort()
            thread.join(5)

    @property
    def fault(self) -> Fault | Script | None:
        """What happens to requests for pages: a fault, its name, or a script."""
        return self._fault

    @fault.setter
    def fault(self, fault: str | Fault | Script | None) -> None:
        with self._changed:
            self._fault = FAULTS[fault] if isinstance(fault, str) else fault
            self._targets: list[str] = []

    @property
    def requests(self) -> list[Request]:
        return list(self._requests)

    @property
    def listings(self) -> list[Request]:
        """The requests for pages."""
        return [request for request in self.requests if request.path == LISTING_PATH]

    @property
    def open_connections(self) -> int:
        return len(self._open)

    def reset(self) -> None:
        """Remove the record, the fault and the gate. Voices, keys and latency stay."""
        self.fault = None
        with self._changed:
            self.previews: Script | None = None  # what happens to requests for previews
            self._requests: list[Request] = []
            self._page_count = 0
            self._hold_after: int | None = None
            self.connections = 0

    def wait_for_requests(self, count: int, timeout: float = 5.0) -> None:
        """Wait until `count` requests have arrived since the last reset. Raises TimeoutError."""
        self.wait_until(lambda: len(self._requests) >= count, timeout)

    def wait_until(self, predicate: Callable[[], bool], timeout: float = 5.0) -> None:
        """Wait until a predicate on the record is true. Raises TimeoutError."""
        with self._changed:
            if not self._changed.wait_for(predicate, timeout):
                raise TimeoutError

    def hold_after(self, count: int) -> None:
        """Let `count` requests for pages through since the last reset, and hold later ones."""
        self._hold_after = count

    def release(self) -> None:
        self._hold_after = None

    def _notify(self, held: int = 0) -> None:
        with self._changed:
            self.held += held
            self._changed.notify_all()

    def _hold(self, connection: Connection, number: int) -> None:
        """Wait at the gate."""
        if self._hold_after is None or number <= self._hold_after:
            return
        self._notify(held=1)
        try:
            while self._hold_after is not None and number > self._hold_after:
                connection.pause(0.01)
        finally:
            self._notify(held=-1)

    def _accept(self) -> None:
        while True:
            client, _ = self._listener.accept()
            if self._stopping.is_set():
                client.close()
                return
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection = Connection(client)
            thread = threading.Thread(target=self._serve, args=[connection], daemon=True)
            self.connections += 1
            self._open[connection] = thread
            thread.start()

    def _serve(self, connection: Connection) -> None:
        try:
            while not connection.closed and not self._stopping.is_set():
                request = connection.read_request()
                if request is None or not self._handle(connection, request):
                    break
        except OSError:
            pass  # the client left
        finally:
            if not connection.closed:
                connection.close()
            del self._open[connection]
            self._notify()

    def _handle(self, connection: Connection, request: Request) -> bool:
        """Respond to a request. Return whether the connection stays open."""
        is_page = request.path == LISTING_PATH
        with self._changed:
            self._requests.append(request)
            self._page_count += is_page
            number, fault = self._page_count, self._fault
            if is_page and fault:
                self._targets.append(request.target)
            targets = list(self._targets)
            self._changed.notify_all()
        exchange = Exchange(connection, request, self)
        script = self.previews if request.path.endswith("/preview") else None
        if is_page:
            self._hold(connection, number)
            script = fault.script if isinstance(fault, Fault) else fault
            exchange.n, exchange.attempt = len(targets), targets.count(request.target)
        (script or Exchange.normal)(exchange)
        return exchange.keep
