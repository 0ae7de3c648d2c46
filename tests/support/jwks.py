"""Supabase Auth, as far as tokens go: keys that sign them, and the server of the public ones."""

import base64
import functools
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal, Self

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

PATH = "/auth/v1/.well-known/jwks.json"
Behaviour = Literal["answer", "fail", "garbage", "not keys", "hang", "redirect"]


class SigningKey:
    """A key pair with a `kid`, for ES256 or RS256."""

    def __init__(self, kid: str, algorithm: str) -> None:
        self.kid = kid
        self.algorithm = algorithm
        self.private: Any
        if algorithm == "ES256":
            self.private = ec.generate_private_key(ec.SECP256R1())
            self._algorithm: Any = jwt.algorithms.ECAlgorithm
        else:
            self.private = rsa.generate_private_key(public_exponent=65537, key_size=2048)
            self._algorithm = jwt.algorithms.RSAAlgorithm

    @property
    def jwk(self) -> dict[str, Any]:
        """The public key, as a key set lists it."""
        public = self._algorithm.to_jwk(self.private.public_key(), as_dict=True)
        return public | {
            "kid": self.kid,
            "alg": self.algorithm,
            "use": "sig",
            "key_ops": ["verify"],
        }

    @property
    def pem(self) -> bytes:
        """The public key, as a file holds it."""
        return self.private.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )

    def sign(self, claims: dict[str, Any], **header: Any) -> str:
        return sign(claims, self.private, self.algorithm, **({"kid": self.kid} | header))


@functools.cache
def signing_key(kid: str, algorithm: str = "ES256") -> SigningKey:
    """Return the one key of that name in this process: RSA keys take their time."""
    return SigningKey(kid, algorithm)


def sign(claims: dict[str, Any], key: Any, algorithm: str, **header: Any) -> str:
    """Sign any claims, also those that PyJWT takes for mistakes."""
    payload = json.dumps(claims).encode()
    return jwt.api_jws.encode(payload, key, algorithm, headers={"typ": "JWT"} | header)


def encode(part: bytes) -> str:
    """Encode a segment of a token."""
    return base64.urlsafe_b64encode(part).rstrip(b"=").decode()


class KeySetServer:
    """A server of public keys that counts its visitors; a context manager.

    `behaviour` is what it does to them; `hang` lasts until the server stops or behaves otherwise.
    """

    def __init__(self, *keys: SigningKey) -> None:
        self.keys: list[dict[str, Any]] = [key.jwk for key in keys]
        self.hits = 0
        self.paths: list[str] = []
        self.port = 0
        self._behaviour: Behaviour = "answer"
        self._changed = threading.Condition()

    @property
    def url(self) -> str:
        """What `SUPABASE_URL` is set to."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def behaviour(self) -> Behaviour:
        return self._behaviour

    @behaviour.setter
    def behaviour(self, behaviour: Behaviour) -> None:
        with self._changed:
            self._behaviour = behaviour
            self._changed.notify_all()

    def rotate(self, *keys: SigningKey) -> None:
        """List these keys and no others."""
        self.keys = [key.jwk for key in keys]

    def start(self) -> Self:
        """Listen and serve in threads; again on the same port after `stop()`."""
        self._server = ThreadingHTTPServer(("127.0.0.1", self.port), self._handler())
        self._server.daemon_threads = False
        self._server.block_on_close = True
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, name="jwks"
        )
        self._thread.start()
        return self

    def stop(self) -> None:
        """Close the port, and end all connections."""
        before, self.behaviour = self._behaviour, "fail"
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
        self.behaviour = before

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *error: object) -> None:
        if self._thread.is_alive():
            self.stop()

    def wait_for_hits(self, count: int, timeout: float = 5) -> None:
        """Wait until so many visitors have come. Raises AssertionError."""
        with self._changed:
            assert self._changed.wait_for(lambda: self.hits >= count, timeout), self.hits

    def _answer(self, path: str) -> tuple[int, bytes, dict[str, str]]:
        with self._changed:
            self.hits += 1
            self.paths.append(path)
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._behaviour != "hang", timeout=30)
            match self._behaviour:
                case "fail":
                    return 500, b"key set is away", {}
                case "garbage":
                    return 200, b'{"keys": [<html>', {}
                case "not keys":
                    return 200, b'["keys", 7]', {}
                case "redirect":
                    return 302, b"", {"Location": f"{self.url}/elsewhere"}
        return 200, json.dumps({"keys": self.keys}).encode(), {}

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                status, body, headers = server._answer(self.path)
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                try:
                    self.wfile.write(body)
                except OSError:
                    self.close_connection = True  # the client left

            def log_message(self, format: str, *args: Any) -> None:
                pass

        return Handler


def claims(user: str, /, **changes: Any) -> dict[str, Any]:
    """Return what Supabase says of a user who signed in; a change to None leaves the claim out."""
    now = int(time.time())
    full = {
        "sub": user,
        "aud": "authenticated",
        "role": "authenticated",
        "exp": now + 3600,
        "iat": now,
        "email": "user@example.com",
        "session_id": "7e6f0a5e-4c8e-4a77-a6ac-2c7f0f3b4f10",
        "is_anonymous": False,
        "app_metadata": {"provider": "email"},
    }
    return {name: value for name, value in (full | changes).items() if value is not None}
