"""HTTP requests with limits on destination, total time and response size."""

import contextlib
import ssl
import threading
from collections.abc import Callable, Mapping
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from socket import SHUT_RDWR, create_connection, socket
from typing import NamedTuple
from urllib.parse import quote, urlsplit

from consumer.errors import ViewerConsumerError

DEFAULT_PORTS = {"http": 80, "https": 443}

_TIMED_OUT = "timed out"

_SEE = "see input.schema_registry_certificate_file"
_MAYBE_FOR_CERTIFICATE = f", as of one that asks for a certificate of ours; {_SEE}"
"""A peer may have shut the connection before we have read why."""


class HttpResponse(NamedTuple):
    """An HTTP response; `body` may be cut, see `HttpClient.ask`."""

    status: int
    body: bytes


class NoResponseError(Exception):
    """No valid response in time; the message names the kind of error, without any request data."""


class HttpClient:
    """Requests to one address only: redirects are returned, not followed.

    Args:
        url: http or https, without user and password; its path is a prefix of all requests.
        tls: makes the TLS context for https, for each request, so that renewed certificates are used; may raise
            ViewerConsumerError.
    """

    def __init__(self, url: str, tls: Callable[[], ssl.SSLContext | None] | None = None) -> None:
        parts = urlsplit(url)
        self._is_secure = parts.scheme == "https"
        self._host = parts.hostname or ""
        self._port = parts.port or DEFAULT_PORTS[parts.scheme]
        self._path = quote(parts.path.rstrip("/"), safe="/%")
        self._tls = tls or (ssl.create_default_context if self._is_secure else lambda: None)

    def ask(
        self, path: str, headers: Mapping[str, str], within_s: float, most_bytes: int, body: bytes | None = None
    ) -> HttpResponse:
        """The response to GET, or to POST if there is a body; reads at most `most_bytes` + 1 bytes.

        Raises:
            NoResponseError: none came within that time.
        """
        kind = HTTPSConnection if self._is_secure else HTTPConnection
        try:
            tls = self._tls()
        except ViewerConsumerError as error:
            raise NoResponseError(str(error)) from None
        exchange = _Exchange(kind(self._host, self._port, timeout=within_s), tls, most_bytes)
        arguments = ("GET" if body is None else "POST", self._path + path, body, dict(headers))
        threading.Thread(target=exchange.run, args=arguments, daemon=True, name="http-call").start()
        if not exchange.done.wait(within_s):
            exchange.give_up()
            raise NoResponseError(_TIMED_OUT)
        if exchange.answer is None:
            raise NoResponseError(exchange.trouble)
        return exchange.answer


class _Exchange:
    """One request in a separate thread.

    Socket time-outs do not bound name look-ups, or a peer that sends a byte now and then.
    """

    def __init__(self, connection: HTTPConnection, tls: ssl.SSLContext | None, most_bytes: int) -> None:
        self._connection = connection
        self._tls = tls
        self._most_bytes = most_bytes
        self._socket: socket | None = None
        self._is_given_up = False
        self.done = threading.Event()
        self.answer: HttpResponse | None = None
        self.trouble = ""

    def run(self, method: str, path: str, body: bytes | None, headers: dict[str, str]) -> None:
        try:
            self._connect()
            self._connection.request(method, path, body, headers)
            with self._connection.getresponse() as response:
                self.answer = HttpResponse(response.status, response.read(self._most_bytes + 1))
        except ssl.SSLCertVerificationError as error:
            self.trouble = f"its certificate isn't trusted: {error.verify_message}"
        except (ConnectionResetError, BrokenPipeError, ssl.SSLEOFError) as error:
            self.trouble = type(error).__name__ + (_MAYBE_FOR_CERTIFICATE if self._tls else "")
        except TimeoutError:  # of the socket, which may come before that of `ask`
            self.trouble = _TIMED_OUT
        except ssl.SSLError as error:
            self.trouble = _of_tls(error)
        except (OSError, HTTPException, ValueError) as error:  # a ValueError would quote the header that cannot be sent
            self.trouble = type(error).__name__
        finally:
            self._close()
            self.done.set()

    def give_up(self) -> None:
        """Make the thread end by shutting its socket, or by a flag if it has none yet."""
        self._is_given_up = True
        _shut(self._socket)

    def _connect(self) -> None:
        address = (self._connection.host, self._connection.port)
        plain = create_connection(address, self._connection.timeout)
        # The handshake can block, so it happens after the socket is known to `give_up`.
        self._socket = plain if self._tls is None else self._wrapped(plain, self._tls)
        self._connection.sock = self._socket
        if self._is_given_up:
            raise TimeoutError
        if isinstance(self._socket, ssl.SSLSocket):
            self._socket.do_handshake()

    def _wrapped(self, plain: socket, tls: ssl.SSLContext) -> ssl.SSLSocket:
        return tls.wrap_socket(plain, server_hostname=self._connection.host, do_handshake_on_connect=False)

    def _close(self) -> None:
        self._connection.close()
        if self._socket is not None:
            self._socket.close()


def _of_tls(error: ssl.SSLError) -> str:
    """What went wrong; an alert is what the peer said of us."""
    reason = (error.reason or type(error).__name__).replace("_", " ").lower()
    if "alert" not in reason:
        return f"TLS: {reason}"
    said = reason.partition("alert ")[2]
    return f"it refuses our certificate, or that there is none: {said}; {_SEE}"


def _shut(one: socket | None) -> None:
    if one is not None:
        with contextlib.suppress(OSError):
            socket.shutdown(one, SHUT_RDWR)  # not that of TLS, which would forget its state under a reader's hands
