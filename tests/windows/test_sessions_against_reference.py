"""Sessions counting against its judge: any events, any rules, any split into batches."""

from collections.abc import Sequence
from itertools import pairwise
from unittest.mock import patch

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from consumer.windows.closing import CLOSE_REASONS
from consumer.windows.partition import ClosedBuckets, PartitionWindows
from consumer.windows.process import STATUSES
from consumer.windows.rules import WindowRules
from consumer.windows.stats import SessionCounters
from consumer.windows.viewers import room
from tests.reference.sessions_counting import Closed, Event, Reference, Rules
from tests.windows.columns import KINDS, columns

HASH_KEY = (0x0706050403020100, 0x0F0E0D0C0B0A0908)

Row = tuple[object, ...]


@st.composite
def rules(draw: st.DrawFn) -> Rules:
    bucket_ms = draw(st.sampled_from([1, 7, 100, 1000]))
    return Rules(
        window_duration_ms=draw(st.integers(1, 8)) * bucket_ms + draw(st.integers(0, 1)),
        bucket_ms=bucket_ms,
        grace_ms=draw(st.integers(0, 3 * bucket_ms)),
        viewer_timeout_ms=bucket_ms + draw(st.one_of(st.integers(0, 3 * bucket_ms), st.sampled_from([10 * bucket_ms]))),
        stream_idle_ms=draw(st.sampled_from([0, 1, bucket_ms, 5 * bucket_ms, 86_400_000 + bucket_ms])),
        max_streams=draw(st.sampled_from([1, 3, 1_000_000])),
        max_viewers=draw(st.sampled_from([1, 3, 1_000_000])),
        max_events_per_viewer_bucket=draw(st.sampled_from([1, 2, 64])),
    )


@st.composite
def histories(draw: st.DrawFn) -> tuple[Rules, list[Event]]:
    """Events that mostly go forward, some back, some far ahead."""
    drawn = draw(rules())
    bucket_ms = drawn.bucket_ms
    step_ms = st.one_of(
        st.integers(-3 * bucket_ms, 3 * bucket_ms),
        st.sampled_from([0, 0, 1, bucket_ms, drawn.viewer_timeout_ms, drawn.viewer_timeout_ms + 1, 86_400_000]),
    )
    event = st.tuples(
        st.sampled_from(["a", "a", "b", "stream-of-a-long-name"]),
        st.sampled_from(["v", "v", "w", "x", "viewer-of-a-very-long-name"]),
        st.sampled_from(KINDS),
        step_ms,
        st.integers(0, 2**32 - 1),
    )
    time_ms = draw(st.sampled_from([0, -10_000, 1_700_000_000_000]))
    events = []
    for stream_id, viewer_id, kind, step, value in draw(st.lists(event, max_size=60)):
        time_ms += step
        events.append(Event(stream_id, viewer_id, time_ms, kind, value, value // 3))
    return drawn, events


def engine(drawn: Rules) -> PartitionWindows:
    return PartitionWindows(WindowRules(**vars(drawn), sessions=True), HASH_KEY)


def closed_rows(closed: ClosedBuckets) -> list[Row]:
    return [_row(stream_id.decode(), row) for stream_id, row in zip(closed.stream_ids, closed.rows, strict=True)]


def _row(stream_id: str, row: np.void) -> Row:
    bucket, presence = row["bucket"], row["presence"]
    stats = [bucket[name] for name in ("start_ms", "peak", "joins", "leaves")]
    stats += [presence[name] for name in ("timeouts", "unique_viewers", "viewer_ms", "viewers_at_end", "untracked")]
    stats += [bucket[name] for name in ("bitrate_samples", "bitrate_sum_low", "buffer_events", "stall_ms")]
    return (stream_id, *map(int, stats), CLOSE_REASONS[row["reason"]], int(row["offset"]))


def judged_rows(closed: Sequence[Closed]) -> list[Row]:
    return [
        (
            each.stream_id,
            each.bucket.start_ms,
            *each.stats[:7],
            each.bucket.untracked,
            len(each.bucket.bitrates),
            sum(each.bucket.bitrates),
            len(each.bucket.stalls_ms),
            sum(each.bucket.stalls_ms),
            each.reason,
            -1 if each.offset is None else each.offset,
        )
        for each in closed
    ]


def judged_counters(reference: Reference) -> SessionCounters:
    stats = [each.stats for each in reference.closed]
    return SessionCounters(
        timeouts=sum(each.timeouts for each in stats),
        orphan_leaves=sum(each.orphan_leaves for each in stats),
        implicit_joins=sum(each.implicit_joins for each in stats),
        untracked=reference.untracked,
    )


def run(windows: PartitionWindows, events: Sequence[Event], cuts: Sequence[int]) -> tuple[list[str], list[Row]]:
    """Return statuses and closed buckets of the events, split into batches at the cuts."""
    table, offsets = columns(events), np.arange(len(events), dtype=np.int64)
    edges = [0, *sorted(cut % (len(events) + 1) for cut in cuts), len(events)]
    statuses: list[str] = []
    closed: list[Row] = []
    for begin, end in pairwise(edges):
        statuses += [STATUSES[code] for code in windows.apply(table, begin, end, offsets)]
        closed += closed_rows(windows.pop_closed())
    return statuses, closed


def assert_same_closed(mine: list[Row], theirs: list[Row]) -> None:
    """The order of streams closed by one record is the engine's own; within a stream it is by bucket."""
    assert sorted(mine, key=repr) == sorted(theirs, key=repr)
    for stream_id in {row[0] for row in theirs}:
        assert [row for row in mine if row[0] == stream_id] == [row for row in theirs if row[0] == stream_id]


@given(histories(), st.lists(st.integers(0, 60), max_size=5), st.sampled_from([room.KEPT_ANYWAY, 0]))
@settings(max_examples=400)
def test_any_history_in_any_batches_equals_the_reference(
    history: tuple[Rules, list[Event]], cuts: list[int], kept_anyway: int
) -> None:
    with patch.multiple(
        room, KEPT_ANYWAY=kept_anyway, FREE_SHARE=0.0
    ):  # starts with 0 rows and moves the arrays at every opportunity
        assert_same_as_the_judge(*history, cuts)


def assert_same_as_the_judge(drawn: Rules, events: Sequence[Event], cuts: Sequence[int]) -> None:
    reference, windows = Reference(drawn), engine(drawn)
    statuses, closed = run(windows, events, cuts)
    assert statuses == [reference.apply(event, offset) for offset, event in enumerate(events)]
    assert_same_closed(closed, judged_rows(reference.closed))

    assert windows.counters() == judged_counters(reference)
    assert windows.stats().viewers_held == reference.viewers_held()
    assert windows.stats().activities_held == reference.activities_held()
    assert {view.stream_id for view in windows.views()} == set(reference.streams)
    assert windows.stats().idle_watermark_ms == reference.idle_watermark_ms
    assert windows.live(0).viewers == sum(map(reference.live, reference.streams))
    for stream_id in reference.streams:
        view = windows.view_of(stream_id.encode())
        assert view is not None
        assert view.time_ms == reference.time_of(stream_id)
        assert view.concurrent_viewers == reference.live(stream_id)
        window = reference.window(stream_id)
        peaks = [each.stats.peak for each in window]
        assert view.peak_concurrent_viewers == max([*peaks, reference.live(stream_id)])

    reference.closed.clear()
    reference.close_all()
    windows.close_all()
    assert_same_closed(closed_rows(windows.pop_closed()), judged_rows(reference.closed))
