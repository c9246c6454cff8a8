"""Memory follows activity: rows are reused, ids are packed, and a stream costs less than a kilobyte."""

from collections.abc import Sequence

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from consumer.windows.partition import PartitionWindows
from consumer.windows.rules import WindowRules
from tests.reference import sessions_counting
from tests.reference.events_counting import Event, Reference, Rules
from tests.windows.columns import columns

DEFAULTS = WindowRules(60_000, 10_000, 10_000, 60_000, 1_000_000)


def feed(windows: PartitionWindows, events: Sequence[Event | sessions_counting.Event], at_once: int = 1_000) -> None:
    for begin in range(0, len(events), at_once):
        some = events[begin : begin + at_once]
        windows.apply(columns(some), 0, len(some), np.arange(len(some)))
        windows.pop_closed()


def test_a_stream_costs_less_than_a_kilobyte_at_the_default_settings() -> None:
    windows = PartitionWindows(DEFAULTS, (1, 2))
    rounds = [
        Event(f"live/channel-{number:05d}", "B", time_ms, 3_000_000)
        for time_ms in range(0, 200_000, 5_000)
        for number in range(1_000)
    ]
    feed(windows, rounds)
    stats = windows.stats()
    assert stats.streams == 1_000
    assert stats.buckets >= 6_000
    assert stats.state_bytes / stats.streams < 1_024


def test_a_flood_of_one_off_streams_needs_the_memory_of_one_wave() -> None:
    windows = PartitionWindows(DEFAULTS, (1, 2))
    sizes = []
    for wave in range(10):
        start_ms = wave * 1_000_000
        feed(windows, [Event(f"wave-{wave}-{number}-{'x' * 40}", "B", start_ms) for number in range(2_000)])
        sizes.append(windows.stats().state_bytes)
    assert windows.stats().streams <= 2 * 2_000
    assert max(sizes[5:]) <= 2 * sizes[2]


def test_ids_are_packed_while_the_stream_rows_move() -> None:
    """Ids are packed, since some are garbage, while the rows that point to them move to a larger array."""
    windows = PartitionWindows(WindowRules(2, 1, 0, 1, 1_000_000), (1, 2))
    feed(windows, [Event(f"gone {number}", "B", 0) for number in range(10)])
    feed(windows, [Event(f"stays {number}", "B", 100 + number) for number in range(3)])
    assert windows.stats().streams < 10, "the first streams are forgotten, and their ids are garbage"
    held = {view.stream_id for view in windows.views()}
    feed(windows, [Event(f"new {number}", "B", 102) for number in range(900)])
    assert {view.stream_id for view in windows.views()} >= held
    before = windows.stats().streams
    feed(windows, [Event(stream_id, "B", 102) for stream_id in sorted(held)])
    assert windows.stats().streams == before, "existing streams are found, not created again"


def audience(at_ms: int, viewers: int, stream_id: str = "s") -> list[sessions_counting.Event]:
    return [sessions_counting.Event(stream_id, f"viewer-{number:07d}", at_ms, "B") for number in range(viewers)]


def test_a_viewer_at_rest_takes_at_most_64_bytes() -> None:
    windows = PartitionWindows(DEFAULTS._replace(sessions=True), (1, 2))
    empty = windows.stats().state_bytes
    for at_ms in (0, 30_000, 60_000):
        feed(windows, audience(at_ms, 50_000))
    feed(windows, audience(90_000, 1))
    stats = windows.stats()
    assert (stats.viewers_held, stats.activities_held) == (50_000, 1)
    assert (stats.state_bytes - empty) / stats.viewers_held <= 64


def test_memory_of_an_audience_is_freed_when_it_has_left() -> None:
    windows = PartitionWindows(DEFAULTS._replace(sessions=True), (1, 2))
    feed(windows, audience(0, 50_000))
    held = windows.stats().state_bytes
    # Ten of them stay; the others time out, by buckets that close one after the other.
    for at_ms in range(30_000, 200_000, 10_000):
        feed(windows, audience(at_ms, 10))
    stats = windows.stats()
    assert stats.viewers_held == 10
    assert stats.state_bytes < held / 20
    view = windows.view_of(b"s")
    assert view is not None
    assert view.concurrent_viewers == 10


@given(st.lists(st.tuples(st.integers(0, 150), st.integers(0, 3)), max_size=400), st.integers(1, 50))
@settings(max_examples=60)
def test_streams_are_never_confused(steps: list[tuple[int, int]], at_once: int) -> None:
    """Many streams come and are forgotten, so that rows, slots and bytes of ids are reused again and again."""
    rules = Rules(window_duration_ms=2, bucket_ms=1, grace_ms=0, stream_idle_ms=1)
    windows, reference = PartitionWindows(WindowRules(**vars(rules)), (3, 4)), Reference(rules)
    time_ms, events = 0, []
    for number, step_ms in steps:
        time_ms += step_ms
        events.append(Event("s" * (number % 20) + str(number), "B", time_ms, number))
    feed(windows, events, at_once)
    for event in events:
        reference.apply(event)
    expected = {
        name: max(b.bitrates[-1] for b in stream.buckets.values())
        for name, stream in reference.streams.items()
        if stream.buckets
    }
    assert {view.stream_id for view in windows.views()} == set(reference.streams)
    for name, bitrate_bps in expected.items():
        view = windows.view_of(name.encode())
        assert view is not None
        assert view.bitrate_max_bps in (bitrate_bps, 0)
        assert len(windows.window_of(name.encode())) == len(reference.window(name))
