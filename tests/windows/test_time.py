"""The rules of time, drawn. Rules: bucket 10, grace 5, window 30, idle 40; times in ms, `|` a bucket's edge."""

import numpy as np
import pytest

from consumer.windows.closing import CLOSE_REASONS
from consumer.windows.layout import Times
from consumer.windows.partition import PartitionWindows
from consumer.windows.process import STATUSES
from consumer.windows.rules import DAY_MS, WindowRules
from tests.reference.events_counting import Event
from tests.windows.columns import columns

RULES = WindowRules(window_duration_ms=30, bucket_ms=10, grace_ms=5, stream_idle_ms=40, max_streams=100)


class Drawn:
    """Events one by one, with increasing offsets."""

    def __init__(self, rules: WindowRules = RULES) -> None:
        self.windows = PartitionWindows(rules, (1, 2))
        self._offset = -1

    def see(self, stream_id: str, timestamp_ms: int, kind: str = "B", value: int = 1) -> str:
        self._offset += 1
        events = columns([Event(stream_id, kind, timestamp_ms, value)])
        return STATUSES[self.windows.apply(events, 0, 1, np.array([self._offset]))[0]]

    def closed(self) -> list[tuple[str, int, str, int]]:
        """Return stream, start, reason and offset of what closed since the last call."""
        ids, rows = self.windows.pop_closed()
        starts = rows["bucket"]["start_ms"].tolist()
        reasons = [CLOSE_REASONS[code] for code in rows["reason"].tolist()]
        return list(zip([each.decode() for each in ids], starts, reasons, rows["offset"].tolist(), strict=True))

    def held(self) -> set[str]:
        return {view.stream_id for view in self.windows.views()}


@pytest.fixture
def drawn() -> Drawn:
    return Drawn()


def test_a_bucket_closes_one_ms_after_its_grace_is_over(drawn: Drawn) -> None:
    #  0        10   15 16
    #  |--e------|----.-x      end 10 + grace 5 = 15: open at 15, closed at 16
    drawn.see("a", 3)
    drawn.see("a", 15)
    assert drawn.closed() == []
    drawn.see("a", 16)
    assert drawn.closed() == [("a", 0, "WATERMARK", 2)]


def test_an_event_of_a_closed_bucket_is_late_and_changes_nothing(drawn: Drawn) -> None:
    drawn.see("a", 3, "J")
    drawn.see("a", 16)
    assert drawn.see("a", 9, "J") == "late"
    view = drawn.windows.view_of(b"a")
    assert view is not None
    assert view.concurrent_viewers == 1
    assert drawn.windows.stats().largest_lateness_ms == 7


def test_bucket_starts_below_zero_are_rounded_down(drawn: Drawn) -> None:
    #  -20       -10        0
    #   |---------|e--------|
    drawn.see("a", -10)
    drawn.see("a", -11)
    assert [int(bucket["start_ms"]) for bucket in drawn.windows.window_of(b"a")] == [-20, -10]


def test_the_first_record_sets_no_idle_watermark_and_a_new_bucket_does(drawn: Drawn) -> None:
    #  quiet: 3                     idle watermark = 63 - 40 = 23 > 15: closed by the other stream's record
    #  busy:  4 ..... 59 | 63
    drawn.see("quiet", 3)
    assert drawn.windows.stats().idle_watermark_ms is None
    drawn.see("busy", 4)
    drawn.see("busy", 9)
    assert drawn.windows.stats().idle_watermark_ms is None  # no new bucket yet
    drawn.see("busy", 63)
    assert drawn.windows.stats().idle_watermark_ms == 23
    assert drawn.closed() == [("busy", 0, "WATERMARK", 3), ("quiet", 0, "STREAM_IDLE", 3)]


def test_the_idle_watermark_moves_after_the_record_that_moves_it(drawn: Drawn) -> None:
    #  The record at 100 is judged under the old idle watermark, the one after it under 60.
    drawn.see("a", 0)
    assert drawn.see("a", 100) == "accepted"
    assert drawn.see("new", 44) == "late_idle"  # end 50 + grace 5 < 60
    assert drawn.see("new", 45 + 10) == "accepted"  # end 60 + grace 5 >= 60


def test_the_idle_watermark_does_not_move_inside_a_bucket(drawn: Drawn) -> None:
    drawn.see("a", 0)
    drawn.see("a", 91)
    drawn.see("a", 99)
    assert drawn.windows.stats().idle_watermark_ms == 51
    assert drawn.windows.stats().partition_time_ms == 99


def test_a_stream_without_open_buckets_viewers_or_window_is_forgotten(drawn: Drawn) -> None:
    #  once: 3, bucket |0..10|, in the window until stream time 40; partition time 80 makes that the idle watermark
    drawn.see("once", 3)
    drawn.see("a", 5)
    drawn.see("a", 79)
    assert drawn.held() == {"once", "a"}
    drawn.see("a", 80)
    assert drawn.held() == {"a"}
    assert drawn.windows.stats().buckets == len(drawn.windows.window_of(b"a"))


def test_a_count_above_zero_keeps_a_stream_for_a_day_of_partition_time(drawn: Drawn) -> None:
    drawn.see("watched", 3, "J")
    drawn.see("a", DAY_MS + 2)
    view = drawn.windows.view_of(b"watched")
    assert view is not None
    assert (view.concurrent_viewers, view.time_ms) == (1, DAY_MS + 2 - 40)
    drawn.see("a", DAY_MS + 19)
    assert drawn.held() == {"a"}


def test_events_beyond_the_stream_limit_still_move_time() -> None:
    drawn = Drawn(RULES._replace(max_streams=1))
    drawn.see("a", 0)
    assert drawn.see("b", 79) == "stream_limit"
    assert drawn.see("b", 80) == "stream_limit"  # and with it "a" is forgotten
    assert drawn.see("b", 81) == "accepted"
    assert drawn.held() == {"b"}


def test_a_rejected_row_moves_no_time(drawn: Drawn) -> None:
    events = columns([Event("a", "B", 0), Event("a", "B", 10**9), Event("a", "B", 1)])
    events.reject[1] = 7
    status = drawn.windows.apply(events, 0, 3, np.arange(3))
    assert [STATUSES[code] for code in status] == ["accepted", "rejected", "accepted"]
    assert drawn.windows.stats().partition_time_ms == 1


def test_a_closed_bucket_stays_in_the_window_until_it_leaves_it(drawn: Drawn) -> None:
    #  |0..10| leaves at stream time 40: end 10 > 39 - 30, but not > 40 - 30
    drawn.see("a", 3, "B", 500)
    for timestamp_ms, expected in ((39, [0, 30]), (40, [30, 40])):
        drawn.see("a", timestamp_ms, "S")
        assert [int(bucket["start_ms"]) for bucket in drawn.windows.window_of(b"a")] == expected


def test_a_clock_step_closes_what_a_record_at_that_time_would_close(drawn: Drawn) -> None:
    #  quiet: 3              step to 60: idle watermark 20 > 15, closed before the record at offset 1
    #         |0..10|  . . .  60
    assert drawn.windows.next_step_ms() is None
    drawn.see("quiet", 3)
    assert drawn.windows.next_step_ms() == 10
    drawn.windows.step(50, 1)
    assert (drawn.windows.times().idle_watermark_ms, drawn.closed()) == (10, [])
    drawn.windows.step(60, 1)
    assert drawn.closed() == [("quiet", 0, "PARTITION_IDLE", 1)]
    assert drawn.windows.times() == Times(partition_time_ms=60, idle_watermark_ms=20)
    assert drawn.windows.next_step_ms() == 70


def test_a_step_back_does_nothing(drawn: Drawn) -> None:
    drawn.see("a", 3)
    drawn.see("a", 75)
    drawn.closed()
    before = drawn.windows.times()
    drawn.windows.step(75, 2)
    assert drawn.windows.times() == before
    assert drawn.windows.next_step_ms() == 80


def test_steps_end_when_the_windows_are_empty(drawn: Drawn) -> None:
    #  The window of |0..10| is empty at 40, which is the idle watermark at partition time 80.
    drawn.see("a", 3)
    steps = []
    while (edge_ms := drawn.windows.next_step_ms()) is not None:
        drawn.windows.step(edge_ms, 1)
        steps.append(edge_ms)
    assert steps == list(range(10, 90, 10))
    assert drawn.held() == set()


def test_a_record_after_steps_takes_the_larger_of_the_two_times(drawn: Drawn) -> None:
    drawn.see("a", 3)
    drawn.windows.step(100, 1)
    assert drawn.see("b", 44) == "late_idle"  # end 50 + grace 5 < idle watermark 60
    assert drawn.see("b", 61) == "accepted"
    assert drawn.windows.times().partition_time_ms == 100


def test_with_less_grace_finished_buckets_close_at_once(drawn: Drawn) -> None:
    #  |0..10| is open at 13 with grace 5, and finished with grace 2
    drawn.see("a", 3)
    drawn.see("a", 13)
    drawn.windows.change_rules(RULES._replace(grace_ms=2), 2)
    assert drawn.closed() == [("a", 0, "SETTINGS", 2)]
    assert drawn.see("a", 9) == "late"


def test_with_less_grace_the_idle_watermark_closes_more(drawn: Drawn) -> None:
    #  quiet: |0..10| at idle watermark 14: open with grace 5, finished with grace 3
    drawn.see("quiet", 3)
    drawn.see("busy", 54)
    assert (drawn.windows.times().idle_watermark_ms, drawn.closed()) == (14, [])
    drawn.windows.change_rules(RULES._replace(grace_ms=3), 2)
    assert drawn.closed() == [("quiet", 0, "SETTINGS", 2)]


def test_with_more_grace_closed_buckets_stay_closed(drawn: Drawn) -> None:
    #  |0..10| closed at 16 with grace 5; with grace 100 an event of it would open it again
    drawn.see("a", 3, "J")
    drawn.see("a", 16)
    drawn.closed()
    drawn.windows.change_rules(RULES._replace(grace_ms=100), 2)
    assert drawn.see("a", 9, "J") == "late"
    assert drawn.see("a", 11, "J") == "accepted"
    assert drawn.see("a", 110) == "accepted"
    assert drawn.closed() == []
    drawn.see("a", 121)
    assert drawn.closed() == [("a", 10, "WATERMARK", 5)]


def test_with_more_grace_buckets_closed_by_the_idle_watermark_stay_closed(drawn: Drawn) -> None:
    #  idle watermark 60 has closed everything before 50, for unknown streams too
    drawn.see("a", 0)
    drawn.see("a", 100)
    drawn.windows.change_rules(RULES._replace(grace_ms=100), 2)
    assert drawn.windows.times().closed_below_ms == 50
    assert drawn.see("new", 49) == "late_idle"
    assert drawn.see("new", 50) == "accepted"


def test_the_idle_watermark_never_goes_back_when_stream_idle_ms_grows(drawn: Drawn) -> None:
    #  idle 40: idle watermark 60 at 100; idle 80 would give 30 at 110, and 61 at 141
    drawn.see("a", 0)
    drawn.see("a", 100)
    drawn.windows.change_rules(RULES._replace(stream_idle_ms=80), 2)
    for time_ms, idle_watermark_ms in ((110, 60), (139, 60), (141, 61)):
        drawn.see("a", time_ms)
        assert drawn.windows.times().idle_watermark_ms == idle_watermark_ms


def test_a_longer_window_does_not_show_buckets_that_left_the_shorter_one() -> None:
    #  |0..10| leaves a window of 35 at 45; the event at 46 opens no bucket, so it is not freed yet
    drawn = Drawn(RULES._replace(window_duration_ms=35))
    for time_ms in (3, 41, 46):
        drawn.see("a", time_ms)
    drawn.windows.change_rules(RULES._replace(window_duration_ms=1_000), 3)
    assert [int(bucket["start_ms"]) for bucket in drawn.windows.window_of(b"a")] == [40]


def test_the_bucket_length_cannot_change(drawn: Drawn) -> None:
    with pytest.raises(ValueError, match="bucket_ms can't change from 10 to 20"):
        drawn.windows.change_rules(RULES._replace(bucket_ms=20), 0)


def test_the_end_of_input_closes_open_buckets(drawn: Drawn) -> None:
    drawn.see("a", 3)
    drawn.see("a", 12)
    drawn.windows.close_all()
    assert drawn.closed() == [("a", 0, "END_OF_INPUT", -1), ("a", 10, "END_OF_INPUT", -1)]
