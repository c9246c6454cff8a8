"""The engine against the plain-Python judge: any events, any rules, any split into batches."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from consumer.windows.closing import CLOSE_REASONS
from consumer.windows.layout import LIMB
from consumer.windows.partition import ClosedBuckets, PartitionWindows
from consumer.windows.process import STATUSES
from consumer.windows.rules import WindowRules
from tests.reference.events_counting import Bucket, Event, Reference, Rules
from tests.windows.columns import KINDS, columns

HASH_KEY = (0x0706050403020100, 0x0F0E0D0C0B0A0908)


@st.composite
def rules(draw: st.DrawFn) -> Rules:
    bucket_ms = draw(st.sampled_from([1, 7, 100, 1000]))
    return Rules(
        window_duration_ms=draw(st.integers(1, 8)) * bucket_ms + draw(st.integers(0, 1)),
        bucket_ms=bucket_ms,
        grace_ms=draw(st.integers(0, 3 * bucket_ms)),
        stream_idle_ms=draw(st.sampled_from([0, 1, bucket_ms, 5 * bucket_ms, 86_400_000 + bucket_ms])),
        max_streams=draw(st.sampled_from([1, 3, 1_000_000])),
    )


@st.composite
def histories(draw: st.DrawFn) -> tuple[Rules, list[Event]]:
    """Events that mostly go forward, some back, some far ahead: a jump of a day lets streams be forgotten."""
    drawn = draw(rules())
    step_ms = st.one_of(
        st.integers(-3 * drawn.bucket_ms, 3 * drawn.bucket_ms),
        st.sampled_from([0, 1, drawn.bucket_ms, 20 * drawn.bucket_ms, 86_400_000]),
    )
    event = st.tuples(
        st.sampled_from(["a", "b", "stream-of-a-long-name", "é", "e"]),
        st.sampled_from(KINDS),
        step_ms,
        st.one_of(st.integers(0, 5), st.integers(0, 2**41)),
    )
    time_ms = draw(st.sampled_from([0, -10_000, 1_700_000_000_000]))
    events = []
    for stream_id, kind, step, value in draw(st.lists(event, max_size=60)):
        time_ms += step
        stall_ms = value % 2**32
        events.append(Event(stream_id, kind, time_ms, value if "B" in kind else stall_ms, stall_ms))
    return drawn, events


def engine(drawn: Rules) -> PartitionWindows:
    return PartitionWindows(WindowRules(**vars(drawn)), HASH_KEY)


def bucket_row(bucket: np.void) -> tuple[object, ...]:
    samples = int(bucket["bitrate_samples"])
    return (
        int(bucket["start_ms"]),
        int(bucket["peak"]),
        (int(bucket["bitrate_sum_high"]) * LIMB + int(bucket["bitrate_sum_low"])) / samples if samples else 0.0,
        int(bucket["bitrate_min_bps"]),
        int(bucket["bitrate_max_bps"]),
        int(bucket["buffer_events"]),
        int(bucket["stall_ms"]),
        samples,
        int(bucket["joins"]),
        int(bucket["leaves"]),
    )


def reference_row(bucket: Bucket) -> tuple[object, ...]:
    return (*bucket.row(), bucket.joins, bucket.leaves)


def closed_rows(closed: ClosedBuckets) -> list[tuple[object, ...]]:
    return [
        (stream_id.decode(), bucket_row(row["bucket"]), CLOSE_REASONS[row["reason"]], int(row["offset"]))
        for stream_id, row in zip(closed.stream_ids, closed.rows, strict=True)
    ]


def run(
    windows: PartitionWindows, events: Sequence[Event], cuts: Sequence[int]
) -> tuple[list[str], list[tuple[object, ...]]]:
    """Return statuses and closed buckets of the events, split into batches at the cuts."""
    table, offsets = columns(events), np.arange(len(events), dtype=np.int64)
    edges = [0, *sorted(cut % (len(events) + 1) for cut in cuts), len(events)]
    statuses: list[str] = []
    closed: list[tuple[object, ...]] = []
    for begin, end in pairwise(edges):
        statuses += [STATUSES[code] for code in windows.apply(table, begin, end, offsets)]
        closed += closed_rows(windows.pop_closed())
    return statuses, closed


@given(histories(), st.lists(st.integers(0, 60), max_size=5))
@settings(max_examples=400)
def test_any_history_in_any_batches_equals_the_reference(history: tuple[Rules, list[Event]], cuts: list[int]) -> None:
    drawn, events = history
    reference, windows = Reference(drawn), engine(drawn)
    statuses, closed = run(windows, events, cuts)
    assert statuses == [reference.apply(event, offset) for offset, event in enumerate(events)]
    # The order of streams closed by one record is the engine's own; within a stream it is by bucket.
    expected = [(c.stream_id, reference_row(c.bucket), c.reason, c.offset) for c in reference.closed]
    assert sorted(closed, key=repr) == sorted(expected, key=repr)
    for stream_id in reference.seen:
        assert [row for row in closed if row[0] == stream_id] == [row for row in expected if row[0] == stream_id]

    assert {view.stream_id for view in windows.views()} == set(reference.streams)
    assert windows.stats().idle_watermark_ms == reference.idle_watermark_ms
    assert windows.stats().partition_time_ms == reference.partition_time_ms
    for stream_id, stream in reference.streams.items():
        window = reference.window(stream_id)
        samples = [bps for bucket in window for bps in bucket.bitrates]
        view = windows.view_of(stream_id.encode())
        assert view is not None
        assert view.time_ms == reference.time_of(stream_id)
        assert view.concurrent_viewers == stream.viewers
        assert view.peak_concurrent_viewers == max((bucket.peak for bucket in window), default=0)
        assert view.bitrate_avg_bps == (sum(samples) / len(samples) if samples else 0.0)
        assert (view.bitrate_min_bps, view.bitrate_max_bps) == (min(samples, default=0), max(samples, default=0))
        assert view.buffer_events == sum(len(bucket.stalls_ms) for bucket in window)
        assert view.stall_ms == sum(sum(bucket.stalls_ms) for bucket in window)
        assert [bucket_row(b) for b in windows.window_of(stream_id.encode())] == [reference_row(b) for b in window]

    reference.closed.clear()
    reference.close_all()
    windows.close_all()
    assert sorted(row[:3] for row in closed_rows(windows.pop_closed())) == sorted(
        (c.stream_id, reference_row(c.bucket), c.reason) for c in reference.closed
    )


@given(histories())
@settings(max_examples=50)
def test_when_everything_is_forgotten_all_rows_are_free(history: tuple[Rules, list[Event]]) -> None:
    """After everything is forgotten, no row of any kind is in use."""
    drawn, events = history
    windows = engine(drawn)
    run(windows, events, [])
    newest_ms = max((event.timestamp_ms for event in events), default=0)
    far = newest_ms + 10 * 86_400_000 + drawn.stream_idle_ms + drawn.window_duration_ms
    run(windows, [Event("last", "B", far), Event("last", "B", far + 10 * drawn.bucket_ms)], [])
    stats = windows.stats()
    assert stats.streams <= 1
    assert stats.buckets <= 2
