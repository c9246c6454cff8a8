"""Connections of the HTTP server: waitress, with the limits that it does not have, and probes that never queue."""

import contextlib
import socket
import threading
from collections.abc import Callable
from typing import Any

from waitress import wasyncore
from waitress.adjustments import Adjustments
from waitress.channel import HTTPChannel
from waitress.parser import HTTPRequestParser
from waitress.server import TcpWSGIServer
from waitress.task import ThreadedTaskDispatcher, WSGITask
from waitress.utilities import Error

MAX_CONNECTIONS = 256
MAX_CONNECTION_AGE_S = 15.0
"""Limits a connection as a whole, however busy: waitress cuts idle ones only, and a byte a second is not idle."""
MAX_HEAD_BYTES = 8192
MAX_BODY_BYTES = 4096
"""Nothing here takes a body; a small one gets its answer."""
MAX_UNSENT_BYTES = 64 << 20
"""What clients may leave unread, all together, unless it is a single answer."""
MAX_WAITING_REQUESTS = 16
"""Other than probes; one thread answers them, since two would only take the interpreter from the worker's loop."""
PROBES = frozenset({"/healthz", "/readyz", "/startupz"})
POLL_INTERVAL_S = 0.5
ACCEPTS_A_TURN = 16
CLOSE_TIMEOUT_S = 1.0

_NO_OVERFLOW_BYTES = 1 << 40


class Request(HTTPRequestParser):  # type: ignore[misc]  # waitress has no types
    """The only request of its connection."""

    path = ""
    """Waitress logs it even where it could not parse the request."""

    def received(self, data: bytes) -> int:
        """Take what was received and return how much of it is used up: all, once the request is complete.

        Else hundreds of requests in one packet would be parsed, in the thread that holds all connections.
        """
        used: int = super().received(data)
        if not self.completed:
            return used
        self.expect_continue = False  # the answer is known: the client need not send a body
        return len(data)


class OneAnswer(WSGITask):  # type: ignore[misc]  # as above
    """An answer that closes its connection: what a connection may cost then is what a request may cost."""

    def build_response_header(self) -> bytes:
        """Called once, before the first byte is sent."""
        self.request.headers["CONNECTION"] = "close"
        header: bytes = super().build_response_header()
        return header


class Connection(HTTPChannel):  # type: ignore[misc]  # as above
    """One connection, for one request."""

    parser_class = Request
    task_class = OneAnswer

    def __init__(self, server: "BoundedServer", *args: Any, **kwargs: Any) -> None:
        self.opened_s = server.monotonic()
        super().__init__(server, *args, **kwargs)

    def handle_expt(self) -> None:
        """Called when TCP's urgent data arrives. No HTTP client sends it; unread it would wake the loop for ever."""
        self.handle_close()

    def del_channel(self, map: Any = None) -> None:  # noqa: A002  # waitress' name
        """Called whenever the connection is closed."""
        super().del_channel(map)
        self.server.forget(self)


class TaskQueue(ThreadedTaskDispatcher):  # type: ignore[misc]  # as above
    """Connections whose request waits for a thread; at most one entry for each open connection."""

    def __init__(self) -> None:
        super().__init__()
        self._started: list[threading.Thread] = []

    def start_new_thread(self, target: Callable[[int], None], thread_no: int) -> None:
        """Called for every thread; keeps it, to be joined."""
        thread = threading.Thread(target=target, args=(thread_no,), name=f"status-answers-{thread_no}", daemon=True)
        self._started.append(thread)
        thread.start()

    def discard(self, connection: Connection) -> None:
        """Take a connection out that was closed; else a flood of them would fill the memory."""
        with self.lock, contextlib.suppress(ValueError):
            self.queue.remove(connection)

    def close(self) -> None:
        """End the threads; one that is inside an answer ends by itself later."""
        self.set_thread_count(0)
        for thread in self._started:
            thread.join(CLOSE_TIMEOUT_S)


class BusyError(Error):  # type: ignore[misc]  # as above
    """The answer while too many requests wait."""

    code = 503
    reason = "Service Unavailable"


class BoundedServer(TcpWSGIServer):  # type: ignore[misc]  # as above
    """One thread holds all connections; other threads compute answers, probes in one of their own.

    A new connection is always accepted: at the limit the oldest one that waits for its client makes room. So a probe is
    answered whatever other clients do.

    Args:
        listener: a listening socket; belongs to the server from here on.
        application: computes the answers.
        monotonic: clock for the age of connections, in seconds.
    """

    channel_class = Connection

    def __init__(self, listener: socket.socket, application: Any, monotonic: Callable[[], float]) -> None:
        self.monotonic = monotonic
        self._stopping = False
        self._probes = TaskQueue()
        self._requests = TaskQueue()
        adjustments = Adjustments(
            sockets=[listener],
            ident="viewer-consumer",
            max_request_header_size=MAX_HEAD_BYTES,
            max_request_body_size=MAX_BODY_BYTES,
            # Answers wait in memory: a disk may be full or read-only.
            outbuf_overflow=_NO_OVERFLOW_BYTES,
            log_socket_errors=False,
        )
        super().__init__(
            application,
            _sock=listener,
            dispatcher=self._requests,
            adj=adjustments,
            sockinfo=(listener.family, listener.type, listener.proto, listener.getsockname()),
            bind_socket=False,
        )

    def run(self) -> None:
        """Serve until `stop`; called once, in a thread of its own."""
        self._probes.set_thread_count(1)
        self._requests.set_thread_count(1)
        while not self._stopping:
            wasyncore.loop(POLL_INTERVAL_S, use_poll=True, map=self._map, count=1)
            self._cut_connections()

    def stop(self) -> None:
        """Make `run` return soon; called from another thread."""
        self._stopping = True
        super().pull_trigger()

    def close(self) -> None:
        """Close every socket and end the threads within seconds; called when `run` has returned or never began."""
        self._stopping = True
        for connection in self._open():
            connection.handle_close()
        self._probes.close()
        self._requests.close()
        super().close()

    def pull_trigger(self) -> None:
        """Wake up `run`; called by threads that compute answers, which may outlive the server's sockets."""
        if not self._stopping:
            super().pull_trigger()

    def readable(self) -> bool:
        """Always accept. In place of waitress' own rule, which at its limit leaves new connections waiting."""
        return True

    def handle_accept(self) -> None:
        """Called when connections wait to be accepted."""
        for _ in range(ACCEPTS_A_TURN):
            if not self._accept():
                return

    def add_task(self, task: Connection) -> None:
        """Called when a connection has received a request."""
        request = task.requests[0]
        if not request.error and request.path not in PROBES:
            if len(self._requests.queue) < MAX_WAITING_REQUESTS:
                self._requests.add_task(task)
                return
            request.error = BusyError(f"{MAX_WAITING_REQUESTS} other requests wait")
        self._probes.add_task(task)

    def forget(self, connection: Connection) -> None:
        """Called when a connection is closed: what it asked for needs no answer."""
        self._probes.discard(connection)
        self._requests.discard(connection)

    def _accept(self) -> bool:
        """Accept a connection; False if there is none."""
        try:
            accepted = self.accept()
        except OSError:  # no file descriptor is left
            return False
        if accepted is None:
            return False
        if len(self.active_channels) >= MAX_CONNECTIONS:
            self._make_room()
        client, address = accepted
        with contextlib.suppress(OSError):  # where it fails, the client is gone: noticed when it is read
            self.set_socket_options(client)
        self.channel_class(self, client, address, self.adj, map=self._map)
        return True

    def _make_room(self) -> None:
        """Close the oldest connection whose request is not being answered, else the oldest."""
        connections = self._open()
        waiting = (one for one in connections if not one.requests)
        next(waiting, connections[0]).handle_close()

    def _cut_connections(self) -> None:
        """Close connections that are too old, and the oldest of those whose clients read too slowly."""
        oldest_s = self.monotonic() - MAX_CONNECTION_AGE_S
        for connection in self._open():
            if connection.opened_s <= oldest_s:
                connection.handle_close()
        unread = [one for one in self._open() if one.total_outbufs_len]
        unsent_bytes = sum(one.total_outbufs_len for one in unread)
        for connection in unread[:-1]:
            if unsent_bytes > MAX_UNSENT_BYTES:
                unsent_bytes -= connection.total_outbufs_len
                connection.handle_close()

    def _open(self) -> list[Connection]:
        """Oldest first: closed ones leave the dictionary, new ones come last."""
        return list(self.active_channels.values())
