"""What rejects cost: the worker over events alone, and over as many records of which every second is poison.

`python -m tests.bench.poison`; on one processor each, in turn, with the same broker.
"""

import argparse
import os

from consumer.kafka.config import plain_producer_config
from consumer.kafka.embedded import EventProducer
from tests.bench.__main__ import measured, say, spread
from tests.bench.load import Load, load_ending_now
from tests.bench.pinned import settings_for
from tests.support.broker import real_broker
from tests.support.topics import create_topic, delete_topics, unique

POISON = (b"\1not what comes first", b"\0\0\0\0\1\xff\xff", b"\0\0\0\0\1\2s\2v\2\0trailing", b"\0\0\0\0\1\2\xff\2v\2\0")


def main() -> None:
    """Measure and print."""
    options = _options()
    load = load_ending_now(options.records, 1_000, 60_000)
    with real_broker() as servers:
        clean, half = unique("clean"), unique("half")
        topics = [f"{topic}{suffix}" for topic in (clean, half) for suffix in ("", "-summaries", "-dead")]
        for topic in (clean, half):
            create_topic(servers, topic, options.partitions)
        _fill(servers, clean, load, is_half_poison=False)
        _fill(servers, half, load, is_half_poison=True)
        ratios = []
        for number in range(options.rounds):
            alone = measured("worker", options.cpu, options.records, servers, clean, number)
            mixed = measured("worker", options.cpu, options.records // 2, servers, half, number)
            ratios.append(mixed.cpu_s / alone.cpu_s)
            say(f"events alone {alone.cpu_s / options.records * 1e9:6.0f} ns of CPU a record")
            say(f"half poison  {mixed.cpu_s / options.records * 1e9:6.0f} ns of CPU a record  {ratios[-1]:.2f} times")
        say(f"half poison / events alone, by record: {spread(ratios)}")
        delete_topics(servers, topics)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.poison", description=__doc__)
    parser.add_argument("--records", type=int, default=1_000_000)
    parser.add_argument("--partitions", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--cpu", type=int, default=max(os.sched_getaffinity(0)), help="the measured one")
    return parser.parse_args()


def _fill(servers: str, topic: str, load: Load, *, is_half_poison: bool) -> None:
    producer = EventProducer(plain_producer_config(settings_for(servers, topic, "bench").kafka), topic)
    for keys, values, timestamps_ms in load.batches():
        sent = [_poison(i) if is_half_poison and i % 2 else value for i, value in enumerate(values)]
        producer.produce(zip(keys, sent, timestamps_ms, strict=True))
    producer.flush(60.0)


def _poison(number: int) -> bytes:
    return POISON[number // 2 % len(POISON)]


if __name__ == "__main__":
    main()
