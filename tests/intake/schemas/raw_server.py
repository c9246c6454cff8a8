"""A server that answers with bytes as they are given: whatever a peer can send, HTTP or not."""

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator


class RawServer:
    """Hands each connection to `behave`, one after the other, until it is closed."""

    def __init__(self, behave: Callable[[socket.socket], None]) -> None:
        self.behave = behave
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()
        self.over = threading.Event()
        """Set when the server ends; a behaviour that lasts has to look at it."""
        self.left = threading.Semaphore(0)
        """Counts connections of which the other side has let go."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def close(self) -> None:
        self.over.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(10)

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with connection, contextlib.suppress(OSError):
                connection.settimeout(10)
                self.behave(connection)
            self.left.release()


@contextlib.contextmanager
def raw_server(behave: Callable[[socket.socket], None]) -> Iterator[RawServer]:
    server = RawServer(behave)
    try:
        yield server
    finally:
        server.close()
