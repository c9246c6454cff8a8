"""The HTTP server of `/metrics`, `/healthz` and `/readyz`: separate threads, with limits on everything."""

import socket
import threading
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from socketserver import TCPServer, ThreadingMixIn
from typing import Any

import structlog

from consumer.errors import ViewerConsumerError
from consumer.observe.routes import Answer, Routes

MAX_CONNECTIONS = 64
MAX_CONNECTION_AGE_S = 15.0
"""Limits a connection as a whole: a slow client could pass the time-out of every single read."""
MAX_REQUEST_LINE_BYTES = 8192
IO_TIMEOUT_S = 5.0
POLL_INTERVAL_S = 0.1
CLOSE_TIMEOUT_S = 2.0

_log = structlog.get_logger(__name__)


class StatusServer:
    """Listens from its creation, answers from `start` to `close`; independent of the loop.

    Args:
        host: address to listen on; IPv6 ones too.
        port: 0 takes any free port; see `port`.
        routes: the answers.
        monotonic: clock for the age of connections, in seconds.

    Raises:
        ViewerConsumerError: the address is not available.
    """

    def __init__(self, host: str, port: int, routes: Routes, monotonic: Callable[[], float]) -> None:
        self._host = host
        self._server = _listen(host, port, routes, monotonic)
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(POLL_INTERVAL_S,), name="status-server", daemon=True
        )

    def start(self) -> None:
        """Begin to answer."""
        self._thread.start()

    def close(self) -> None:
        """Stop within seconds, whatever clients do; may be called again."""
        if self._thread.is_alive():
            self._server.shutdown()
            self._thread.join(CLOSE_TIMEOUT_S)
        self._server.server_close()
        self._server.drop_connections(0.0)

    @property
    def port(self) -> int:
        """The port in use."""
        return self._server.port

    @property
    def address(self) -> str:
        """URL of the root, with a host that a browser on this machine can open."""
        everywhere = {"", "0.0.0.0", "::"}  # noqa: S104  # compared, not bound
        shown = "localhost" if self._host in everywhere else self._host
        return f"http://{f'[{shown}]' if ':' in shown else shown}:{self.port}"


class ThreadedServer(ThreadingMixIn, TCPServer):
    """One thread per connection, at most `MAX_CONNECTIONS`, none older than `MAX_CONNECTION_AGE_S`."""

    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = MAX_CONNECTIONS

    def __init__(
        self, family: socket.AddressFamily, address: tuple[Any, ...], routes: Routes, monotonic: Callable[[], float]
    ) -> None:
        self.address_family = family
        self.routes = routes
        self._monotonic = monotonic
        self._open: dict[socket.socket, float] = {}
        self._open_lock = threading.Lock()
        super().__init__(address[:2], RequestHandler)
        self.port: int = self.socket.getsockname()[1]

    def process_request(self, request: Any, client_address: Any) -> None:
        """Start a thread for the connection, or refuse it if there are too many."""
        with self._open_lock:
            admitted = len(self._open) < MAX_CONNECTIONS
            if admitted:
                self._open[request] = self._monotonic()
        if admitted:
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def shutdown_request(self, request: Any) -> None:
        """Close one connection."""
        with self._open_lock:
            self._open.pop(request, None)
        super().shutdown_request(request)

    def service_actions(self) -> None:
        """Called in every turn of the server's loop: cut old connections."""
        self.drop_connections(MAX_CONNECTION_AGE_S)

    def drop_connections(self, max_age_s: float) -> None:
        """Cut connections of this age; their threads then end."""
        now = self._monotonic()
        with self._open_lock:
            for request, since in self._open.items():
                if now - since >= max_age_s:
                    _cut(request)

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002  # the stdlib's signature
        """Log at debug level: a client that leaves or is slow is not an error."""
        _log.debug("connection failed", client=client_address, exc_info=True)


class RequestHandler(BaseHTTPRequestHandler):
    """One request per connection, parsed by the standard library (at most 100 headers); each read has a time-out."""

    server: "ThreadedServer"
    timeout = IO_TIMEOUT_S
    server_version = "viewer-consumer"
    sys_version = ""
    error_message_format = "%(code)d %(message)s\n"
    error_content_type = "text/plain; charset=utf-8"

    def handle(self) -> None:
        """Answer one request and let the connection close."""
        self.raw_requestline = self.rfile.readline(MAX_REQUEST_LINE_BYTES + 1)
        if len(self.raw_requestline) > MAX_REQUEST_LINE_BYTES:
            self.requestline = self.request_version = self.command = ""
            self.send_error(HTTPStatus.REQUEST_URI_TOO_LONG)
            return
        if not self.raw_requestline or not self.parse_request():
            return
        self._send(self._answer())

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # the stdlib's name
        """Log at debug level: probes and scrapes arrive every few seconds."""
        _log.debug("http request", client=self.client_address[0], line=format % args)

    def _answer(self) -> Answer:
        try:
            return self.server.routes.answer(
                self.command, self.path, self.headers.get("Accept", ""), self.headers.get("Accept-Encoding", "")
            )
        except Exception:  # noqa: BLE001  # a failed scrape must be visible to its client and in the log
            _log.exception("http answer failed", path=self.path)
            return Answer(HTTPStatus.INTERNAL_SERVER_ERROR, b"internal error, see the log\n")

    def _send(self, answer: Answer) -> None:
        self.send_response(answer.status)
        for name, value in answer.headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(answer.body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer.body)


def _listen(host: str, port: int, routes: Routes, monotonic: Callable[[], float]) -> ThreadedServer:
    try:
        found = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, _, _, _, address = found[0]
        return ThreadedServer(family, address, routes, monotonic)
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ViewerConsumerError(
            f"can't serve metrics on {host} port {port}: {reason}; set http.host and http.port to a "
            "free address (http.port = 0 takes any free port)"
        ) from error


def _cut(request: socket.socket) -> None:
    try:
        request.shutdown(socket.SHUT_RDWR)
    except OSError:
        _log.debug("connection was already gone")
