"""The contract of partition readers: the live input and the reader of restores, on real Kafka and on the fakes."""

from collections.abc import Callable
from typing import Any, NamedTuple

import pytest

from consumer.kafka.protocols import Input, PartitionReader
from tests.kafka.stage import PARTITIONS, Stage, joined, read
from tests.support.fakes import RecordingHandler
from tests.support.waiting import until


class Reading(NamedTuple):
    """One reader, and what it reads."""

    reader: PartitionReader[Any]
    place: Callable[[int], Any]
    """What names a partition of the input to this reader."""
    stage: Stage

    def begin(self, partition: int, offset: int) -> None:
        self.reader.begin(self.place(partition), offset)

    def pause(self, partition: int) -> None:
        self.reader.pause([self.place(partition)])

    def last_seen_end(self, partition: int) -> int:
        return self.reader.last_seen_end(self.place(partition))

    def until_end_seen(self, partition: int, end: int) -> None:
        """Poll until that end is seen; all records are read by then."""
        until(
            lambda: (self._poll_nothing(), self.last_seen_end(partition) == end)[1],
            f"the end {end} of partition {partition} is seen",
        )

    def _poll_nothing(self) -> None:
        assert not len(self.reader.poll(100, 0.05))


@pytest.fixture(params=["input", "restores"])
def reading(request: pytest.FixtureRequest, stage: Stage) -> Reading:
    if request.param == "restores":
        return Reading(stage.restore_reader(), lambda partition: (stage.topic, partition), stage)
    return Reading(assigned(stage), lambda partition: partition, stage)


def assigned(stage: Stage) -> Input:
    """A member that owns all partitions and has begun none."""
    member = stage.input(RecordingHandler())
    until(lambda: (member.poll(1, 0.05), len(member.assignment) == PARTITIONS)[1], "the member owns all partitions")
    return member


def test_it_reads_from_the_offset_where_it_is_begun(reading: Reading) -> None:
    reading.stage.write(0, b"a", b"b", b"c")
    reading.stage.write(1, b"d")
    assert not len(reading.reader.poll(10, 0.2)), "nothing is read before begin()"
    reading.begin(0, 1)
    assert read(reading.reader, 2) == [(0, 1, b"b"), (0, 2, b"c")]
    reading.begin(1, 0)
    assert read(reading.reader, 1) == [(1, 0, b"d")]


def test_a_place_that_is_begun_again_is_read_again(reading: Reading) -> None:
    reading.stage.write(0, b"a", b"b", b"c")
    reading.begin(0, 0)
    read(reading.reader, 3)
    reading.pause(0)
    reading.begin(0, 1)
    assert read(reading.reader, 2) == [(0, 1, b"b"), (0, 2, b"c")]
    reading.begin(0, 2)
    assert read(reading.reader, 1) == [(0, 2, b"c")], "without a pause, too"


@pytest.mark.parametrize("offset", [0, 5, 150])
def test_nothing_fetched_before_begin_is_returned(reading: Reading, offset: int) -> None:
    reading.stage.write(0, *(b"%d" % number for number in range(200)))
    reading.begin(0, 10)
    until(lambda: len(reading.reader.poll(1, 0.05)) > 0, "more is fetched than was returned")
    reading.begin(0, offset)
    assert [each[1] for each in read(reading.reader, 200 - offset)] == list(range(offset, 200))
    reading.until_end_seen(0, 200)


def test_a_paused_place_keeps_quiet_until_it_is_begun(reading: Reading) -> None:
    reading.stage.write(0, *(b"%d" % number for number in range(100)))
    reading.stage.write(1, b"b")
    reading.begin(0, 0)
    until(lambda: len(reading.reader.poll(1, 0.05)) > 0, "more is fetched than was returned")
    reading.pause(0)
    reading.begin(1, 0)
    assert read(reading.reader, 1) == [(1, 0, b"b")]
    reading.stage.write(0, b"new")
    assert not len(reading.reader.poll(10, 0.2))
    reading.begin(0, 100)
    assert read(reading.reader, 1) == [(0, 100, b"new")]


def test_pausing_a_place_that_is_not_read_does_nothing(reading: Reading) -> None:
    reading.pause(0)
    reading.stage.write(0, b"a")
    reading.begin(0, 0)
    assert read(reading.reader, 1) == [(0, 0, b"a")]


def test_the_end_is_told_once_it_was_read_to_since_it_was_begun(reading: Reading) -> None:
    reading.stage.write(0, b"a", b"b", b"c")
    assert reading.last_seen_end(0) == 0
    reading.begin(0, 0)
    assert reading.last_seen_end(0) == 0
    read(reading.reader, 3)
    reading.until_end_seen(0, 3)
    reading.stage.write(0, b"d")
    read(reading.reader, 1)
    reading.until_end_seen(0, 4)
    reading.begin(0, 4)
    assert reading.last_seen_end(0) == 0, "unknown again after begin()"
    reading.until_end_seen(0, 4)
    assert reading.last_seen_end(1) == 0, "of each place by itself"


def test_markers_and_aborted_records_count_to_the_end(reading: Reading) -> None:
    reading.stage.write(0, b"a")
    reading.stage.write_aborted(0, b"never", b"seen")
    reading.begin(0, 0)
    assert read(reading.reader, 1) == [(0, 0, b"a")]
    reading.until_end_seen(0, 4)
    reading.begin(0, 2)
    reading.until_end_seen(0, 4)
    reading.stage.write(0, b"b")
    assert read(reading.reader, 1) == [(0, 4, b"b")]


def test_a_place_whose_offset_is_gone_is_told_once_and_no_other_is_affected(reading: Reading) -> None:
    reading.stage.write(0, b"a", b"b", b"c")
    reading.stage.write(1, b"d")
    reading.stage.delete_before(0, 2)
    reading.begin(0, 1)
    failures: dict[Any, str] = {}

    def is_told() -> bool:
        assert not len(reading.reader.poll(10, 0.05))
        failures.update(reading.reader.pop_failures())
        return bool(failures)

    until(is_told, "the failure is told")
    assert list(failures) == [reading.place(0)]
    assert "0" in failures[reading.place(0)]
    assert reading.reader.pop_failures() == {}
    reading.begin(1, 0)
    assert read(reading.reader, 1) == [(1, 0, b"d")]
    reading.until_end_seen(1, 1)
    assert reading.reader.pop_failures() == {}, "told once"


# Of the live input alone.


def test_an_assigned_partition_is_read_once_it_is_begun_and_its_end_is_known(stage: Stage) -> None:
    stage.write(0, b"a", b"b")
    stage.write(1, b"c")
    handler = RecordingHandler()
    member = joined(stage.input(handler))
    assert handler.heard == [("assigned", (0, 1))]
    assert read(member, 3) == [(0, 0, b"a"), (0, 1, b"b"), (1, 0, b"c")]
    # Known once the client's statistics say that the leaders answer.
    until(lambda: (member.poll(1, 0.05), member.end_offsets() == {0: 2, 1: 1})[1], "the ends are known")


def test_a_paused_partition_returns_nothing_until_it_is_resumed(stage: Stage) -> None:
    member = joined(stage.input(RecordingHandler()))
    member.pause([0])
    stage.write(0, b"a")
    stage.write(1, b"b")
    assert read(member, 1) == [(1, 0, b"b")]
    assert not len(member.poll(10, 0.1))
    member.resume([0])
    assert read(member, 1) == [(0, 0, b"a")]


def test_another_client_reads_on_without_a_gap_and_leaves_what_is_paused(stage: Stage) -> None:
    member = joined(stage.input(RecordingHandler()))
    stage.write(0, *(b"%d" % number for number in range(200)))
    stage.write(1, b"paused")
    member.pause([1])
    until(lambda: len(member.poll(1, 0.05)) > 0, "more is fetched than was returned")
    member.renew_reader()
    assert [each[1] for each in read(member, 199)] == list(range(1, 200))
    member.resume([1])
    assert read(member, 1) == [(1, 0, b"paused")]
    stage.write(0, b"new")
    assert read(member, 1) == [(0, 200, b"new")]
    until(lambda: (member.poll(1, 0.05), member.end_offsets() == {0: 201, 1: 1})[1], "the ends are known")
