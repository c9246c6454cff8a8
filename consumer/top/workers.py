"""Ask workers for their figures over HTTP, each in a thread of its own, so that a silent one delays nobody."""

import http.client
import json
import threading
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any, NamedTuple
from urllib.parse import quote, urlsplit

from consumer.errors import UsageError
from consumer.observe.snapshot import StreamStatus

ANSWERS_WITHIN_S = 3.0
MOST_STREAMS = 100
"""Asked of each worker: more rows than a terminal has lines."""
MOST_BYTES = 16_000_000
"""Of one answer; that of a worker with ten thousand partitions has a quarter of it."""


class WorkerFigures(NamedTuple):
    """What one worker said last."""

    url: str
    problem: str
    """Why there are no figures; empty if there are."""
    worker: Mapping[str, Any]
    """As `/api/v1/worker` answers."""
    streams: Sequence[StreamStatus]


class WorkerPoller:
    """Asks one worker again and again, until it is stopped.

    Args:
        url: the worker's address, as `http://worker-0:9464`.
        every_s: from the end of an answer to the next question.

    Raises:
        UsageError: it is not such an address.
    """

    def __init__(self, url: str, every_s: float) -> None:
        self._host, self._port = _address(url)
        self._every_s = every_s
        self._stopped = threading.Event()
        self._asked = threading.Event()
        self.sort = "-concurrent_viewers"
        self.newest = WorkerFigures(url, "no answer yet", {}, ())
        self._thread = threading.Thread(target=self._run, name="top", daemon=True)

    def start(self) -> None:
        """Begin to ask."""
        self._thread.start()

    def wait_for_answer(self) -> WorkerFigures:
        """Wait for the first answer, for a limited time, and return it."""
        self._asked.wait(2 * ANSWERS_WITHIN_S)
        return self.newest

    def stop(self) -> None:
        """End; does not wait for an answer."""
        self._stopped.set()

    def ask(self) -> WorkerFigures:
        """Ask now."""
        url = self.newest.url
        try:
            worker = self._get("/api/v1/worker")
            listed = self._get(f"/api/v1/streams?limit={MOST_STREAMS}&sort={quote(self.sort)}")
            streams = [_stream(one) for one in listed["streams"]]
        except (OSError, http.client.HTTPException) as error:
            return WorkerFigures(url, f"no answer: {error or type(error).__name__}", {}, ())
        except (KeyError, TypeError, ValueError):
            return WorkerFigures(url, "the answer is not that of a worker of this release", {}, ())
        return WorkerFigures(url, "", worker, streams)

    def _run(self) -> None:
        while not self._stopped.is_set():
            self.newest = self.ask()
            self._asked.set()
            self._stopped.wait(self._every_s)

    def _get(self, path: str) -> Mapping[str, Any]:
        connection = http.client.HTTPConnection(self._host, self._port, timeout=ANSWERS_WITHIN_S)
        try:
            connection.request("GET", path, headers={"Connection": "close"})
            answer = connection.getresponse()
            text = answer.read(MOST_BYTES)
        finally:
            connection.close()
        if answer.status == HTTPStatus.NOT_FOUND:
            raise OSError("it has no API; http.page is false, or the release is older")
        if answer.status != HTTPStatus.OK:
            raise OSError(f"status {answer.status}")
        found: Mapping[str, Any] = json.loads(text)
        return found


def _stream(one: Mapping[str, Any]) -> StreamStatus:
    return StreamStatus(**{name: one[name] for name in StreamStatus._fields} | {"partitions": tuple(one["partitions"])})


def _address(url: str) -> tuple[str, int]:
    try:
        parts = urlsplit(url)
        if parts.scheme == "http" and parts.hostname:
            return parts.hostname, parts.port or 80
    except ValueError:  # of its port
        pass
    raise UsageError(f'--url: must be the address of a worker, as http://localhost:9464, not "{url}"')
