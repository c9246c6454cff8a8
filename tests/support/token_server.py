"""A token server for OAUTHBEARER over real HTTP: signed tokens with a short life, their public key, and faults."""

import base64
import json
import ssl
import subprocess
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import parse_qs

from tests.support.broker import lasting_ports

CLIENT_ID = "worker-client"
AUDIENCE = "kafka"
_KEY_ID = "tests"


class TokenRequest(NamedTuple):
    """What a client sent."""

    path: str
    """Any below the server's own, by which a test tells clients apart."""
    authorization: str
    form: dict[str, str]


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: clients that don't trust us break off."""


class TokenServer:
    """Gives tokens to whoever knows the secret, and the key to verify them to everybody.

    Args:
        directory: for the key.
        user: whom the tokens name.
        secret: of the client.
        life_s: of a token.
        tls: to serve by HTTPS.
    """

    def __init__(
        self, directory: Path, user: str, secret: str, life_s: float = 300.0, tls: ssl.SSLContext | None = None
    ) -> None:
        self._key = directory / "token.key"
        _openssl("genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-out", str(self._key))
        self._user = user
        self.secret = secret
        self.life_s = life_s
        self._tls = tls
        self._lock = threading.Lock()
        self._requests: list[TokenRequest] = []
        self.fault: tuple[int, dict[str, str]] | None = None
        """Status and answer that are given instead of tokens."""
        self.hang = threading.Event()
        """While it is not set, no answer is given."""
        self.hang.set()
        self._server: _Server | None = None
        self._thread: threading.Thread | None = None
        (self._port,) = lasting_ports(1)
        self.start()

    @property
    def url(self) -> str:
        """Where tokens are."""
        return f"{self._address}/token"

    @property
    def keys_url(self) -> str:
        """Where the public key is, as brokers ask for it."""
        return f"{self._address}/keys"

    @property
    def _address(self) -> str:
        return f"{'http' if self._tls is None else 'https'}://localhost:{self._port}"

    def start(self) -> None:
        """Listen, on the same port after a `stop`."""
        self._server = _Server(("localhost", self._port), _handler_of(self))
        if self._tls is not None:
            self._server.socket = self._tls.wrap_socket(
                self._server.socket, server_side=True, do_handshake_on_connect=False
            )
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()

    def stop(self) -> None:
        """Refuse connections until `start`; a second call does nothing."""
        self.hang.set()
        if self._server is not None and self._thread is not None:
            self._server.shutdown()
            self._server.server_close()
            self._thread.join()
            self._server = None

    def requests(self) -> list[TokenRequest]:
        """All requests for tokens, in order."""
        with self._lock:
            return list(self._requests)

    def client(self) -> dict[str, str]:
        """librdkafka's keys to log in, but for those of TLS."""
        return {
            "security.protocol": "SASL_SSL",
            "sasl.mechanisms": "OAUTHBEARER",
            "sasl.oauthbearer.method": "oidc",
            "sasl.oauthbearer.token.endpoint.url": self.url,
            "sasl.oauthbearer.client.id": CLIENT_ID,
            "sasl.oauthbearer.client.secret": self.secret,
            "sasl.oauthbearer.scope": "events",
        }

    def token(self) -> tuple[str, int]:
        """A signed token, and when it expires in seconds since 1970."""
        now_s = time.time()
        expires_s = int(now_s + self.life_s)
        claims = {"sub": self._user, "aud": AUDIENCE, "iat": int(now_s), "exp": expires_s, "scope": "events"}
        signed = ".".join(_text(json.dumps(part).encode()) for part in ({"alg": "RS256", "kid": _KEY_ID}, claims))
        signature = _openssl("dgst", "-sha256", "-sign", str(self._key), stdin=signed.encode())
        return f"{signed}.{_text(signature)}", expires_s

    def keys(self) -> dict[str, Any]:
        """The public key as a set of JSON web keys."""
        shown = _openssl("rsa", "-in", str(self._key), "-noout", "-modulus").decode()
        modulus = bytes.fromhex(shown.strip().partition("=")[2])
        key = {"kty": "RSA", "kid": _KEY_ID, "use": "sig", "alg": "RS256", "n": _text(modulus), "e": _text(b"\1\0\1")}
        return {"keys": [key]}

    def answer(self, request: TokenRequest) -> tuple[int, dict[str, Any]]:
        """Status and answer to a request for a token."""
        with self._lock:
            self._requests.append(request)
        self.hang.wait(60)
        if self.fault is not None:
            return self.fault
        known = base64.b64encode(f"{CLIENT_ID}:{self.secret}".encode()).decode()
        if request.authorization != f"Basic {known}":
            return 401, {"error": "invalid_client", "error_description": "the client or its secret is unknown"}
        token, expires_s = self.token()
        return 200, {"access_token": token, "token_type": "Bearer", "expires_in": expires_s - int(time.time())}


def _handler_of(tokens: TokenServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._reply(200, tokens.keys())

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            form = {name: values[0] for name, values in parse_qs(body).items()}
            self._reply(*tokens.answer(TokenRequest(self.path, self.headers.get("Authorization", ""), form)))

        def _reply(self, status: int, answer: dict[str, Any]) -> None:
            body = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    return Handler


def _text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _openssl(*arguments: str, stdin: bytes = b"") -> bytes:
    return subprocess.run(["openssl", *arguments], input=stdin, check=True, capture_output=True, timeout=60).stdout
