"""A small server that answers as Ultravox's voices API does, and misbehaves when told to.

It works on sockets, not on `http.server`, so that a fault can do to a connection whatever a broken
network does, and so that serving a page costs little enough to measure a client against.
"""

import contextlib
import json
import re
import selectors
import socket
import ssl
import threading
import zlib
from collections.abc import Callable, Collection, Sequence
from types import TracebackType
from typing import Any, Self
from urllib.parse import unquote

from sandbox import audio
from sandbox.catalogue import make_voices
from sandbox.connection import BadRequestError, Connection, DisconnectedError, Request
from sandbox.decoy import Decoy
from sandbox.exchange import Exchange, make_head
from sandbox.faults import FAULTS, Fault
from sandbox.listing import LISTING_PATH, MAX_PAGE_SIZE, BadQueryError, Listing, dump

API_KEY = "sandbox-key"
CONTROL_PATH = "/_sandbox"

Behaviour = Fault | Callable[[Exchange], None]

_HOST = re.compile(r"[A-Za-z0-9._-]+(:\d{1,5})?|\[[0-9A-Fa-f:.]+\](:\d{1,5})?")
_PREVIEW = re.compile(re.escape(LISTING_PATH) + r"/([^/]+)/preview")
_VOICE = re.compile(re.escape(LISTING_PATH) + r"/([^/]+)")
_AUDIO = re.compile(r"/audio/([^/]+)\.wav")
_STOP_TIMEOUT = 5.0


class Sandbox:
    """The server; a context manager, or `start()` and `stop()`.

    `latency` is in seconds for each page of a listing. `voices` may be replaced at any time.
    With `record` off, requests are counted and not kept.
    """

    def __init__(
        self,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        voices: Sequence[Any] | None = None,
        count: int = 300,
        keys: Collection[str] = (API_KEY,),
        latency: float = 0.0,
        max_page_size: int = MAX_PAGE_SIZE,
        record: bool = True,
        ssl_context: ssl.SSLContext | None = None,
    ) -> None:
        self.host = host
        self.port = port
        self.keys = set(keys)
        self.latency = latency
        self.max_page_size = max_page_size
        self.drip_interval = 1.0
        self.held = 0
        self.decoy = Decoy(self._notify)
        self._record = record
        self._ssl_context = ssl_context
        self._count = count if voices is None else None
        self._listing = Listing(list(voices or ()), max_page_size)
        self._changed = threading.Condition()
        self._stopping = threading.Event()
        self._listener: socket.socket | None = None
        self._open: dict[Connection, threading.Thread] = {}
        self._fault: Behaviour | None = None
        self._clear()

    # Running

    def start(self) -> Self:
        """Listen and serve in threads; again on the same port after `stop()`. Raises OSError."""
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        self._listener = socket.create_server((self.host, self.port), family=family, backlog=512)
        self.port = self._listener.getsockname()[1]
        if self._count is not None:
            self.voices = make_voices(self._count, base_url=self.url)
            self._count = None
        self._stopping.clear()
        self._waker, self._wakened = socket.socketpair()
        self._acceptor = threading.Thread(target=self._accept, name="sandbox", daemon=True)
        self._acceptor.start()
        self.decoy.start()
        return self

    def stop(self) -> None:
        """End all connections and threads, hung ones too."""
        if self._listener is None:
            return
        self._stopping.set()
        self._waker.close()
        self._acceptor.join()
        self._wakened.close()
        self._listener.close()
        self._listener = None
        self.decoy.stop()
        with self._changed:
            rest = list(self._open.items())
        for connection, _ in rest:
            connection.abort()
        for _, thread in rest:
            thread.join(_STOP_TIMEOUT)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    @property
    def url(self) -> str:
        """The base URL, without a slash at its end."""
        host = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}.get(self.host, self.host)
        return f"{self._scheme}://{f'[{host}]' if ':' in host else host}:{self.port}"

    @property
    def _scheme(self) -> str:
        return "http" if self._ssl_context is None else "https"

    def base_url(self, request: Request) -> str:
        """Return the base URL by which a request came: that of its Host header."""
        host = request.headers.get("host", "")
        return f"{self._scheme}://{host}" if _HOST.fullmatch(host) else self.url

    # What it serves

    @property
    def voices(self) -> list[Any]:
        """The catalogue; whoever reads it may change it, so pages are built anew after that."""
        listing = self._listing
        self._listing = Listing(listing.voices, self.max_page_size)
        return listing.voices  # type: ignore[return-value]

    @voices.setter
    def voices(self, voices: Sequence[Any]) -> None:
        self._count = None
        self._listing = Listing(list(voices), self.max_page_size)

    @property
    def listing(self) -> Listing:
        """The pages of the catalogue as it is now."""
        return self._listing

    def warm_up(self, page_size: int = 100) -> None:
        """Build all pages ahead, as asked for by a client that follows `next` from `url`."""
        target = f"{LISTING_PATH}?pageSize={page_size}&limit={page_size}"
        while target:
            request = Request("GET", target, LISTING_PATH, {}, 0.0)
            answer = self._listing.answer(self.url, target, request.parameters)
            page = json.loads(answer.partition(b"\r\n\r\n")[2])
            target = (page["next"] or "").removeprefix(self.url)

    @property
    def fault(self) -> Behaviour | None:
        """What is done to listing requests: a fault, its name, or a function of an Exchange."""
        return self._fault

    @fault.setter
    def fault(self, fault: str | Behaviour | None) -> None:
        if isinstance(fault, str):
            if fault not in FAULTS:
                raise ValueError(f"There is no fault named {fault!r}.")
            fault = FAULTS[fault]
        with self._changed:
            self._fault = fault
            self._ordinal = 0
            self._attempts: dict[str, int] = {}

    # What it saw

    @property
    def requests(self) -> list[Request]:
        """All requests but those to the control endpoint, in the order they came."""
        with self._changed:
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
        self.fault = None
        with self._changed:
            self._clear()
            self._changed.notify_all()

    def _clear(self) -> None:
        self._requests: list[Request] = []
        self._request_count = 0
        self._listing_count = 0
        self.connections = 0
        self._ordinal = 0
        self._attempts = {}
        self._hold_after: int | None = None
        self.decoy.reset()

    def wait_for_requests(self, count: int, timeout: float = 5.0) -> None:
        """Wait until `count` requests have come since the last reset. Raises TimeoutError."""
        self.wait_until(lambda: self._request_count >= count, timeout)

    def wait_until(self, predicate: Callable[[], bool], timeout: float = 5.0) -> None:
        """Wait until something that the sandbox records has come true. Raises TimeoutError."""
        with self._changed:
            if not self._changed.wait_for(predicate, timeout):
                raise TimeoutError(f"It did not come true in {timeout} seconds.")

    def _notify(self) -> None:
        with self._changed:
            self._changed.notify_all()

    # The gate

    def hold_after(self, count: int) -> None:
        """Let `count` listing requests through, of all since the last reset; hold later ones."""
        with self._changed:
            self._hold_after = count

    def release(self) -> None:
        """Let the held listing requests, and all later ones, through."""
        with self._changed:
            self._hold_after = None

    def _hold(self, connection: Connection, number: int) -> None:
        def holds() -> bool:
            return self._hold_after is not None and number > self._hold_after

        if not holds():
            return
        with self._changed:
            self.held += 1
            self._changed.notify_all()
        try:
            while holds():
                connection.pause(0.01)
        finally:
            with self._changed:
                self.held = max(0, self.held - 1)
                self._changed.notify_all()

    # Connections

    def _accept(self) -> None:
        assert self._listener is not None
        with selectors.DefaultSelector() as selector:
            selector.register(self._listener, selectors.EVENT_READ)
            selector.register(self._wakened, selectors.EVENT_READ)
            while not any(key.fileobj is self._wakened for key, _ in selector.select()):
                try:
                    client, _ = self._listener.accept()
                except OSError:
                    continue
                client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                connection = Connection(client)
                thread = threading.Thread(
                    target=self._serve, args=(connection,), name="sandbox-connection", daemon=True
                )
                with self._changed:
                    self.connections += 1
                    self._open[connection] = thread
                    self._changed.notify_all()
                thread.start()

    def _serve(self, connection: Connection) -> None:
        try:
            if self._refuses(connection):
                connection.reset()
                return
            if self._ssl_context is not None:
                connection.socket = self._ssl_context.wrap_socket(
                    connection.socket, server_side=True, do_handshake_on_connect=False
                )
                connection.socket.do_handshake()
            while not connection.closed and not self._stopping.is_set():
                request = connection.read_request()
                if request is None or not self._handle(connection, request):
                    break
        except BadRequestError as error:
            _refuse(connection, str(error))
        except OSError:
            pass  # The client left.
        finally:
            if not connection.closed:
                connection.close()
            with self._changed:
                del self._open[connection]
                self._changed.notify_all()

    def _refuses(self, connection: Connection) -> bool:
        """Whether the fault ends the connection before a request is read; never the control's."""
        fault = self._fault
        if not (isinstance(fault, Fault) and fault.refuses):
            return False
        target = connection.socket.recv(64, socket.MSG_PEEK).partition(b" ")[2]
        return not target.startswith(CONTROL_PATH.encode())

    def _handle(self, connection: Connection, request: Request) -> bool:
        """Answer a request; return whether the connection stays open."""
        path = request.path
        if path == CONTROL_PATH:
            self._control(connection, request)
            return request.keep_alive
        is_listing = path == LISTING_PATH
        with self._changed:
            self._request_count += 1
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
            self._answer_other(connection, request)
            return request.keep_alive
        if self._hold_after is not None:
            self._hold(connection, number)
        if fault is None:
            self._answer_listing(connection, request)
            return request.keep_alive
        exchange = Exchange(
            self, connection, request, n=n, attempt=attempt, first_target=first_target
        )
        script = fault.script if isinstance(fault, Fault) else fault
        script(exchange)
        return exchange.keep

    # Answers

    def answer_listing(self, exchange: Exchange) -> None:
        """Answer a listing request as if there were no fault."""
        self._answer_listing(exchange.connection, exchange.request)

    def _answer_listing(self, connection: Connection, request: Request) -> None:
        if not self._admits(connection, request):
            return
        if self.latency and self._stopping.wait(self.latency):
            raise DisconnectedError("The sandbox stops.")
        base_url = self.base_url(request)
        try:
            answer = self._listing.answer(base_url, request.target, request.parameters)
        except BadQueryError as error:
            _reply(connection, request, error.status, error.detail)
            return
        if request.method == "HEAD":
            answer = answer[: answer.index(b"\r\n\r\n") + 4]
        elif not request.keep_alive:
            answer = answer.replace(b"\r\n", b"\r\nConnection: close\r\n", 1)
        connection.send(answer)

    def _admits(self, connection: Connection, request: Request, *, key: bool = True) -> bool:
        """Answer a request of a wrong method or without the key; return whether it had both."""
        if request.method not in ("GET", "HEAD"):
            detail = {"detail": f'Method "{request.method}" not allowed.'}
            _reply(connection, request, 405, detail, {"Allow": "GET, HEAD"})
            return False
        given = request.headers.get("x-api-key")
        if key and given not in self.keys:
            detail = {"detail": "Invalid API key."}
            if given is None:
                detail = {"detail": "Authentication credentials were not provided."}
            _reply(connection, request, 401, detail, {"WWW-Authenticate": "X-API-Key"})
            return False
        return True

    def _answer_other(self, connection: Connection, request: Request) -> None:
        path = unquote(request.path)
        listing = self._listing
        if match := _AUDIO.fullmatch(path):
            if self._admits(connection, request, key=False):
                if listing.find(match[1]) is None:
                    _reply(connection, request, 404, {"detail": "Not found."})
                else:
                    headers = {"Content-Type": "audio/wav", "Access-Control-Allow-Origin": "*"}
                    _reply(connection, request, 200, audio.wav(match[1]), headers)
        elif match := _PREVIEW.fullmatch(path) or _VOICE.fullmatch(path):
            if not self._admits(connection, request):
                return
            place = listing.find(match[1])
            if place is None:
                _reply(connection, request, 404, {"detail": "No Voice matches the given query."})
            elif match.re is _PREVIEW:
                self._answer_preview(connection, request, match[1])
            else:
                _reply(connection, request, 200, listing.record(place))
        else:
            _reply(connection, request, 404, {"detail": "Not found."})

    def _answer_preview(self, connection: Connection, request: Request, voice_id: str) -> None:
        """Answer in one of three ways, always the same one for a voice."""
        way = zlib.crc32(voice_id.encode("utf-8", "replace")) % 3
        if way == 0:
            headers = {"Content-Type": "audio/wav"}
            _reply(connection, request, 200, audio.wav(voice_id), headers)
        elif way == 1:
            headers = {"Location": f"{self.base_url(request)}/audio/{voice_id}.wav"}
            _reply(connection, request, 302, b"", headers)
        else:
            headers = {"Content-Type": "text/plain"}
            _reply(connection, request, 200, audio.mp3(), headers)

    # The control endpoint

    def _control(self, connection: Connection, request: Request) -> None:
        if request.method == "DELETE":
            self.reset()
        elif request.method == "PUT":
            try:
                changes = json.loads(request.body)
                if not isinstance(changes, dict):
                    raise TypeError("The body must be a JSON object.")
                self._change(changes)
            except (TypeError, ValueError, RecursionError) as error:
                _reply(connection, request, 400, {"detail": str(error)})
                return
        elif request.method not in ("GET", "HEAD"):
            detail = {"detail": f'Method "{request.method}" not allowed.'}
            _reply(connection, request, 405, detail, {"Allow": "GET, HEAD, PUT, DELETE"})
            return
        _reply(connection, request, 200, self._state())

    def _state(self) -> dict[str, Any]:
        with self._changed:
            fault = self._fault
            return {
                "requests": self._request_count,
                "listings": self._listing_count,
                "connections": self.connections,
                "open_connections": self.open_connections,
                "decoy_connections": self.decoy.connections,
                "held": self.held,
                "fault": fault.name if isinstance(fault, Fault) else fault and "custom",
                "latency": self.latency,
                "voices": len(self._listing.voices),
            }

    def _change(self, changes: dict[str, Any]) -> None:
        """Do what a PUT asks, all of it or nothing. Raises TypeError and ValueError."""
        for name, value in changes.items():
            check = _CHANGES.get(name)
            if check is None:
                raise ValueError(f"There is no {name!r}: only {', '.join(_CHANGES)}.")
            if not check(value):
                raise ValueError(f"{name!r} cannot be {json.dumps(value)[:80]}.")
        if "latency" in changes:
            self.latency = changes["latency"]
        if "keys" in changes:
            self.keys = set(changes["keys"])
        if "voices" in changes:
            voices = changes["voices"]
            if isinstance(voices, int):
                voices = make_voices(voices, base_url=self.url)
            self.voices = voices
        if "fault" in changes:
            self.fault = changes["fault"]
        if changes.get("hold_after") is not None:
            self.hold_after(changes["hold_after"])
        if changes.get("release"):
            self.release()


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


_CHANGES: dict[str, Callable[[Any], bool]] = {
    "fault": lambda value: value is None or (isinstance(value, str) and value in FAULTS),
    "latency": lambda value: (
        isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 3600
    ),
    "keys": lambda value: isinstance(value, list) and all(isinstance(key, str) for key in value),
    "voices": lambda value: isinstance(value, list) or _is_count(value),
    "hold_after": lambda value: value is None or _is_count(value),
    "release": lambda value: isinstance(value, bool),
}


def _reply(
    connection: Connection,
    request: Request,
    status: int,
    body: bytes | dict[str, Any],
    headers: dict[str, str] | None = None,
) -> None:
    """Answer with JSON, or with bytes of the type that the headers say."""
    content = body if isinstance(body, bytes) else dump(body)
    fields = {"Content-Type": "application/json", "Content-Length": str(len(content))}
    if not request.keep_alive:
        fields["Connection"] = "close"
    head = make_head(status, fields | (headers or {}))
    connection.send(head if request.method == "HEAD" else head + content)


def _refuse(connection: Connection, detail: str) -> None:
    body = dump({"detail": detail})
    head = make_head(400, {"Content-Length": str(len(body)), "Connection": "close"})
    with contextlib.suppress(OSError):  # The client left.
        connection.send(head + body)
