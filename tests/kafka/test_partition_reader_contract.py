"""The contract of partition readers, on real Kafka and on the fake that other tests use."""

from tests.kafka.stage import PARTITIONS, Stage, joined, read
from tests.support.fakes import RecordingHandler
from tests.support.waiting import until


def test_an_assigned_partition_is_read_from_the_offset_where_it_is_begun(stage: Stage) -> None:
    stage.write(0, b"a", b"b")
    stage.write(1, b"c")
    handler = RecordingHandler()
    member = stage.input(handler)
    until(lambda: (member.poll(1, 0.05), len(member.assignment) == PARTITIONS)[1], "the member owns all partitions")
    assert handler.heard == [("assigned", (0, 1))]
    assert member.poll(10, 0.2) == [], "nothing is read before begin()"
    member.begin(0, 1)
    assert read(member, 1) == [(0, 1, b"b")]
    member.begin(1, 0)
    assert read(member, 1) == [(1, 0, b"c")]
    assert member.end_offsets() == {0: 2, 1: 1}


def test_a_partition_that_is_begun_again_is_read_again(stage: Stage) -> None:
    stage.write(0, b"a", b"b", b"c")
    stage.write(1, b"d")
    member = joined(stage.input(RecordingHandler()))
    read(member, 4)
    member.pause([0, 1])
    member.begin(0, 1)
    assert read(member, 2) == [(0, 1, b"b"), (0, 2, b"c")]


def test_it_returns_the_last_seen_end(stage: Stage) -> None:
    stage.write(0, b"a", b"b", b"c")
    member = joined(stage.input(RecordingHandler()))
    read(member, 3)
    until(lambda: (member.poll(10, 0.05), member.last_seen_end(0) == 3)[1], "the end offset is known")
    member.begin(0, 1)
    assert member.last_seen_end(0) == 0, "unknown again after begin()"
    read(member, 2)


def test_a_paused_partition_returns_nothing_until_it_is_resumed(stage: Stage) -> None:
    member = joined(stage.input(RecordingHandler()))
    member.pause([0])
    stage.write(0, b"a")
    stage.write(1, b"b")
    assert read(member, 1) == [(1, 0, b"b")]
    assert member.poll(10, 0.1) == []
    member.resume([0])
    assert read(member, 1) == [(0, 0, b"a")]
