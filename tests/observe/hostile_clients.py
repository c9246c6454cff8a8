"""A process that holds connections to a server in the ways that exhaust one; `python -m tests.observe.hostile_clients`.

Arguments: the kind, the number of clients, the port. Writes a line when all of them are connected and have sent their
first bytes. Goes on until stdin ends; a client that is cut comes back within a second.
"""

import contextlib
import itertools
import resource
import select
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
TURNS_A_SECOND = 10


class Behaviour(NamedTuple):
    """What a client sends when it is connected, and again every second. None of them reads."""

    first: bytes
    again: bytes = b""


SCRAPE = b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"
KINDS = {
    "idle": Behaviour(b""),
    "half a request line": Behaviour(b"GET /hea"),
    "a byte of a head now and then": Behaviour(b"GET /healthz HTTP/1.1\r\nX: ", b"x"),
    "an endless head": Behaviour(b"GET /healthz HTTP/1.1\r\n", b"X-Header: " + b"x" * 4000 + b"\r\n"),
    "a scrape that is never read": Behaviour(SCRAPE),
    "hundreds of scrapes at once, never read": Behaviour(SCRAPE * 200, SCRAPE),
    "a byte of a body now and then": Behaviour(b"POST /metrics HTTP/1.1\r\nContent-Length: 4000\r\n\r\n", b"x"),
    "a body without end": Behaviour(
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", b"1000\r\n" + b"x" * 4096 + b"\r\n"
    ),
    "a body that was not continued": Behaviour(
        b"PUT / HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 9999999\r\n\r\n"
    ),
    "noise": Behaviour(b"\x16\x03\x01\x02\0\x01\0", b"\0\r\n\r\n"),
}


@contextlib.contextmanager
def attack(kind: str, clients: int, port: int) -> Iterator[None]:
    """So many clients of a kind, in a process of their own, connected when this begins."""
    command = [sys.executable, "-m", "tests.observe.hostile_clients", kind, str(clients), str(port)]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"connected\n"
            yield
        finally:
            process.communicate(timeout=30)


class Client:
    """One connection, made again when it is cut."""

    def __init__(self, behaviour: Behaviour, port: int) -> None:
        self._behaviour = behaviour
        self._port = port
        self._connect()

    def tick(self) -> None:
        """Once a second: send a little more, or come back after a cut."""
        with contextlib.suppress(OSError):  # its buffers are full, or it is being cut
            if self._is_cut():
                self._socket.close()
                self._connect()
            elif self._behaviour.again:
                self._socket.send(self._behaviour.again)

    def _is_cut(self) -> bool:
        try:
            return not self._socket.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return False
        except OSError:
            return True

    def _connect(self) -> None:
        self._socket = socket.socket()
        # Set before it is connected: else the kernel takes megabytes for a client that doesn't read.
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self._socket.settimeout(10)
        with contextlib.suppress(OSError):  # the server closes; the next tick tries again
            self._socket.connect(("127.0.0.1", self._port))
            self._socket.setblocking(False)
            self._socket.send(self._behaviour.first)


def main(kind: str, clients: int, port: int) -> None:
    """Hold so many connections until stdin ends."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(most, clients + 64) if most > 0 else clients + 64, most))
    held = [Client(KINDS[kind], port) for _ in range(clients)]
    sys.stdout.write("connected\n")
    sys.stdout.flush()
    for turn in itertools.count():
        if select.select([sys.stdin], [], [], 1 / TURNS_A_SECOND)[0]:
            return
        for client in held[turn % TURNS_A_SECOND :: TURNS_A_SECOND]:
            client.tick()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
