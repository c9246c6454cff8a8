"""Probes are answered, within limits, whatever else holds connections."""

import statistics
import threading
import time
import urllib.request
from collections.abc import Iterator

import pytest

from consumer.observe.connections import MAX_CONNECTIONS
from consumer.observe.routes import Routes
from consumer.observe.server import StatusServer
from consumer.observe.snapshot import SnapshotBoard
from tests.observe.hostile_clients import KINDS, attack
from tests.observe.samples import Clock, snapshot, stream, worker_metrics

STREAMS = 2000
PROBES = 7
PROBE_TIMEOUT_S = 10.0
USUAL_S = 1.0
"""For the median: single ones wait longer on a machine that does much else."""
CLOSE_S = 3.0


@pytest.fixture(scope="module")
def routes() -> Routes:
    board, clock = SnapshotBoard(0.0), Clock(0.0)
    board.publish(snapshot(*[stream(f"stream-{number}", number) for number in range(STREAMS)]))
    return Routes(worker_metrics(board, clock).registry, board, clock)


@pytest.fixture
def server(routes: Routes) -> Iterator[StatusServer]:
    server = StatusServer("127.0.0.1", 0, routes, time.monotonic)
    server.start()
    yield server
    server.close()


def probe(server: StatusServer) -> float:
    """How long it took, in seconds."""
    begun = time.monotonic()
    with urllib.request.urlopen(f"{server.address}/healthz", timeout=PROBE_TIMEOUT_S) as answer:  # noqa: S310  # ours
        assert answer.read() == b"ok\n"
    return time.monotonic() - begun


@pytest.mark.parametrize("clients", [64, 200, 1000])
@pytest.mark.parametrize("kind", KINDS)
def test_probes_are_answered_under_attack(server: StatusServer, kind: str, clients: int) -> None:
    with attack(kind, clients, server.port):
        assert statistics.median(probe(server) for _ in range(PROBES)) < USUAL_S
        assert len(server._server.active_channels) <= MAX_CONNECTIONS
        assert sum(thread.name.startswith("status-") for thread in threading.enumerate()) <= 3
        begun = time.monotonic()
        server.close()
        assert time.monotonic() - begun < CLOSE_S
