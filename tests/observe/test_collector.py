import hypothesis.strategies as st
from hypothesis import given, settings
from prometheus_client import CollectorRegistry, Metric, generate_latest

from consumer.observe.collector import SnapshotCollector
from consumer.observe.labels import MAX_LABEL_CHARS, label_of
from consumer.observe.snapshot import Health, Snapshot, SnapshotBoard, StreamStatus
from tests.observe.samples import WINDOW_DURATION_MS, Clock, families, openmetrics_families, partition, snapshot, stream

Series = dict[tuple[str, str], float]


def registry_of(board: SnapshotBoard, monotonic: Clock, wall: Clock) -> CollectorRegistry:
    registry = CollectorRegistry()
    registry.register(SnapshotCollector(board, monotonic, wall, WINDOW_DURATION_MS))
    return registry


def scraped(snap: Snapshot) -> Series:
    """Series of a scrape in both text formats, which must agree: (name, value of the one label) to value."""
    board = SnapshotBoard(0.0)
    board.publish(snap)
    registry = registry_of(board, Clock(0.0), Clock(0.0))
    text = series(families(registry))
    assert series(openmetrics_families(registry)) == text
    return text


def series(scraped_families: list[Metric]) -> Series:
    found: Series = {}
    for family in scraped_families:
        for sample in family.samples:
            key = (sample.name, "".join(sample.labels.values()))
            assert key not in found, "a series twice spoils a scrape"
            found[key] = sample.value
    return found


def test_a_streams_statistics_have_the_names_that_are_promised() -> None:
    found = scraped(snapshot(StreamStatus("live/1", 3, 5, 7, 2500.5, 1000, 4000, 2, 900, 10_000)))
    assert {name: value for (name, label), value in found.items() if label == "live/1"} == {
        "viewer_stream_concurrent_viewers": 3,
        "viewer_stream_window_peak_concurrent_viewers": 5,
        "viewer_stream_window_bitrate_avg_bps": 2500.5,
        "viewer_stream_window_bitrate_min_bps": 1000,
        "viewer_stream_window_bitrate_max_bps": 4000,
        "viewer_stream_window_buffer_events": 2,
        "viewer_stream_window_stall_seconds": 0.9,
    }


def test_the_length_of_the_window_is_shown_in_seconds() -> None:
    assert scraped(snapshot())["viewer_consumer_window_duration_seconds", ""] == 60.0


def test_series_vanish_with_their_stream_and_partition() -> None:
    board = SnapshotBoard(0.0)
    registry = registry_of(board, Clock(), Clock())
    board.publish(snapshot(stream("stays", 1), stream("goes", 2), partitions=(partition(0), partition(7))))
    assert b"goes" in generate_latest(registry)
    assert b'partition="7"' in generate_latest(registry)
    board.publish(snapshot(stream("stays", 1), partitions=(partition(0),)))
    after = generate_latest(registry)
    assert b"goes" not in after
    assert b'partition="7"' not in after
    assert b"stays" in after


def test_streams_left_out_are_counted() -> None:
    found = scraped(snapshot(stream("a", 1), left_out=41))
    assert found["viewer_consumer_stream_series_left_out", ""] == 41


def test_partition_statistics() -> None:
    found = scraped(
        snapshot(
            partitions=(
                partition(
                    3,
                    next_offset=90,
                    end_offset=100,
                    time_lag_s=1.5,
                    streams=2,
                    buckets=5,
                    viewers=6,
                    viewers_held=9,
                    activities_held=10,
                    state_bytes=7,
                    checkpoint_age_s=8.5,
                ),
            )
        )
    )
    assert {name: value for (name, label), value in found.items() if label == "3"} == {
        "viewer_consumer_lag_records": 10,
        "viewer_consumer_time_lag_seconds": 1.5,
        "viewer_consumer_streams": 2,
        "viewer_consumer_buckets": 5,
        "viewer_consumer_viewers": 6,
        "viewer_consumer_viewers_held": 9,
        "viewer_consumer_activities_held": 10,
        "viewer_consumer_state_bytes": 7,
        "viewer_consumer_checkpoint_age_seconds": 8.5,
        "viewer_consumer_held_records": 0,
    }


def test_what_is_not_known_yet_has_no_series() -> None:
    found = scraped(snapshot(partitions=(partition(0, end_offset=None, time_lag_s=None),)))
    assert ("viewer_consumer_lag_records", "0") not in found
    assert ("viewer_consumer_time_lag_seconds", "0") not in found
    assert found["viewer_consumer_streams", "0"] == 0


def test_an_end_offset_that_was_passed_since_is_no_negative_lag() -> None:
    found = scraped(snapshot(partitions=(partition(0, next_offset=12, end_offset=10),)))
    assert found["viewer_consumer_lag_records", "0"] == 0


def test_readiness_and_the_time_of_the_last_tick() -> None:
    monotonic, wall = Clock(50.0), Clock(1_700_000_000.0)
    board = SnapshotBoard(50.0)
    registry = registry_of(board, monotonic, wall)
    assert registry.get_sample_value("viewer_consumer_ready") == 0
    board.publish(snapshot())
    board.tick(60.0)
    monotonic.now_s, wall.now_s = 64.0, 1_700_000_014.0
    assert registry.get_sample_value("viewer_consumer_ready") == 1
    assert registry.get_sample_value("viewer_consumer_loop_tick_timestamp_seconds") == 1_700_000_010.0
    board.publish(snapshot(health=Health(assigned=True)))
    assert registry.get_sample_value("viewer_consumer_ready") == 0


HOSTILE = [
    '"',
    "\\",
    "\n",
    '\\n"',
    "a\\\\\nb",
    "ünïcødé 直播 🎬",
    "",
    " ",
    "{}",
    'x",y="1',
    "\r\n",
    "#",
    "\u2028",
    "\x7f",
]


def test_hostile_ids_come_back_as_they_were() -> None:
    found = scraped(snapshot(*(stream(one, number) for number, one in enumerate(HOSTILE))))
    for number, one in enumerate(HOSTILE):
        assert found["viewer_stream_concurrent_viewers", one] == number


def test_broken_and_overlong_ids_are_cleaned_and_kept_apart() -> None:
    bad = ["half \ud83c", "half \ud83d", "x" * 1000, "x" * 1001, "x" * (MAX_LABEL_CHARS + 1)]
    found = scraped(snapshot(*(stream(one, number) for number, one in enumerate(bad))))
    for number, one in enumerate(bad):
        assert found["viewer_stream_concurrent_viewers", label_of(one)] == number
        assert len(label_of(one)) <= MAX_LABEL_CHARS
    assert label_of("x" * MAX_LABEL_CHARS) == "x" * MAX_LABEL_CHARS
    assert label_of("half \ud83c").startswith("half ?#")


def test_an_id_that_looks_like_anothers_label_is_kept_apart() -> None:
    ids = ["x" * 1000]
    ids += [label_of(ids[-1]), label_of(label_of(ids[-1])), "#0123456789abcdef", "y#0123456789abcdef\n"]
    found = scraped(snapshot(*(stream(one, number) for number, one in enumerate(ids))))
    assert len({label_of(one) for one in ids}) == len(ids)
    for number, one in enumerate(ids):
        assert found["viewer_stream_concurrent_viewers", label_of(one)] == number


@settings(max_examples=150)
@given(st.lists(st.text(st.characters(), max_size=250), unique=True, max_size=8))
def test_any_text_is_a_series_of_its_own(ids: list[str]) -> None:
    found = scraped(snapshot(*(stream(one, number) for number, one in enumerate(ids))))
    for number, one in enumerate(ids):
        assert found["viewer_stream_concurrent_viewers", label_of(one)] == number
