"""A small server that answers as Ultravox's voices API does, and misbehaves when told to.

It works on sockets, not on `http.server`, so that a fault can do to a connection whatever a broken
network does, and so that serving a page costs little enough to measure a client against.
"""

import json
import socket
import ssl
import threading
from collections.abc import Callable, Sequence
from typing import Any, Self

from sandbox import API_KEY
from sandbox.api import LISTING_PATH, MAX_PAGE_SIZE, Answer, Api
from sandbox.catalogue import make_voices
from tests.ultravox.connection import Connection, DisconnectedError, Request
from tests.ultravox.decoy import Decoy
from tests.ultravox.exchange import Exchange, make_head
from tests.ultravox.faults import FAULTS, Fault

Script = Callable[[Exchange], object]
Behaviour = Fault | Script


class Ultravox:
    """The server; a context manager, on a free port.

    `voices`, `keys` and `latency`, in seconds for each page of a listing, may be replaced at any
    time. With `record` off, requests are counted, in `request_count`, and not kept.
    """

    def __init__(
        self,
        *,
        count: int = 300,
        max_page_size: int = MAX_PAGE_SIZE,
        record: bool = True,
        ssl_context: ssl.SSLContext | None = None,
    ) -> None:
        self.latency = 0.0
        self.drip_interval = 1.0
        self.held = 0
        self.decoy = Decoy(self._notify)
        self._record = record
        self._ssl_context = ssl_context
        self._changed = threading.Condition()
        self._stopping = threading.Event()
        self._open: dict[Connection, threading.Thread] = {}
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        scheme = "https" if ssl_context else "http"
        self.url = f"{scheme}://127.0.0.1:{self._listener.getsockname()[1]}"
        self._answers: dict[tuple[str, str], bytes] = {}
        voices = make_voices(count, base_url=self.url)
        self.api = Api(voices, {API_KEY}, max_page_size=max_page_size)
        self._clear()

    # Running

    def __enter__(self) -> Self:
        """Serve in threads."""
        self._acceptor = threading.Thread(target=self._accept, name="server", daemon=True)
        self._acceptor.start()
        self.decoy.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()

    def stop(self) -> None:
        """End all connections and threads, hung ones too."""
        if self._stopping.is_set():
            return
        self._stopping.set()
        socket.create_connection(self._listener.getsockname()).close()  # wakes accept()
        self._acceptor.join()
        self._listener.close()
        self.decoy.stop()
        with self._changed:
            rest = list(self._open.items())
        for connection, _ in rest:
            connection.abort()
        for _, thread in rest:
            thread.join(5)

    # What it serves

    @property
    def voices(self) -> list[Any]:
        """The catalogue; whoever reads it may change it, so pages are built anew after that."""
        self._answers = {}
        return self.api.voices

    @voices.setter
    def voices(self, voices: Sequence[Any]) -> None:
        self.api.voices = list(voices)
        self._answers = {}

    @property
    def keys(self) -> set[str]:
        return self.api.keys

    @keys.setter
    def keys(self, keys: set[str]) -> None:
        self.api.keys = keys

    def warm_up(self) -> None:
        """Build all pages ahead, as asked for by a client that follows `next` from `url`."""
        target = f"{LISTING_PATH}?pageSize=100&limit=100"
        while target:
            page = json.loads(self._page_answer(self.url, target).partition(b"\r\n\r\n")[2])
            target = (page["next"] or "").removeprefix(self.url)

    @property
    def fault(self) -> Behaviour | None:
        """What is done to listing requests: a fault, its name, or a function of an Exchange."""
        return self._fault

    @fault.setter
    def fault(self, fault: str | Behaviour | None) -> None:
        with self._changed:
            self._fault: Behaviour | None = FAULTS[fault] if isinstance(fault, str) else fault
            self._ordinal = 0
            self._attempts.clear()

    # What it saw

    @property
    def requests(self) -> list[Request]:
        """All requests in the order they came."""
        return list(self._requests)

    @property
    def listings(self) -> list[Request]:
        """The requests for `GET /api/voices`."""
        return [request for request in self.requests if request.path == LISTING_PATH]

    @property
    def open_connections(self) -> int:
        return len(self._open)

    def reset(self) -> None:
        """Forget what was recorded, the fault and `hold_after`; voices, keys and latency stay."""
        with self._changed:
            self._clear()

    def _clear(self) -> None:
        self._fault = None
        self.previews: Script | None = None  # what is done to requests for previews
        self._requests: list[Request] = []
        self.request_count = self._listing_count = self._ordinal = 0
        self._attempts: dict[str, int] = {}
        self._hold_after: int | None = None
        self.connections = self.decoy.connections = 0

    def wait_for_requests(self, count: int, timeout: float = 5.0) -> None:
        """Wait until `count` requests have come since the last reset. Raises TimeoutError."""
        self.wait_until(lambda: self.request_count >= count, timeout)

    def wait_until(self, predicate: Callable[[], bool], timeout: float = 5.0) -> None:
        """Wait until something that the server records has come true. Raises TimeoutError."""
        with self._changed:
            if not self._changed.wait_for(predicate, timeout):
                raise TimeoutError(f"It did not come true in {timeout} seconds.")

    def _notify(self) -> None:
        with self._changed:
            self._changed.notify_all()

    # The gate

    def hold_after(self, count: int) -> None:
        """Let `count` listing requests through, of all since the last reset; hold later ones."""
        self._hold_after = count

    def release(self) -> None:
        """Let the held listing requests, and all later ones, through."""
        self._hold_after = None

    def _hold(self, connection: Connection, number: int) -> None:
        def holds() -> bool:
            return self._hold_after is not None and number > self._hold_after

        if holds():
            self._count_held(1)
            try:
                while holds():
                    connection.pause(0.01)
            finally:
                self._count_held(-1)

    def _count_held(self, change: int) -> None:
        with self._changed:
            self.held += change
            self._changed.notify_all()

    # Connections

    def _accept(self) -> None:
        while True:
            client, _ = self._listener.accept()
            if self._stopping.is_set():
                client.close()
                return
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection = Connection(client)
            thread = threading.Thread(
                target=self._serve, args=(connection,), name="server-connection", daemon=True
            )
            with self._changed:
                self.connections += 1
                self._open[connection] = thread
                self._changed.notify_all()
            thread.start()

    def _serve(self, connection: Connection) -> None:
        try:
            if isinstance(self._fault, Fault) and self._fault.refuses:
                connection.reset()
                return
            if self._ssl_context is not None:
                connection.socket = self._ssl_context.wrap_socket(
                    connection.socket, server_side=True
                )
            while not connection.closed and not self._stopping.is_set():
                request = connection.read_request()
                if request is None or not self._handle(connection, request):
                    break
        except OSError:
            pass  # The client left.
        finally:
            if not connection.closed:
                connection.close()
            with self._changed:
                del self._open[connection]
                self._changed.notify_all()

    def _handle(self, connection: Connection, request: Request) -> bool:
        """Answer a request; return whether the connection stays open."""
        is_listing = request.path == LISTING_PATH
        with self._changed:
            self.request_count += 1
            if self._record:
                self._requests.append(request)
            if is_listing:
                self._listing_count += 1
                number = self._listing_count
                self._ordinal += 1
                n = self._ordinal
                fault = self._fault
                if fault is not None:
                    attempt = self._attempts.get(request.target, 0) + 1
                    self._attempts[request.target] = attempt
                    first_target = next(iter(self._attempts))
            self._changed.notify_all()
        if not is_listing:
            if self.previews and request.path.endswith("/preview"):
                return self._misbehave(self.previews, connection, request)
            self._answer(connection, request)
            return request.keep_alive
        if self._hold_after is not None:
            self._hold(connection, number)
        if fault is None:
            self._answer_listing(connection, request)
            return request.keep_alive
        script = fault.script if isinstance(fault, Fault) else fault
        return self._misbehave(script, connection, request, n, attempt, first_target)

    def _misbehave(
        self,
        script: Script,
        connection: Connection,
        request: Request,
        n: int = 0,
        attempt: int = 0,
        first_target: str = "",
    ) -> bool:
        """Let a script answer a request; return whether the connection stays open."""
        exchange = Exchange(
            connection=connection,
            request=request,
            api=self.api,
            base_url=self._base_url(request),
            n=n,
            attempt=attempt,
            first_target=first_target,
            decoy=self.decoy,
            drip_interval=self.drip_interval,
            normal=lambda: self._answer_listing(connection, request),
        )
        script(exchange)
        return exchange.keep

    # Answers

    def _base_url(self, request: Request) -> str:
        """Return the base URL by which a request came: that of its Host header."""
        return f"{self.url.partition(':')[0]}://{request.headers['host']}"

    def _answer_listing(self, connection: Connection, request: Request) -> None:
        if request.method != "GET" or request.headers.get("x-api-key") not in self.keys:
            self._answer(connection, request)
            return
        if self.latency and self._stopping.wait(self.latency):
            raise DisconnectedError("The server stops.")
        connection.send(self._page_answer(self._base_url(request), request.target))

    def _page_answer(self, base_url: str, target: str) -> bytes:
        """Return the whole HTTP answer for a target of the listing, built once and kept."""
        answers = self._answers
        answer = answers.get((base_url, target))
        if answer is None:
            answer = _as_bytes(self.api.listing(target, base_url=base_url))
            answers[base_url, target] = answer
        return answer

    def _answer(self, connection: Connection, request: Request) -> None:
        key, base_url = request.headers.get("x-api-key"), self._base_url(request)
        answer = self.api.answer(request.method, request.target, key=key, base_url=base_url)
        connection.send(_as_bytes(answer))


def _as_bytes(answer: Answer) -> bytes:
    fields = answer.headers | {"Content-Length": str(len(answer.body))}
    return make_head(answer.status, fields) + answer.body
