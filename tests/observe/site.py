"""A site over a board, a history and clocks that a test moves."""

import json
from http import HTTPStatus
from typing import Any

from consumer.observe.answer import Answer
from consumer.observe.api import Api, ApiParts
from consumer.observe.facts import WorkerFacts
from consumer.observe.history import BucketHistory
from consumer.observe.routes import Routes
from consumer.observe.site import Site
from consumer.observe.snapshot import SnapshotBoard
from consumer.runtime.clocks import Clocks
from consumer.windows.closing import CLOSE_REASONS
from consumer.windows.layout import CLOSED
from tests.observe.samples import Clock, worker_metrics

BUCKET_MS = 10_000

FACTS = WorkerFacts(
    host="worker-1",
    version="1.2.3",
    librdkafka="2.16.0",
    group_id="group",
    input_topic="events",
    output_topic="summaries",
    dead_letter_topic="dead-letters",
    counting="sessions",
    bucket_ms=BUCKET_MS,
    grace_ms=10_000,
    window_duration_ms=60_000,
    max_stream_series=2_000,
    close_reasons=CLOSE_REASONS,
)


class Worker:
    """What HTTP sees of a worker."""

    def __init__(self, counting: str = "sessions", history_size: int = 1_000, clock: Clock | None = None) -> None:
        self.clock = clock or Clock(1_000.0)
        self.board = SnapshotBoard(self.clock())
        self.metrics = worker_metrics(self.board, self.clock)
        self.history = BucketHistory(CLOSED, history_size)
        self.facts = FACTS._replace(counting=counting)
        clocks = Clocks(self.clock, lambda: 1_700_000_000.0 + self.clock())
        parts = ApiParts(self.board, self.history, self.metrics, self.facts, clocks)
        self.routes = Routes(self.metrics.registry, self.board, self.clock, Site(Api(parts)))

    def get(self, uri: str, accept_encoding: str = "") -> Answer:
        return self.routes.answer("GET", uri, accept_encoding=accept_encoding)

    def json(self, uri: str) -> dict[str, Any]:
        answer = self.get(f"/api/v1/{uri}")
        assert answer.status == HTTPStatus.OK, answer.body
        content: dict[str, Any] = json.loads(answer.body)
        return content
