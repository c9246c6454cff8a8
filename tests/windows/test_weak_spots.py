"""Nine inputs at which a window that adds one for a join and subtracts one for a leave is wrong, and the right results.

Rules: window 60 s, buckets of 10 s, no grace, viewers time out after 30 s; times in seconds, `|` a bucket's edge.
"""

import numpy as np
import pytest

from consumer.intake.intake import Intake
from consumer.intake.rejects import Reject
from consumer.intake.schemas.cache import SchemaCache
from consumer.runtime.joined import joined
from consumer.settings.model import InputSettings
from consumer.windows.partition import PartitionWindows
from consumer.windows.process import STATUSES
from consumer.windows.rules import WindowRules
from tests.intake.payloads import join
from tests.reference.sessions_counting import Event
from tests.windows.columns import columns

RULES = WindowRules(60_000, 10_000, 0, 10_000, 100, sessions=True, viewer_timeout_ms=30_000)


class Drawn:
    """One stream's events one by one, times in seconds."""

    def __init__(self) -> None:
        self.windows = PartitionWindows(RULES, (1, 2))

    def see(self, viewer_id: str, at_s: float, kind: str = "B", value: int = 1, stream_id: str = "s") -> str:
        events = columns([Event(stream_id, viewer_id, round(at_s * 1000), kind, value)])
        return STATUSES[self.windows.apply(events, 0, 1, np.array([0]))[0]]

    def live(self, stream_id: str = "s") -> int:
        view = self.windows.view_of(stream_id.encode())
        return 0 if view is None else view.concurrent_viewers

    def closed(self, *names: str, stream_id: str = "s") -> list[tuple[int, ...]]:
        """Return start in seconds and stats of the stream's buckets that closed since the last call."""
        ids, rows = self.windows.pop_closed()
        found = []
        for each, row in zip(ids, rows, strict=True):
            if each == stream_id.encode():
                stats = (row["bucket"][n] if n in row["bucket"].dtype.names else row["presence"][n] for n in names)
                found.append((int(row["bucket"]["start_ms"]) // 1000, *map(int, stats)))
        return found


@pytest.fixture
def drawn() -> Drawn:
    return Drawn()


def test_1_a_viewer_who_joins_twice_counts_once(drawn: Drawn) -> None:
    #  0            10
    #  |--J--J------|-x
    drawn.see("v", 3, "J")
    drawn.see("v", 6, "J")
    assert drawn.live() == 1
    drawn.see("v", 10.001)
    assert drawn.closed("peak", "joins", "unique_viewers") == [(0, 1, 1, 1)]


def test_2_a_leave_that_arrives_before_its_join_ends_the_session(drawn: Drawn) -> None:
    #  0            10    arrival: L 6, J 3
    #  |--J--L------|-x
    drawn.see("v", 6, "L")
    drawn.see("v", 3, "J")
    assert drawn.live() == 0
    drawn.see("w", 10.001)
    assert drawn.closed("peak", "joins", "leaves", "viewer_ms", "viewers_at_end") == [(0, 1, 1, 1, 3_000, 0)]


def test_3_a_viewer_whose_leave_is_late_times_out(drawn: Drawn) -> None:
    #  0     1      10            31   70
    #  |--J--L------|--…           †    x     arrival: J 0.5, x 70, L 1, which is late
    drawn.see("v", 0.5, "J")
    drawn.see("w", 70)
    assert drawn.see("v", 1, "L") == "late"
    assert drawn.live() == 1
    assert drawn.closed("timeouts", "viewers_at_end") == [(0, 0, 1), (10, 0, 1), (20, 0, 1), (30, 1, 0)]


def test_4_viewers_carried_into_a_bucket_count_in_its_peak(drawn: Drawn) -> None:
    #  0            10           20
    #  |-J*5--------|-----B------|-x
    for number in range(5):
        drawn.see(f"v{number}", 1, "J")
    drawn.see("v0", 15)
    drawn.see("v0", 20.001)
    assert drawn.closed("peak", "joins") == [(0, 5, 5), (10, 5, 0)]


def test_5_a_peak_before_leaves_counts(drawn: Drawn) -> None:
    #  0            10           20
    #  |-J*5--------|-L-L-J------|-x
    for number in range(5):
        drawn.see(f"v{number}", 1, "J")
    drawn.see("v0", 12, "L")
    drawn.see("v1", 13, "L")
    drawn.see("v5", 14, "J")
    drawn.see("v5", 20.001)
    assert drawn.closed("peak", "leaves", "joins", "viewers_at_end") == [(0, 5, 0, 5, 5), (10, 5, 2, 1, 4)]


def test_6_a_bitrate_of_0_is_the_minimum(drawn: Drawn) -> None:
    drawn.see("v", 1, "B", 0)
    drawn.see("v", 2, "B", 5)
    drawn.see("v", 10.001, "S")
    assert drawn.closed("bitrate_min_bps", "bitrate_max_bps") == [(0, 0, 5)]


def test_7_an_event_far_in_the_future_is_rejected_and_the_others_count() -> None:
    #  now 100 s, 60 s ahead are allowed:  J 10^9, then a hundred joins at 100
    source = InputSettings(format="raw")
    payloads = [join("s", "far", 10**9 * 1000), *(join("s", f"v{number}", 100_000) for number in range(100))]
    events = Intake(source, SchemaCache(source)).decode(joined(payloads), [100_000] * 101, 100_000).events
    assert events.reject[0] == Reject.FUTURE
    drawn = Drawn()
    status = drawn.windows.apply(events, 0, 101, np.arange(101))
    assert [STATUSES[code] for code in status] == ["rejected"] + ["accepted"] * 100
    assert drawn.live() == 100


def test_8_a_join_in_an_older_bucket_counts_in_that_bucket() -> None:
    #  0            10           20    grace 10; arrival: J*3 at 11, then J 2 of another viewer, who leaves at 4
    #  |--J-L-------|-J*3--------|
    windows = Drawn()
    windows.windows = PartitionWindows(RULES._replace(grace_ms=10_000), (1, 2))
    for number in range(3):
        windows.see(f"v{number}", 11, "J")
    windows.see("w", 2, "J")
    windows.see("w", 4, "L")
    assert windows.live() == 3
    windows.see("v0", 30.001)
    assert windows.closed("peak", "joins") == [(0, 1, 1), (10, 3, 3)]


def test_9_a_stream_without_events_closes_and_its_viewers_time_out(drawn: Drawn) -> None:
    #  s      |--J----|-------|-------|--†           30 s after the join, by the other stream's time minus 10 s
    #  busy   |-x-----|-…                        51 |
    drawn.see("v", 2, "J")
    drawn.see("b", 1, stream_id="busy")
    for at_s in range(10, 60, 10):
        drawn.see("b", at_s, stream_id="busy")
    assert drawn.closed("viewers_at_end", "timeouts") == [(0, 1, 0), (10, 1, 0), (20, 1, 0)]
    assert drawn.live() == 0  # at once: the idle watermark 40 is past 2 + 30
    drawn.see("b", 60, stream_id="busy")
    assert drawn.closed("viewers_at_end", "timeouts") == [(30, 0, 1)]
