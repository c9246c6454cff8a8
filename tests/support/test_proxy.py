"""The proxy changes connections as requested, and in no other way."""

import contextlib
import socket
import socketserver
import threading
import time
from collections.abc import Iterator

import pytest

from tests.support.proxy import Proxy
from tests.support.waiting import until

WITHIN_S = 10.0
SHORT_S = 0.2
"""How long a test checks that nothing arrives."""


class Echo(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        with contextlib.suppress(OSError):
            while received := self.request.recv(65_536):
                self.request.sendall(received)


class EchoServer(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    with EchoServer(("127.0.0.1", 0), Echo) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            with Proxy([server.server_address[1]]) as made:
                yield made
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def client(proxy: Proxy) -> Iterator[socket.socket]:
    with connected(proxy) as made:
        until(
            lambda: proxy.connections == 1, "the connection is forwarded"
        )  # a connection that is being set up would not be cut
        yield made


def connected(proxy: Proxy) -> socket.socket:
    return socket.create_connection(("127.0.0.1", proxy.ports[0]), WITHIN_S)


def answer(client: socket.socket, size: int = 1) -> bytes:
    received = b""
    while len(received) < size and (part := client.recv(65_536)):
        received += part
    return received


def is_broken(client: socket.socket) -> bool:
    """The other side has ended it."""
    try:
        client.sendall(b"x")
        return client.recv(1) == b""
    except OSError:
        return True


def test_bytes_are_forwarded_unchanged_in_both_directions(client: socket.socket) -> None:
    sent = bytes(range(256)) * 1_000
    sender = threading.Thread(target=client.sendall, args=(sent,))
    sender.start()
    assert answer(client, len(sent)) == sent
    sender.join()


def test_cut_breaks_existing_connections_and_forwards_new_ones(proxy: Proxy, client: socket.socket) -> None:
    client.sendall(b"x")
    assert answer(client) == b"x"
    assert proxy.connections == 1
    proxy.cut()
    assert is_broken(client)
    with connected(proxy) as again:
        again.sendall(b"y")
        assert answer(again) == b"y"


def test_connections_are_refused_until_resumed(proxy: Proxy, client: socket.socket) -> None:
    proxy.refuse()
    assert is_broken(client)
    with connected(proxy) as refused:
        assert is_broken(refused)
    proxy.resume()
    with connected(proxy) as again:
        again.sendall(b"y")
        assert answer(again) == b"y"


def test_held_bytes_arrive_after_resume_and_the_connection_survives(proxy: Proxy, client: socket.socket) -> None:
    proxy.hold()
    client.sendall(b"held")
    client.settimeout(SHORT_S)
    with pytest.raises(TimeoutError):
        client.recv(1)
    client.settimeout(WITHIN_S)
    proxy.resume()
    assert answer(client, 4) == b"held"


def test_slow_takes_at_least_the_configured_time(proxy: Proxy, client: socket.socket) -> None:
    proxy.slow(delay_s=0.1, bytes_per_s=100_000)
    began_s = time.monotonic()
    client.sendall(b"x" * 20_000)
    assert answer(client, 20_000) == b"x" * 20_000
    # There and back: each piece is delayed, and the bytes pass at the limited rate.
    assert time.monotonic() - began_s >= 2 * (0.1 + 20_000 / 100_000)


def test_if_the_target_is_down_a_connection_breaks(proxy: Proxy) -> None:
    with socket.create_server(("127.0.0.1", 0)) as gone:
        port = gone.getsockname()[1]
    with Proxy([port]) as other, connected(other) as client:
        assert is_broken(client)
    assert proxy.connections == 0


def test_when_one_side_ends_the_other_is_ended_too(proxy: Proxy) -> None:
    with connected(proxy) as client:
        client.sendall(b"x")
        assert answer(client) == b"x"
    until(lambda: proxy.connections == 0, "the connection to the target is closed too")


def test_closing_it_under_a_connection_logs_nothing(caplog: pytest.LogCaptureFixture) -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as target,
        contextlib.ExitStack() as clients,
        Proxy([target.getsockname()[1]]) as closed,
    ):
        clients.enter_context(connected(closed))
        until(lambda: closed.connections == 1, "the connection is forwarded")
    assert not caplog.records
