"""Send at an even pace: a few events every few milliseconds, each with the time at which it is due."""

import json
import sys
import time
from collections.abc import Iterable, Iterator

import numpy as np

from consumer.kafka.config import plain_producer_config
from consumer.kafka.embedded import EventProducer
from consumer.settings.model import KafkaSettings
from tests.bench.load import EventMaker, Records

EVERY_S = 0.005
DISORDER_MS = 200
LINGER = {"linger.ms": 1}
"""Time that events wait in the sender must not count as the worker's."""

MADE_A_SECOND = 400_000
"""Events that a sender prepares per second, at least."""


def send(producer: EventProducer, ticks: Iterable[Records], start_s: float) -> dict[str, float]:
    """Send what is due at each tick; return the number of events and the largest delay."""
    sent, behind_s = 0, 0.0
    for tick, (keys, values, timestamps_ms) in enumerate(ticks):
        early_s = start_s + tick * EVERY_S - time.time()
        if early_s > 0:
            time.sleep(early_s)
        behind_s = max(behind_s, -early_s)
        producer.produce(zip(keys, values, timestamps_ms, strict=True))
        sent += len(keys)
    producer.flush(30.0)
    return {"sent": sent, "behind_ms": behind_s * 1000}


def ticks_of(maker: EventMaker, rate: int, duration_s: int, live: "Live", start_s: float) -> Iterator[Records]:
    """Return the ticks of an even rate for a duration."""
    made = 0
    for tick in range(int(duration_s / EVERY_S)):
        count = rate * (tick + 1) // round(1 / EVERY_S) - made
        made += count
        at_ms = np.full(count, (start_s + tick * EVERY_S) * 1000, np.int64)
        yield maker.records(at_ms, joins=live.lifetime_s == 0, live=live.at(tick * EVERY_S))


class Live:
    """The live streams: a constant number, each for a lifetime; a lifetime of 0 is for ever."""

    def __init__(self, streams: int, lifetime_s: int, duration_s: int) -> None:
        self.lifetime_s = lifetime_s
        self._streams = streams
        self.all = streams + (streams * duration_s // lifetime_s if lifetime_s else 0)

    def at(self, now_s: float) -> slice:
        """Return the streams that are live this long after the start."""
        gone = int(self._streams * now_s / self.lifetime_s) if self.lifetime_s else 0
        return slice(gone, gone + self._streams)


def main(
    bootstrap_servers: str, topic: str, rate: str, duration_s: str, streams: str, lifetime_s: str, ready: str
) -> None:
    """Send, and print what was sent; with `ready`, prepare all events first."""
    live = Live(int(streams), int(lifetime_s), int(duration_s))
    kafka = KafkaSettings(bootstrap_servers=bootstrap_servers)
    producer = EventProducer({**plain_producer_config(kafka), **LINGER}, topic)
    maker = EventMaker(live.all, disorder_ms=DISORDER_MS)
    start_s = time.time() + (int(rate) * int(duration_s) / MADE_A_SECOND if ready == "ready" else 0)
    ticks: Iterable[Records] = ticks_of(maker, int(rate), int(duration_s), live, start_s)
    if ready == "ready":
        ticks = list(ticks)
    sys.stdout.write(json.dumps(send(producer, ticks, start_s)) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
