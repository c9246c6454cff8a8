"""The whole path on a real broker: Avro in, summaries out, every field compared with the judge."""

import time
from collections.abc import Iterator

from consumer.simulate.audience import Audience
from consumer.simulate.encode import EventEncoder
from consumer.simulate.feed import Arrivals
from consumer.simulate.noise import Noise, NoiseRules
from consumer.simulate.programme import Cast
from consumer.simulate.reports import ReportRules, Reports
from tests.end_to_end.events import FRAME, assert_same, judged, summary_of
from tests.end_to_end.stage import Record, counted, running, stage
from tests.reference.events_counting import Rules

SEED = 20
REPORTS = ReportRules(heartbeats=0.3, combined=0.5)
LENGTH_MS = 180_000


def audience(start_ms: int) -> Iterator[Record]:
    """A few hundred streams whose events are lost, repeated and delayed, under wrong clocks."""
    cast = Cast(streams=400, viewers=2_500)
    noise = NoiseRules(0.01, 0.05, duplicates=0.02, disorder=0.2, max_delay_ms=20_000, max_skew_ms=2_000)
    arrivals = Arrivals(Audience(cast, start_ms, SEED), Reports(REPORTS, SEED), Noise(noise, SEED))
    names = arrivals.audience.programme.stream_ids
    encoder = EventEncoder(names, SEED, FRAME)
    batch = arrivals.step(start_ms + LENGTH_MS)
    for stream, value, arrival_ms in zip(
        batch.stream.tolist(), encoder.avro(batch), batch.arrival_ms.tolist(), strict=True
    ):
        yield Record(names[stream].encode(), value, arrival_ms)


def test_every_field_of_every_summary_equals_the_judges(bootstrap_servers: str) -> None:
    rules = Rules(window_duration_ms=60_000, bucket_ms=10_000, grace_ms=2_000, stream_idle_ms=25_000)
    with stage(bootstrap_servers, 3, rules) as kafka:
        kafka.write(audience(time.time_ns() // 1_000_000 - LENGTH_MS))
        with running(kafka.settings()) as service:
            kafka.wait_until_all_is_committed()
        judges = {partition: judged(records, rules) for partition, records in kafka.records().items()}
        expected = [
            summary_of(closed, rules, kafka.kafka.input_topic, partition)
            for partition, reference in judges.items()
            for closed in reference.closed
        ]
        number = assert_same(kafka.summaries(), expected)
        assert kafka.dead_letters() == []
    assert {each["partition"] for each in expected} == {0, 1, 2}
    assert {each["close_reason"] for each in expected} == {"WATERMARK", "STREAM_IDLE"}
    assert len({each["stream_id"] for each in expected}) > 300
    assert number > 2_000
    late = sum(sum(reference.late.values()) for reference in judges.values())
    assert late > 0
    assert late == counted(service, "late_events_total", reason="stream_time") + counted(
        service, "late_events_total", reason="stream_idle"
    )
    assert number == sum(
        counted(service, "summaries_total", close_reason=reason) for reason in ("WATERMARK", "STREAM_IDLE")
    )
