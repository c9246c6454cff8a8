"""Answers of `/metrics` and of the probes, computed from a board and a registry, without sockets."""

import gzip
from collections.abc import Callable
from http import HTTPStatus
from typing import NamedTuple

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder, gzip_accepted

from consumer.observe.liveness import current_health, stuck_reason
from consumer.observe.snapshot import SnapshotBoard

GZIP_LEVEL = 1
"""Ten thousand series shrink twentyfold at any level; the lowest takes the least CPU time."""


class Answer(NamedTuple):
    """One HTTP answer."""

    status: HTTPStatus
    body: bytes
    headers: tuple[tuple[str, str], ...] = (("Content-Type", "text/plain; charset=utf-8"),)


class Routes:
    """The paths.

    Args:
        registry: metrics of `/metrics`.
        board: snapshot and ticks for `/healthz` and `/readyz`.
        monotonic: the clock of the board's ticks, in seconds.
    """

    def __init__(
        self,
        registry: CollectorRegistry,
        board: SnapshotBoard,
        monotonic: Callable[[], float],
    ) -> None:
        self._registry = registry
        self._board = board
        self._monotonic = monotonic

    def answer(self, method: str, path: str, accept: str = "", accept_encoding: str = "") -> Answer:
        """Answer one request.

        The answer to HEAD includes the body, for its length; the caller must not send it.
        """
        path = path.partition("?")[0]
        if path not in {"/metrics", "/healthz", "/readyz", "/startupz"}:
            return _text(HTTPStatus.NOT_FOUND, "paths: /metrics /healthz /readyz /startupz")
        if method not in {"GET", "HEAD"}:
            answer = _text(HTTPStatus.METHOD_NOT_ALLOWED, "GET and HEAD only")
            return answer._replace(headers=(*answer.headers, ("Allow", "GET, HEAD")))
        if path == "/healthz":
            return self._healthz()
        if path == "/readyz":
            return self._readyz()
        if path == "/startupz":
            return self._startupz()
        return self._metrics(accept, accept_encoding)

    def _metrics(self, accept: str, accept_encoding: str) -> Answer:
        """The text format, or OpenMetrics where the client asks for it."""
        encode, content_type = choose_encoder(accept)
        body = encode(self._registry)
        if not gzip_accepted(accept_encoding):
            return Answer(HTTPStatus.OK, body, (("Content-Type", content_type),))
        packed = gzip.compress(body, GZIP_LEVEL)
        return Answer(HTTPStatus.OK, packed, (("Content-Type", content_type), ("Content-Encoding", "gzip")))

    def _healthz(self) -> Answer:
        """Alive: the loop ticked recently. Independent of Kafka: a restart would not repair a broker."""
        stuck = stuck_reason(self._board, self._monotonic())
        return _text(HTTPStatus.SERVICE_UNAVAILABLE, stuck) if stuck else _text(HTTPStatus.OK, "ok")

    def _startupz(self) -> Answer:
        """Started: kernels are compiled, the producer is initialized; stays so."""
        doing = self._board.startup
        if not doing:
            return _text(HTTPStatus.OK, "started")
        return _text(HTTPStatus.SERVICE_UNAVAILABLE, doing)

    def _readyz(self) -> Answer:
        """Ready: every condition of the newest snapshot holds; else the missing ones and the reason."""
        health = current_health(self._board, self._monotonic())
        if health.ready:
            return _text(HTTPStatus.OK, "ready")
        lines = ["not ready", f"missing: {', '.join(health.missing())}"]
        if health.reason:
            lines.append(f"reason: {health.reason}")
        return _text(HTTPStatus.SERVICE_UNAVAILABLE, "\n".join(lines))


def _text(status: HTTPStatus, text: str) -> Answer:
    return Answer(status, f"{text}\n".encode("utf-8", "replace"))
