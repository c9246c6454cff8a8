"""Workers that answer as the API does."""

import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from consumer.observe.snapshot import StreamStatus


def stream(stream_id: str = "channel-0001", viewers: int = 1_234, **figures: Any) -> StreamStatus:
    found = StreamStatus(stream_id, viewers, 2_345, 10, 3_456_789.0, 1, 9, 17, 65_400, 1_700_000_030_000)
    return found._replace(**figures)


def worker(**figures: Any) -> dict[str, Any]:
    """What `/api/v1/worker` answers, as far as `top` reads it."""
    return {
        "ready": True,
        "reason": "",
        "missing": [],
        "starting": "",
        "partitions": [{"partition": 0}, {"partition": 1}],
        "lag_records": 12,
        "viewers": 5_678,
        "streams": 42,
        "rates_per_s": {"events": 1_500.4, "summaries": 31.0, "late_events": 0.5, "rejects": 0.0},
    } | figures


@contextmanager
def serving(*streams: StreamStatus, **figures: Any) -> Iterator[str]:
    """Yield the address of such a worker."""
    answers = {"/api/v1/worker": worker(**figures)}
    with _serving(answers, [one._asdict() for one in streams]) as url:
        yield url


@contextmanager
def serving_without_api() -> Iterator[str]:
    with _serving({}, None) as url:
        yield url


@contextmanager
def serving_other_streams() -> Iterator[str]:
    """As a worker of another release, whose streams lack figures."""
    with _serving({"/api/v1/worker": worker(), "/api/v1/streams": {"streams": [{"stream_id": "s"}]}}, None) as url:
        yield url


@contextmanager
def _serving(answers: Mapping[str, Any], streams: list[dict[str, Any]] | None) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:  # the name that the server calls
            parts = urlsplit(self.path)
            answer = answers.get(parts.path)
            if parts.path == "/api/v1/streams" and streams is not None:
                sort = parse_qs(parts.query)["sort"][0]
                by_sort = sorted(streams, key=lambda one: one[sort.lstrip("-")], reverse=sort.startswith("-"))
                answer = {"streams": by_sort}
            self.send_response(404 if answer is None else 200)
            self.end_headers()
            self.wfile.write(json.dumps(answer).encode())

        def log_message(self, *_arguments: Any) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
