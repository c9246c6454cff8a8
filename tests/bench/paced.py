"""A sender at an even pace: a few events every few milliseconds, each with the time at which it is sent."""

import json
import sys
import time

import numpy as np

from consumer.kafka.config import plain_producer_config
from consumer.kafka.embedded import EventProducer
from consumer.settings import KafkaSettings
from tests.bench.load import EventMaker

EVERY_S = 0.005
DISORDER_MS = 200
LINGER = {"linger.ms": 1}
"""What waits in the sender is not the worker's doing."""


def send(producer: EventProducer, maker: EventMaker, rate: int, duration_s: int, live: "Live") -> dict[str, float]:
    """Send so many events a second for so long; returns how many, and how far it was behind at most."""
    began_s, sent, behind_s = time.perf_counter(), 0, 0.0
    ticks = int(duration_s / EVERY_S)
    for tick in range(ticks):
        due_s = began_s + tick * EVERY_S
        early_s = due_s - time.perf_counter()
        if early_s > 0:
            time.sleep(early_s)
        behind_s = max(behind_s, -early_s)
        count = rate * (tick + 1) // round(1 / EVERY_S) - sent
        now_ms = np.full(count, time.time() * 1000, np.int64)
        keys, values, timestamps_ms = maker.records(now_ms, joins=live.lifetime_s == 0, live=live.at(tick * EVERY_S))
        producer.produce(zip(keys, values, timestamps_ms, strict=True))
        sent += count
    producer.flush(30.0)
    return {"sent": sent, "behind_ms": behind_s * 1000}


class Live:
    """Which streams are live: always the same number, each for a lifetime; for ever where that is 0."""

    def __init__(self, streams: int, lifetime_s: int, duration_s: int) -> None:
        self.lifetime_s = lifetime_s
        self._streams = streams
        self.all = streams + (streams * duration_s // lifetime_s if lifetime_s else 0)

    def at(self, now_s: float) -> slice:
        """The streams that are live so long after the start."""
        gone = int(self._streams * now_s / self.lifetime_s) if self.lifetime_s else 0
        return slice(gone, gone + self._streams)


def main(bootstrap_servers: str, topic: str, rate: str, duration_s: str, streams: str, lifetime_s: str) -> None:
    """Send, and print what was sent."""
    live = Live(int(streams), int(lifetime_s), int(duration_s))
    kafka = KafkaSettings(bootstrap_servers=bootstrap_servers)
    producer = EventProducer({**plain_producer_config(kafka), **LINGER}, topic)
    maker = EventMaker(live.all, disorder_ms=DISORDER_MS)
    sys.stdout.write(json.dumps(send(producer, maker, int(rate), int(duration_s), live)) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
