import gzip
from http import HTTPStatus

import pytest

from consumer.observe.routes import Routes
from consumer.observe.site import FILES
from consumer.observe.snapshot import Health, SnapshotBoard
from tests.observe.samples import Clock, parse_openmetrics, parse_text, snapshot, stream, worker_metrics
from tests.observe.site import Worker


class HttpClient:
    """Routes over a board and a clock that a test moves."""

    def __init__(self) -> None:
        self.clock = Clock(1000.0)
        self.board = SnapshotBoard(self.clock())
        metrics = worker_metrics(self.board, self.clock)
        self.routes = Routes(metrics.registry, self.board, self.clock)


@pytest.fixture
def site() -> HttpClient:
    return HttpClient()


def test_alive_while_the_loop_ticks(site: HttpClient) -> None:
    assert site.routes.answer("GET", "/healthz").status == HTTPStatus.OK
    site.clock.now_s += 30.0
    assert site.routes.answer("GET", "/healthz").status == HTTPStatus.OK
    site.clock.now_s += 0.5
    dead = site.routes.answer("GET", "/healthz")
    assert dead.status == HTTPStatus.SERVICE_UNAVAILABLE
    assert dead.body == b"the loop has not ticked for 30.5 s (limit 30 s)\n"
    site.board.tick(site.clock.now_s)
    assert site.routes.answer("GET", "/healthz").status == HTTPStatus.OK


def test_alive_says_nothing_about_kafka(site: HttpClient) -> None:
    site.board.publish(snapshot(health=Health(reason="no broker answers")))
    assert site.routes.answer("GET", "/healthz").body == b"ok\n"


def test_ready_names_what_is_missing_and_why(site: HttpClient) -> None:
    starting = site.routes.answer("GET", "/readyz")
    assert starting.status == HTTPStatus.SERVICE_UNAVAILABLE
    assert starting.body == b"not ready\nmissing: producer ready, assigned, restored\nreason: starting\n"
    tripped = Health(assigned=True, restored=True, producer_ready=True, breaker_closed=False)
    site.board.publish(snapshot(health=tripped))
    assert site.routes.answer("GET", "/readyz").body == b"not ready\nmissing: breaker closed\n"
    site.board.publish(snapshot())
    ready = site.routes.answer("GET", "/readyz")
    assert (ready.status, ready.body) == (HTTPStatus.OK, b"ready\n")


def test_started_stays_so_and_says_before_what_is_done(site: HttpClient) -> None:
    site.board.starting("compiling 14 of 29")
    starting = site.routes.answer("GET", "/startupz")
    assert (starting.status, starting.body) == (HTTPStatus.SERVICE_UNAVAILABLE, b"compiling 14 of 29\n")
    assert b"reason: compiling 14 of 29" in site.routes.answer("GET", "/readyz").body
    site.board.starting("")
    assert site.routes.answer("GET", "/startupz").status == HTTPStatus.OK
    site.board.publish(snapshot(health=Health(reason="no broker answers")))
    assert site.routes.answer("GET", "/startupz").body == b"started\n"


def test_the_page_and_its_files_are_there_and_no_others() -> None:
    worker = Worker()
    for path, (_, kind) in FILES.items():
        answer = worker.get(path)
        assert answer.status == HTTPStatus.OK
        headers = dict(answer.headers)
        assert headers["Content-Type"] == kind
        assert "default-src 'none'" in headers["Content-Security-Policy"]
        assert "unsafe" not in headers["Content-Security-Policy"]
    for path in ("/index.html", "/../routes.py", "/page.js/", "/page/page.js", "/api", "/api/v2/streams"):
        assert worker.get(path).status == HTTPStatus.NOT_FOUND
    assert b"/api/v1/streams/<id>" in worker.get("/nowhere").body
    assert worker.get("/api/v1/nowhere").status == HTTPStatus.NOT_FOUND
    assert worker.routes.answer("POST", "/").status == HTTPStatus.METHOD_NOT_ALLOWED


@pytest.mark.parametrize("path", ["/", "", "/metrics/", "/healthz/x", "//metrics", "/favicon.ico", "*"])
def test_other_paths_are_not_found(site: HttpClient, path: str) -> None:
    assert site.routes.answer("GET", path).status == HTTPStatus.NOT_FOUND


@pytest.mark.parametrize("path", ["/metrics", "/healthz", "/readyz", "/startupz"])
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "TRACE", "get"])
def test_other_methods_are_refused(site: HttpClient, method: str, path: str) -> None:
    answer = site.routes.answer(method, path)
    assert answer.status == HTTPStatus.METHOD_NOT_ALLOWED
    assert ("Allow", "GET, HEAD") in answer.headers


def test_a_query_does_not_change_the_path(site: HttpClient) -> None:
    assert site.routes.answer("GET", "/healthz?verbose=1").status == HTTPStatus.OK


def test_metrics_come_in_the_format_asked_for(site: HttpClient) -> None:
    site.board.publish(snapshot(stream("live", 7)))
    plain = site.routes.answer("GET", "/metrics")
    assert dict(plain.headers)["Content-Type"].startswith("text/plain; version=0.0.4")
    assert any(family.name == "viewer_stream_concurrent_viewers" for family in parse_text(plain.body.decode()))

    modern = site.routes.answer("GET", "/metrics", "application/openmetrics-text;version=1.0.0,text/plain;q=0.5")
    assert dict(modern.headers)["Content-Type"].startswith("application/openmetrics-text; version=1.0.0")
    assert modern.body.endswith(b"# EOF\n")
    assert any(family.name == "viewer_stream_concurrent_viewers" for family in parse_openmetrics(modern.body.decode()))


def test_metrics_are_packed_for_those_who_take_it(site: HttpClient) -> None:
    packed = site.routes.answer("GET", "/metrics", accept_encoding="gzip")
    assert ("Content-Encoding", "gzip") in packed.headers
    assert b"viewer_consumer_build_info" in gzip.decompress(packed.body)
