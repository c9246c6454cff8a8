"""The HTTP server of page, metrics and probes, in threads of its own, with limits on everything."""

import socket
import threading
from collections.abc import Callable, Iterable
from http import HTTPStatus
from wsgiref.types import StartResponse, WSGIEnvironment

import structlog

from consumer.errors import ViewerConsumerError
from consumer.observe.answer import Answer
from consumer.observe.connections import CLOSE_TIMEOUT_S, BoundedServer
from consumer.observe.routes import Routes

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
        listener = _listen(host, port)
        self.port: int = listener.getsockname()[1]
        self._server = BoundedServer(listener, Application(routes), monotonic)
        self._thread = threading.Thread(target=self._server.run, name="status-server", daemon=True)

    def start(self) -> None:
        """Begin to answer."""
        self._thread.start()

    def close(self) -> None:
        """Stop within seconds, whatever clients do; may be called again."""
        if self._thread.is_alive():
            self._server.stop()
            self._thread.join(CLOSE_TIMEOUT_S)
        self._server.close()

    @property
    def address(self) -> str:
        """URL of the root, with a host that a browser on this machine can open."""
        everywhere = {"", "0.0.0.0", "::"}  # noqa: S104  # compared, not bound
        shown = "localhost" if self._host in everywhere else self._host
        return f"http://{f'[{shown}]' if ':' in shown else shown}:{self.port}"


class Application:
    """The routes as a WSGI application.

    Args:
        routes: the answers.
    """

    def __init__(self, routes: Routes) -> None:
        self._routes = routes

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer one request; called by several threads at once."""
        answer = self._answer(environ)
        # Probes and scrapes arrive every few seconds.
        _log.debug(
            "http request", client=environ["REMOTE_ADDR"], path=environ["REQUEST_URI"], status=answer.status.value
        )
        length = ("Content-Length", str(len(answer.body)))
        start_response(f"{answer.status.value} {answer.status.phrase}", [*answer.headers, length])
        return [] if environ["REQUEST_METHOD"] == "HEAD" else [answer.body]

    def _answer(self, environ: WSGIEnvironment) -> Answer:
        method, path = environ["REQUEST_METHOD"], environ["REQUEST_URI"]
        try:
            return self._routes.answer(
                method, path, environ.get("HTTP_ACCEPT", ""), environ.get("HTTP_ACCEPT_ENCODING", "")
            )
        except Exception:  # noqa: BLE001  # a failed scrape must be visible to its client and in the log
            _log.exception("http answer failed", path=path)
            return Answer(HTTPStatus.INTERNAL_SERVER_ERROR, b"internal error, see the log\n")


def _listen(host: str, port: int) -> socket.socket:
    try:
        found = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, kind, protocol, _, address = found[0]
        listener = socket.socket(family, kind, protocol)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
            listener.listen()
        except BaseException:
            listener.close()
            raise
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ViewerConsumerError(
            f"can't serve metrics on {host} port {port}: {reason}; set http.host and http.port to a "
            "free address (http.port = 0 takes any free port)"
        ) from error
    return listener
