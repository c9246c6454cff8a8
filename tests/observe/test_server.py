import contextlib
import socket
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from http.client import HTTPConnection

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.core import Metric

from consumer.errors import ViewerConsumerError
from consumer.observe.routes import Routes
from consumer.observe.server import MAX_CONNECTIONS, MAX_REQUEST_LINE_BYTES, StatusServer
from consumer.observe.snapshot import SnapshotBoard
from tests.observe.samples import Clock, snapshot, stream, worker_metrics

DEADLINE_S = 10.0


def routes(registry: CollectorRegistry | None = None) -> Routes:
    board = SnapshotBoard(0.0)
    board.publish(snapshot(stream("live", 7)))
    clock = Clock(0.0)
    return Routes(registry or worker_metrics(board, clock).registry, board, clock)


@pytest.fixture
def serve() -> Iterator[Callable[..., StatusServer]]:
    with contextlib.ExitStack() as stack:

        def started(answers: Routes | None = None, monotonic: Callable[[], float] = time.monotonic) -> StatusServer:
            server = StatusServer("127.0.0.1", 0, answers or routes(), monotonic)
            stack.callback(server.close)
            server.start()
            return server

        yield started


@pytest.fixture
def server(serve: Callable[..., StatusServer]) -> StatusServer:
    return serve()


def ask(server: StatusServer, path: str, method: str = "GET") -> tuple[int, dict[str, str], bytes]:
    connection = HTTPConnection("127.0.0.1", server.port, timeout=DEADLINE_S)
    try:
        connection.request(method, path)
        answer = connection.getresponse()
        return answer.status, dict(answer.getheaders()), answer.read()
    finally:
        connection.close()


def connect(server: StatusServer) -> socket.socket:
    return socket.create_connection(("127.0.0.1", server.port), timeout=DEADLINE_S)


def read_all(client: socket.socket) -> bytes:
    received = b""
    with contextlib.suppress(ConnectionResetError):
        while chunk := client.recv(65536):
            received += chunk
    return received


def test_each_path_answers(server: StatusServer) -> None:
    assert ask(server, "/healthz")[::2] == (200, b"ok\n")
    assert ask(server, "/readyz")[::2] == (200, b"ready\n")
    status, headers, body = ask(server, "/metrics")
    assert status == 200
    assert int(headers["Content-Length"]) == len(body)
    assert b'viewer_stream_concurrent_viewers{stream_id="live"} 7.0' in body
    assert ask(server, "/")[0] == 404
    assert ask(server, "/metrics", "POST")[0] == 405


def test_head_has_the_headers_of_get_and_no_body(server: StatusServer) -> None:
    for path in ("/healthz", "/readyz"):
        _, of_get, _ = ask(server, path)
        status, of_head, body = ask(server, path, "HEAD")
        assert (status, body) == (200, b"")
        assert of_head["Content-Length"] == of_get["Content-Length"]
    assert int(ask(server, "/metrics", "HEAD")[1]["Content-Length"]) > 1000


def test_the_address_opens(server: StatusServer) -> None:
    assert server.address == f"http://127.0.0.1:{server.port}"
    with urllib.request.urlopen(f"{server.address}/healthz", timeout=DEADLINE_S) as answer:  # noqa: S310  # ours
        assert answer.status == 200


def test_an_address_for_everybody_is_shown_as_localhost() -> None:
    server = StatusServer("0.0.0.0", 0, routes(), time.monotonic)  # noqa: S104  # what the default setting says
    try:
        assert server.address == f"http://localhost:{server.port}"
    finally:
        server.close()


def test_a_port_in_use_is_one_clear_line(server: StatusServer) -> None:
    with pytest.raises(ViewerConsumerError) as refused:
        StatusServer("127.0.0.1", server.port, routes(), time.monotonic)
    message = str(refused.value)
    assert f"127.0.0.1 port {server.port}: Address already in use" in message
    assert "http.port" in message
    assert "\n" not in message


@pytest.mark.parametrize("host", ["no.such.host.invalid", "x" * 300])
def test_a_host_that_does_not_exist_is_one_clear_line(host: str) -> None:
    with pytest.raises(ViewerConsumerError, match=r"can't serve metrics on .*http\.host"):
        StatusServer(host, 0, routes(), time.monotonic)


def test_a_slow_client_holds_up_nobody(server: StatusServer) -> None:
    with connect(server) as slow:
        slow.sendall(b"GET /metrics HT")
        assert ask(server, "/healthz")[0] == 200
        slow.sendall(b"TP/1.0\r\n\r\n")
        assert read_all(slow).startswith(b"HTTP/1.0 200 OK\r\n")


def test_a_client_that_never_finishes_is_cut_off(serve: Callable[..., StatusServer]) -> None:
    clock = Clock(0.0)
    server = serve(monotonic=clock)
    with connect(server) as dripping:
        dripping.sendall(b"GET /he")
        assert ask(server, "/healthz")[0] == 200
        clock.now_s += 60.0
        assert read_all(dripping) == b""


def test_past_the_limit_connections_are_turned_away_and_room_comes_back(serve: Callable[..., StatusServer]) -> None:
    clock = Clock(0.0)
    server = serve(monotonic=clock)
    with contextlib.ExitStack() as stack:
        idle = [stack.enter_context(connect(server)) for _ in range(MAX_CONNECTIONS)]
        with connect(server) as one_too_many:
            assert read_all(one_too_many) == b""
        clock.now_s += 60.0
        assert [read_all(client) for client in idle] == [b""] * MAX_CONNECTIONS
    deadline = time.monotonic() + DEADLINE_S
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError, urllib.error.URLError):
            assert ask(server, "/healthz")[0] == 200
            return
    pytest.fail("the server answers no more")


def test_an_overlong_request_line_is_refused(server: StatusServer) -> None:
    with connect(server) as client:
        client.sendall(b"GET /" + b"x" * MAX_REQUEST_LINE_BYTES)
        assert b" 414 " in read_all(client).split(b"\r\n")[0]


@pytest.mark.parametrize("noise", [b"\r\n", b"\x16\x03\x01\x02\x00\x01\x00\r\n", b"GET\r\n\r\n", b"\0\0\0\0\r\n\r\n"])
def test_noise_does_no_harm(server: StatusServer, noise: bytes) -> None:
    with connect(server) as client:
        client.sendall(noise)
        client.shutdown(socket.SHUT_WR)
        read_all(client)
    assert ask(server, "/healthz")[0] == 200


class BrokenCollector:
    def collect(self) -> list[Metric]:
        raise RuntimeError("no figures")


def test_a_scrape_that_fails_says_so_and_health_goes_on(serve: Callable[..., StatusServer]) -> None:
    registry = CollectorRegistry()
    registry.register(BrokenCollector())
    server = serve(routes(registry))
    assert ask(server, "/metrics")[::2] == (500, b"internal error, see the log\n")
    assert ask(server, "/healthz")[0] == 200


def test_close_is_quick_with_a_client_hanging_on_and_may_be_repeated(serve: Callable[..., StatusServer]) -> None:
    server = serve()
    with connect(server) as hanging:
        hanging.sendall(b"GET /metrics")
        assert ask(server, "/healthz")[0] == 200
        begun = time.monotonic()
        server.close()
        server.close()
        assert time.monotonic() - begun < 3.0
        assert read_all(hanging) == b""
        with pytest.raises(ConnectionRefusedError):
            connect(server)


def test_close_without_a_start_frees_the_port() -> None:
    server = StatusServer("127.0.0.1", 0, routes(), time.monotonic)
    server.close()
    again = StatusServer("127.0.0.1", server.port, routes(), time.monotonic)
    assert again.port == server.port
    again.close()


class WaitingCollector:
    """A scrape that takes as long as a test likes."""

    def __init__(self) -> None:
        self.entered = threading.Event()
        self.go_on = threading.Event()

    def collect(self) -> list[Metric]:
        self.entered.set()
        self.go_on.wait(DEADLINE_S)
        return []


def test_the_loop_counts_on_while_a_scrape_runs(serve: Callable[..., StatusServer]) -> None:
    metrics = worker_metrics()
    waiting = WaitingCollector()
    metrics.registry.register(waiting)
    server = serve(routes(metrics.registry))
    answers: list[int] = []
    scrape = threading.Thread(target=lambda: answers.append(ask(server, "/metrics")[0]))
    scrape.start()
    try:
        assert waiting.entered.wait(DEADLINE_S)
        metrics.count_ignored(1)
        metrics.observe_poll_gap(0.1)
        assert not answers
    finally:
        waiting.go_on.set()
        scrape.join(DEADLINE_S)
    assert answers == [200]
