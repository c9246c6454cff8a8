"""The API below `/api/v1`: JSON computed from the newest snapshot and the history, in the threads of HTTP."""

import json
import threading
from http import HTTPStatus
from typing import Any, NamedTuple
from urllib.parse import unquote_to_bytes

from consumer.observe.answer import Answer
from consumer.observe.api_streams import stream_json, streams_json
from consumer.observe.api_worker import worker_json
from consumer.observe.facts import WorkerFacts
from consumer.observe.history import BucketHistory
from consumer.observe.liveness import current_health
from consumer.observe.metrics import WorkerMetrics
from consumer.observe.query import Query, QueryError
from consumer.observe.snapshot import Snapshot, SnapshotBoard
from consumer.runtime.clocks import Clocks

REUSED_S = 1.0
"""How long an answer is given to all who ask the same."""

MOST_ANSWERS = 16
"""Answers kept for that."""

STREAMS = "/streams"
STREAM = "/streams/"
WORKER = "/worker"

_JSON = (("Content-Type", "application/json"),)


class ApiParts(NamedTuple):
    """What the API reads."""

    board: SnapshotBoard
    history: BucketHistory
    metrics: WorkerMetrics
    facts: WorkerFacts
    clocks: Clocks


class Api:
    """Computes each answer at most once a second; the loop neither waits nor works for it."""

    def __init__(self, parts: ApiParts) -> None:
        self._parts = parts
        self._answers: dict[tuple[str, str, str], tuple[float, Answer]] = {}
        self._lock = threading.Lock()
        """Several threads of HTTP keep answers."""

    def answer(self, path: str, query: str, accept_encoding: str) -> Answer:
        """Answer a request; `path` is what follows `/api/v1`, as the client sent it."""
        now_s = self._parts.clocks.monotonic_s()
        request = (path, query, accept_encoding)
        made_s, answer = self._answers.get(request, (-REUSED_S, None))
        if answer is not None and now_s - made_s < REUSED_S:
            return answer
        answer = self._compute(path, query).packed(accept_encoding)
        with self._lock:
            self._answers.pop(request, None)  # the newest is the last
            self._answers[request] = now_s, answer
            while len(self._answers) > MOST_ANSWERS:
                del self._answers[next(iter(self._answers))]
        return answer

    def _compute(self, path: str, query: str) -> Answer:
        snapshot = self._parts.board.latest()
        try:
            content = self._content(path, Query(query), snapshot)
        except QueryError as error:
            return _json(HTTPStatus.BAD_REQUEST, {"error": str(error)})
        if content is None:
            return _json(HTTPStatus.NOT_FOUND, {"error": _not_found(path)})
        return _json(HTTPStatus.OK, {**self._common(snapshot), **content})

    def _content(self, path: str, query: Query, snapshot: Snapshot) -> dict[str, Any] | None:
        parts = self._parts
        if path == STREAMS:
            return streams_json(snapshot, parts.history, parts.facts, query)
        if path.startswith(STREAM):
            stream_id = unquote_to_bytes(path.removeprefix(STREAM))
            return stream_json(stream_id, snapshot, parts.history, parts.facts, query)
        if path != WORKER:
            return None
        query.close(())
        health = current_health(parts.board, parts.clocks.monotonic_s())
        return worker_json(snapshot, health, parts.board.startup, parts.metrics.counts(), parts.history, parts.facts)

    def _common(self, snapshot: Snapshot) -> dict[str, Any]:
        """What every answer says: whose it is, and how old."""
        facts, clocks = self._parts.facts, self._parts.clocks
        age_s = None if snapshot.taken_s is None else round(clocks.monotonic_s() - snapshot.taken_s, 3)
        return {
            "worker": facts.host,
            "now_ms": clocks.wall_ms(),
            "age_s": age_s,
            "live_partitions": [one.partition for one in snapshot.partitions],
            "viewers": sum(one.viewers for one in snapshot.partitions),
            "counting": facts.counting,
            "bucket_ms": facts.bucket_ms,
        }


def _not_found(path: str) -> str:
    if path.startswith(STREAM):
        return "this worker has no such stream: it may be in a partition of another worker, or among the smaller ones"
    return f"paths: {STREAMS} {STREAM}<id> {WORKER}"


def _json(status: HTTPStatus, content: dict[str, Any]) -> Answer:
    return Answer(status, json.dumps(content, separators=(",", ":")).encode(), _JSON)
