"""The client library's log lines for people: one when a broker goes, one when it is back, few in between.

librdkafka writes a line for each attempt to connect, of each client: hundreds in a minute. Its lines look so:

```
FAIL [viewer-consumer#consumer-5] [thrd:kafka:9092/1]: kafka:9092/1: Connect to ipv4#10.0.0.7:9092 failed: Connection
    refused (after 0ms in state CONNECT, 5 identical error(s) suppressed)
FAIL [viewer-consumer#consumer-5] [thrd:GroupCoordinator]: GroupCoordinator: kafka:9092: Disconnected (after …)
REQTMOUT [viewer-consumer#producer-6] [thrd:TxnCoordinator]: TxnCoordinator/1: Timed out 2 in-flight, 0 retry-queued, …
```
No line says that a connection is there again. The consumer of the input reports that from its statistics, in a line of
the same form: `CONNECTED [viewer-consumer#consumer-5] kafka:9092/1`.
"""

import logging
import re
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

import structlog

from consumer.observe.rate_limit import LINE_EVERY_S, RateLimit

LOGGER_NAME = "librdkafka"

MAX_BROKERS = 1_000
"""Limit of brokers remembered; the oldest is forgotten."""

FORGET_S = 600.0
"""A broker without a line for so long is not needed any more, and its next failure is a new one."""

CONFIRMED_S = 15.0
"""How long a connection of one client outweighs lines of others, which may be old: a client hands its lines over when
it is polled, and some are polled rarely."""

_OF_A_BROKER = frozenset({"FAIL", "REQTMOUT"})
_CONNECTED = "CONNECTED"
_BROKER_LINE = re.compile(
    r"\[thrd:.*?\]: (?:\w+Coordinator(?:/-?\d+)?: )?(?:\w+://)?(?P<broker>[^\s/]+:\d+)(?:/[-\w]+)?: (?P<reason>.*)",
    re.DOTALL,
)
_COORDINATOR_LINE = re.compile(r"\[thrd:.*?\]: \w+Coordinator/(?P<node>\d+): (?P<reason>.*)", re.DOTALL)
_HOW_LONG = re.compile(r" \(after \d+ms in state .*", re.DOTALL)

_log = structlog.get_logger(f"{LOGGER_NAME}.brokers")


@dataclass
class _Broker:
    """What is known of one broker."""

    seen_s: float
    """When its last line came."""
    connected_s: float = float("-inf")
    connected_client: str = ""
    away_since_s: float | None = None
    is_reported: bool = False
    """Whether a line has said that it is away."""
    reported_s: float = float("-inf")
    """When such a line was written last."""
    left_out: int = 0
    """Lines left out since then."""


class ClientLines(logging.Filter):
    """A filter of the client library's logger; all lines pass at level "debug".

    Args:
        level: of this process's logs.
        monotonic_s: the clock.
    """

    def __init__(self, level: str, monotonic_s: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._passes_all = level == "debug"
        self._monotonic_s = monotonic_s
        self._lock = threading.Lock()
        self._limit = RateLimit(monotonic_s)
        self._brokers: OrderedDict[str, _Broker] = OrderedDict()
        """By address; by age, oldest first."""
        self._addresses: OrderedDict[str, str] = OrderedDict()
        """Of brokers that were connected, by node id."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the line passes; lines about brokers are replaced by lines of this module's own."""
        if self._passes_all or not isinstance(record.args, tuple) or len(record.args) != 3:
            return True
        kind, client, text = map(str, record.args)
        with self._lock:
            if kind == _CONNECTED:
                self._connected(client, text)
                return False
            address, reason = self._failure(text) if kind in _OF_A_BROKER else ("", "")
            if not address:
                return self._admit(record, kind)
            # Lines at level info are of connections that were closed in good order, as idle ones are.
            if record.levelno > logging.INFO:
                self._failed(address, client, reason)
            return False

    def _failure(self, text: str) -> tuple[str, str]:
        """Address and reason of a line about a broker; no address if it is not known."""
        if line := _BROKER_LINE.match(text):
            return line["broker"], _HOW_LONG.sub("", line["reason"])
        if line := _COORDINATOR_LINE.match(text):
            return self._addresses.get(line["node"], ""), line["reason"]
        return "", ""

    def _admit(self, record: logging.LogRecord, kind: str) -> bool:
        left_out = self._limit.admit(f"{kind} {record.levelname}")
        if left_out:
            record.msg = f"{record.msg} (%d more of this kind were left out)"
            record.args = (*(record.args or ()), left_out)
        return left_out is not None

    def _connected(self, client: str, place: str) -> None:
        address, _, node = place.rpartition("/")
        self._addresses[node] = address
        if len(self._addresses) > MAX_BROKERS:
            self._addresses.popitem(last=False)
        now_s, broker = self._monotonic_s(), self._broker(address)
        if broker.away_since_s is not None and broker.is_reported:
            away_s = round(now_s - broker.away_since_s, 1)
            _log.info("broker back", broker=address, away_s=away_s, lines_left_out=broker.left_out)
            broker.left_out = 0
        broker.away_since_s, broker.is_reported = None, False
        broker.connected_s, broker.connected_client = now_s, client

    def _failed(self, address: str, client: str, reason: str) -> None:
        now_s, broker = self._monotonic_s(), self._broker(address)
        is_away = broker.away_since_s is not None
        if not is_away and client != broker.connected_client and now_s - broker.connected_s < CONFIRMED_S:
            return
        broker.away_since_s = now_s if broker.away_since_s is None else broker.away_since_s
        if now_s - broker.reported_s < LINE_EVERY_S:
            broker.left_out += 1
            return
        _log.warning(
            "broker still away" if broker.is_reported else "broker away",
            broker=address,
            reason=reason,
            away_s=round(now_s - broker.away_since_s, 1),
            lines_left_out=broker.left_out,
        )
        broker.reported_s, broker.is_reported, broker.left_out = now_s, True, 0

    def _broker(self, address: str) -> _Broker:
        """What is known of a broker that has a line now."""
        now_s, broker = self._monotonic_s(), self._brokers.pop(address, None)
        if broker is None or now_s - broker.seen_s >= FORGET_S:
            broker = _Broker(now_s)
        broker.seen_s = now_s
        self._brokers[address] = broker
        if len(self._brokers) > MAX_BROKERS:
            self._brokers.popitem(last=False)
        return broker
