"""Simulated events in a real topic."""

import io
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import fastavro
import pytest

from consumer.errors import ViewerConsumerError
from consumer.settings.model import Settings
from consumer.simulate.noise import NoiseRules
from consumer.simulate.options import SimulateOptions
from consumer.simulate.programme import Cast
from consumer.simulate.run import simulate
from consumer.simulate.schema import event_schema
from tests.simulate.test_run import NOW_MS, TestClock
from tests.support.topics import delete_topics, read_committed, unique

OPTIONS = SimulateOptions(
    cast=Cast(streams=20, viewers=300),
    noise=NoiseRules(disorder=0.5, max_delay_ms=4_000, max_skew_ms=300),
    start_ms=NOW_MS,
    duration_ms=60_000,
    speed=0,
    schema_id=77,
)


@pytest.fixture
def topic(bootstrap_servers: str) -> Iterator[str]:
    name = unique("simulated")
    yield name
    delete_topics(bootstrap_servers, [name])


def on(bootstrap_servers: str, topic: str, **kafka: Any) -> Settings:
    return Settings.model_validate({"kafka": {"bootstrap_servers": bootstrap_servers, "input_topic": topic, **kafka}})


def test_a_missing_topic_is_created_and_receives_every_event_keyed_by_stream(
    bootstrap_servers: str, topic: str
) -> None:
    report = simulate(OPTIONS, on(bootstrap_servers, topic), TestClock())
    records = read_committed(bootstrap_servers, topic)
    assert len(records) == report.events > 500
    schema = fastavro.parse_schema(event_schema())
    ahead = []
    for record in records:
        value, key = record.value(), record.key()
        assert value is not None
        assert value[:5] == b"\x00\x00\x00\x00\x4d"
        event: Any = fastavro.schemaless_reader(io.BytesIO(value[5:]), schema)
        assert key == event["stream_id"].encode()
        ahead.append(event["timestamp_ms"].timestamp() * 1000 - record.timestamp()[1])
    assert {record.partition() for record in records} == {0, 1, 2, 3}
    # A record's timestamp is its arrival: delays put it after the event; only a wrong clock puts it before.
    assert 200 < max(ahead) <= 301
    assert -4_301 <= min(ahead) < -3_000


def test_arrivals_stay_in_order_within_a_partition(bootstrap_servers: str, topic: str) -> None:
    simulate(replace(OPTIONS, max_events=500), on(bootstrap_servers, topic), TestClock())
    last: dict[int | None, int] = {}
    for record in read_committed(bootstrap_servers, topic):
        arrival_ms = record.timestamp()[1]
        assert arrival_ms >= last.get(record.partition(), 0)
        last[record.partition()] = arrival_ms


def test_a_topic_that_may_not_be_created_is_a_one_line_error(bootstrap_servers: str, topic: str) -> None:
    with pytest.raises(ViewerConsumerError, match=f'input topic "{topic}" does not exist on {bootstrap_servers}'):
        simulate(OPTIONS, on(bootstrap_servers, topic, create_topics=False), TestClock())
