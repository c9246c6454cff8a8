"""Answers of all paths, computed from a board and a registry, without sockets."""

from collections.abc import Callable
from http import HTTPStatus

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from consumer.observe.answer import Answer, text_answer
from consumer.observe.liveness import current_health, stuck_reason
from consumer.observe.site import Site
from consumer.observe.snapshot import SnapshotBoard


class Routes:
    """The paths.

    Args:
        registry: metrics of `/metrics`.
        board: snapshot and ticks for `/healthz` and `/readyz`.
        monotonic: the clock of the board's ticks, in seconds.
        site: the page and its API; None where `http.page` is off.
    """

    def __init__(
        self,
        registry: CollectorRegistry,
        board: SnapshotBoard,
        monotonic: Callable[[], float],
        site: Site | None = None,
    ) -> None:
        self._registry = registry
        self._board = board
        self._monotonic = monotonic
        self._site = site
        self._probes = {"/healthz": self._healthz, "/readyz": self._readyz, "/startupz": self._startupz}

    def answer(self, method: str, uri: str, accept: str = "", accept_encoding: str = "") -> Answer:
        """Answer one request; `uri` is as the client sent it.

        The answer to HEAD includes the body, for its length; the caller must not send it.
        """
        path, _, query = uri.partition("?")
        on_site = self._site is not None and self._site.has(path)
        if path != "/metrics" and path not in self._probes and not on_site:
            return text_answer(HTTPStatus.NOT_FOUND, f"paths: {' '.join(self._paths())}")
        if method not in {"GET", "HEAD"}:
            answer = text_answer(HTTPStatus.METHOD_NOT_ALLOWED, "GET and HEAD only")
            return answer._replace(headers=(*answer.headers, ("Allow", "GET, HEAD")))
        if path in self._probes:
            return self._probes[path]()
        if self._site is not None and on_site:
            return self._site.answer(path, query, accept_encoding)
        return self._metrics(accept, accept_encoding)

    def _paths(self) -> list[str]:
        return [*(() if self._site is None else self._site.paths), "/metrics", *self._probes]

    def _metrics(self, accept: str, accept_encoding: str) -> Answer:
        """The text format, or OpenMetrics where the client asks for it."""
        encode, content_type = choose_encoder(accept)
        answer = Answer(HTTPStatus.OK, encode(self._registry), (("Content-Type", content_type),))
        return answer.packed(accept_encoding)

    def _healthz(self) -> Answer:
        """Alive: the loop ticked recently. Independent of Kafka: a restart would not repair a broker."""
        stuck = stuck_reason(self._board, self._monotonic())
        if stuck:
            return text_answer(HTTPStatus.SERVICE_UNAVAILABLE, stuck)
        return text_answer(HTTPStatus.OK, "ok")

    def _startupz(self) -> Answer:
        """Started: kernels are compiled, the producer is initialized; stays so."""
        doing = self._board.startup
        if not doing:
            return text_answer(HTTPStatus.OK, "started")
        return text_answer(HTTPStatus.SERVICE_UNAVAILABLE, doing)

    def _readyz(self) -> Answer:
        """Ready: every condition of the newest snapshot holds; else the missing ones and the reason."""
        health = current_health(self._board, self._monotonic())
        if health.ready:
            return text_answer(HTTPStatus.OK, "ready")
        lines = ["not ready", f"missing: {', '.join(health.missing())}"]
        if health.reason:
            lines.append(f"reason: {health.reason}")
        return text_answer(HTTPStatus.SERVICE_UNAVAILABLE, "\n".join(lines))
