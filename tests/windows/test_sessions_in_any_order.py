"""Sessions counting does not depend on the order of arrival, as long as nothing is late."""

from collections.abc import Sequence

from hypothesis import given, settings
from hypothesis import strategies as st

from consumer.windows.partition import ClosedBuckets, PartitionWindows
from consumer.windows.rules import WindowRules
from consumer.windows.stats import SessionCounters
from consumer.windows.view import WindowView
from tests.reference.sessions_counting import Event
from tests.windows.columns import KINDS, columns
from tests.windows.test_sessions_against_reference import HASH_KEY, Row, closed_rows, run

BUCKET_MS = 10
SPAN_MS = 8 * BUCKET_MS
RULES = WindowRules(
    window_duration_ms=40,
    bucket_ms=BUCKET_MS,
    grace_ms=SPAN_MS,
    stream_idle_ms=0,
    max_streams=100,
    sessions=True,
    viewer_timeout_ms=15,
)
"""With this grace no event within the span is late, in any order."""

EVENTS = st.lists(
    st.builds(
        Event,
        st.sampled_from("ab"),
        st.sampled_from("vwxyz"),
        st.integers(0, SPAN_MS - 1),
        st.sampled_from(KINDS),
        st.integers(0, 1_000),
        st.integers(0, 1_000),
    ),
    min_size=1,
    max_size=50,
)


def outcome(events: Sequence[Event], cuts: Sequence[int]) -> tuple[list[Row], SessionCounters, list[WindowView]]:
    """Stats of all buckets, without why and where they closed, and the gauges before they close."""
    windows = PartitionWindows(RULES, HASH_KEY)
    # Stream time is the same in the end, and so are the gauges.
    last = [Event(stream_id, "last", SPAN_MS, "J") for stream_id in "ab"]
    statuses, closed = run(windows, [*events, *last], cuts)
    assert set(statuses) == {"accepted"}
    views = sorted(windows.views())
    windows.close_all()
    closed += closed_rows(windows.pop_closed())
    return sorted((row[:-2] for row in closed), key=repr), windows.counters(), views


@given(EVENTS, st.data())
@settings(max_examples=300)
def test_any_order_in_any_batches_gives_the_same_results(events: list[Event], data: st.DataObject) -> None:
    shuffled = data.draw(st.permutations(events))
    cuts = data.draw(st.lists(st.integers(0, 60), max_size=5))
    assert outcome(events, []) == outcome(shuffled, cuts)


@given(EVENTS, st.data())
@settings(max_examples=200)
def test_duplicate_events_do_not_change_presence(events: list[Event], data: st.DataObject) -> None:
    doubles = data.draw(st.lists(st.sampled_from(events), max_size=20))
    once, twice = outcome(events, []), outcome(data.draw(st.permutations(events + doubles)), [])
    # Bitrates and stalls are sums over events; all columns before them are presence.
    assert [row[:10] for row in once[0]] == [row[:10] for row in twice[0]]
    assert once[1] == twice[1]


def test_an_empty_batch_changes_nothing() -> None:
    windows = PartitionWindows(RULES, HASH_KEY)
    assert len(windows.apply(columns([]), 0, 0, columns([]).timestamp_ms)) == 0
    taken: ClosedBuckets = windows.pop_closed()
    assert len(taken) == 0
