import contextlib
import socket
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from http import HTTPStatus
from http.client import HTTPConnection

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.core import Metric

from consumer.errors import ViewerConsumerError
from consumer.observe.answer import Answer
from consumer.observe.connections import (
    MAX_BODY_BYTES,
    MAX_CONNECTIONS,
    MAX_HEAD_BYTES,
    MAX_UNSENT_BYTES,
    MAX_WAITING_REQUESTS,
)
from consumer.observe.routes import Routes
from consumer.observe.server import StatusServer
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


def test_at_the_limit_the_oldest_connection_makes_room(server: StatusServer) -> None:
    with contextlib.ExitStack() as stack:
        idle = [stack.enter_context(connect(server)) for _ in range(MAX_CONNECTIONS)]
        assert ask(server, "/healthz")[0] == 200
        assert read_all(idle[0]) == b""
        idle[1].sendall(b"GET /healthz HTTP/1.0\r\n\r\n")
        assert read_all(idle[1]).endswith(b"ok\n")


@pytest.mark.parametrize("head", [b"GET /", b"GET / HTTP/1.1\r\nX: "])
def test_an_overlong_head_is_refused(server: StatusServer, head: bytes) -> None:
    with connect(server) as client:
        client.sendall(head.ljust(MAX_HEAD_BYTES, b"x"))
        assert b" 431 " in read_all(client).split(b"\r\n")[0]


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"Content-Length: 5\r\n\r\nhello", b"405"),
        (b"Content-Length: 99999\r\n\r\n", b"413"),
        (b"Content-Length: 99999\r\nExpect: 100-continue\r\n\r\n" + b"x" * MAX_BODY_BYTES, b"413"),
        (b"Transfer-Encoding: chunked\r\n\r\n1000\r\n" + b"x" * MAX_BODY_BYTES, b"413"),
        (b"Content-Length: -1\r\n\r\n", b"400"),
    ],
)
def test_bodies_are_refused(server: StatusServer, head: bytes, status: bytes) -> None:
    with connect(server) as client:
        client.sendall(b"POST /metrics HTTP/1.1\r\n" + head)
        answer = read_all(client).removeprefix(b"HTTP/1.1 100 Continue\r\n\r\n")
        assert answer.split(b" ")[1] == status


@pytest.mark.parametrize("version", [b"1.0", b"1.1"])
def test_a_connection_has_one_answer(server: StatusServer, version: bytes) -> None:
    with connect(server) as client:
        client.sendall(b"GET /healthz HTTP/%b\r\nConnection: keep-alive\r\n\r\n" % version * 3)
        answer = read_all(client)
        assert answer.count(b"HTTP/") == 1
        assert answer.count(b"Connection: close\r\n") == 1


@pytest.mark.parametrize("noise", [b"\r\n", b"\x16\x03\x01\x02\x00\x01\x00\r\n", b"GET\r\n\r\n", b"\0\0\0\0\r\n\r\n"])
def test_noise_does_no_harm(server: StatusServer, noise: bytes) -> None:
    with connect(server) as client:
        client.sendall(noise)
        client.shutdown(socket.SHUT_WR)
        read_all(client)
    assert ask(server, "/healthz")[0] == 200


def test_urgent_data_ends_its_connection(server: StatusServer) -> None:
    with connect(server) as client:
        client.send(b"x", socket.MSG_OOB)
        assert read_all(client) == b""


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


SCRAPE = b"GET /metrics HTTP/1.0\r\n\r\n"


@contextlib.contextmanager
def scraping(server: StatusServer, waiting: WaitingCollector) -> Iterator[socket.socket]:
    """A client whose scrape is being computed."""
    with connect(server) as client:
        client.sendall(SCRAPE)
        assert waiting.entered.wait(DEADLINE_S)
        try:
            yield client
        finally:
            waiting.go_on.set()


@pytest.fixture
def waiting() -> WaitingCollector:
    return WaitingCollector()


@pytest.fixture
def waiting_routes(waiting: WaitingCollector) -> Routes:
    metrics = worker_metrics()
    metrics.registry.register(waiting)
    return routes(metrics.registry)


def test_the_loop_counts_on_while_a_scrape_runs(serve: Callable[..., StatusServer]) -> None:
    metrics, waiting = worker_metrics(), WaitingCollector()
    metrics.registry.register(waiting)
    with scraping(serve(routes(metrics.registry)), waiting) as client:
        metrics.count_ignored(1)
        metrics.observe_poll_gap(0.1)
        waiting.go_on.set()
        assert b" 200 " in read_all(client).split(b"\r\n")[0]


def test_a_request_that_is_being_answered_does_not_make_room(
    serve: Callable[..., StatusServer], waiting: WaitingCollector, waiting_routes: Routes
) -> None:
    server = serve(waiting_routes)
    with scraping(server, waiting) as client, contextlib.ExitStack() as stack:
        for _ in range(MAX_CONNECTIONS + 1):
            stack.enter_context(connect(server))
        assert ask(server, "/healthz")[0] == 200
        waiting.go_on.set()
        assert b" 200 " in read_all(client).split(b"\r\n")[0]


def test_requests_past_the_limit_are_refused_and_probes_are_not(
    serve: Callable[..., StatusServer], waiting: WaitingCollector, waiting_routes: Routes
) -> None:
    clock = Clock(0.0)
    server = serve(waiting_routes, clock)
    with scraping(server, waiting), contextlib.ExitStack() as stack:
        queue = [stack.enter_context(connect(server)) for _ in range(MAX_WAITING_REQUESTS)]
        for client in queue:
            client.sendall(SCRAPE)
        status, _, body = ask(server, "/metrics")
        assert (status, b"16 other requests wait" in body) == (503, True)
        assert ask(server, "/healthz")[0] == ask(server, "/readyz")[0] == 200
        clock.now_s += 60.0
        assert [read_all(client) for client in queue] == [b""] * MAX_WAITING_REQUESTS
        waiting.go_on.set()
        assert ask(server, "/metrics")[0] == 200


class LargeAnswers(Routes):
    """Answers of which the kernel's buffers hold a small part."""

    def __init__(self) -> None:
        self.body = bytes(MAX_UNSENT_BYTES // 3)

    def answer(self, method: str, path: str, accept: str = "", accept_encoding: str = "") -> Answer:  # noqa: ARG002
        return Answer(HTTPStatus.OK, self.body)


def test_answers_that_nobody_reads_do_not_fill_the_memory(serve: Callable[..., StatusServer]) -> None:
    answers = LargeAnswers()
    server = serve(answers)
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(connect(server)) for _ in range(5)]
        for client in clients:
            client.sendall(SCRAPE)
        assert len(read_all(clients[-1])) > len(answers.body)
        assert len(read_all(clients[0])) < len(answers.body)


def test_close_is_quick_while_a_scrape_hangs(
    serve: Callable[..., StatusServer], waiting: WaitingCollector, waiting_routes: Routes
) -> None:
    server = serve(waiting_routes)
    with scraping(server, waiting) as client:
        begun = time.monotonic()
        server.close()
        assert time.monotonic() - begun < 3.0
        assert read_all(client) == b""


def test_it_listens_on_ipv6() -> None:
    with contextlib.suppress(OSError), socket.create_server(("::1", 0), family=socket.AF_INET6):
        server = StatusServer("::1", 0, routes(), time.monotonic)
        server.start()
        try:
            assert server.address == f"http://[::1]:{server.port}"
            with urllib.request.urlopen(f"{server.address}/healthz", timeout=DEADLINE_S) as answer:  # noqa: S310  # ours
                assert answer.status == 200
        finally:
            server.close()
        return
    pytest.skip("this machine has no IPv6")
