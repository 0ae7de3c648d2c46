"""Supabase Auth: keys that sign tokens, and a server of the public keys."""

import base64
import contextlib
import functools
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa

PATH = "/auth/v1/.well-known/jwks.json"


class SigningKey:
    """A key pair with a `kid`, for ES256 or RS256."""

    def __init__(self, kid: str, algorithm: str) -> None:
        self.kid, self.algorithm = kid, algorithm
        self.private: Any = (
            ec.generate_private_key(ec.SECP256R1())
            if algorithm == "ES256"
            else rsa.generate_private_key(public_exponent=65537, key_size=2048)
        )

    @property
    def jwk(self) -> dict[str, Any]:
        """The public key, as a key set lists it."""
        kind: Any = jwt.algorithms.get_default_algorithms()[self.algorithm]
        named = {"kid": self.kid, "alg": self.algorithm, "use": "sig", "key_ops": ["verify"]}
        return kind.to_jwk(self.private.public_key(), as_dict=True) | named

    def sign(self, claims: dict[str, Any], **header: Any) -> str:
        return sign(claims, self.private, self.algorithm, **({"kid": self.kid} | header))


@functools.cache
def signing_key(kid: str, algorithm: str = "ES256") -> SigningKey:
    """Return the key of that name, which is generated once: RSA keys take time."""
    return SigningKey(kid, algorithm)


def sign(claims: dict[str, Any], key: Any, algorithm: str, **header: Any) -> str:
    """Sign any claims, including those that PyJWT refuses to sign."""
    payload = json.dumps(claims).encode()
    return jwt.api_jws.encode(payload, key, algorithm, headers={"typ": "JWT"} | header)


def encode(part: bytes) -> str:
    return base64.urlsafe_b64encode(part).rstrip(b"=").decode()


class KeySetServer(ThreadingHTTPServer):
    """A server of public keys that records the requested paths; a context manager.

    `fault` is one of FAULTS, "hang" until the server stops, or "" for none.
    """

    FAULTS = {
        "error": (500, b"key set is away"),
        "garbage": (200, b'{"keys": [<html>'),
        "not keys": (200, b'["keys", 7]'),
        "redirect": (302, b""),
    }
    daemon_threads = False  # so that server_close() waits for them

    def __init__(self, *keys: SigningKey) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"  # for SUPABASE_URL
        self.keys = [key.jwk for key in keys]
        self.fault = ""
        self.paths: list[str] = []
        self.stopped = threading.Event()
        threading.Thread(target=self.serve_forever, args=[0.01], daemon=True).start()

    def __exit__(self, *error: object) -> None:
        self.stopped.set()
        self.shutdown()
        self.server_close()


class _Handler(BaseHTTPRequestHandler):
    server: KeySetServer

    def do_GET(self) -> None:
        self.server.paths.append(self.path)
        if self.server.fault == "hang":
            self.server.stopped.wait(30)
        good = 200, json.dumps({"keys": self.server.keys}).encode()
        status, body = self.server.FAULTS.get(self.server.fault, good)
        self.send_response(status)
        self.send_header("Location", "/elsewhere")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        with contextlib.suppress(OSError):  # the client left
            self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        pass


def claims(user: str, /, **changes: Any) -> dict[str, Any]:
    """Return the claims of a signed-in user; a change to None removes the claim."""
    full: dict[str, Any] = {"sub": user, "exp": int(time.time()) + 3600}
    full |= dict.fromkeys(("aud", "role"), "authenticated") | changes
    return {name: value for name, value in full.items() if value is not None}
