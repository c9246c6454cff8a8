"""What every input keeps to: the real one on real Kafka, and the fake that other tests build on."""

from collections.abc import Sequence

import pytest

from consumer.kafka.interface import Input, PartitionStart
from tests.kafka.stage import Stage, joined
from tests.support.fakes import RecordingHandler
from tests.support.waiting import until


def read(member: Input, count: int) -> list[tuple[int, int, bytes]]:
    """The next so many, as (partition, offset, value), by partition."""
    records: list[tuple[int, int, bytes]] = []

    def enough() -> bool:
        batch = member.poll(100, 0.05)
        records.extend((each.partition() or 0, each.offset() or 0, each.value() or b"") for each in batch)
        return len(records) >= count

    until(enough, f"{count} records are read")
    return sorted(records)


def test_without_committed_offsets_earliest_reads_from_the_start(stage: Stage) -> None:
    stage.write(0, b"a", b"b")
    stage.write(1, b"c")
    handler = RecordingHandler()
    member = stage.input(handler)
    assert read(member, 3) == [(0, 0, b"a"), (0, 1, b"b"), (1, 0, b"c")]
    assert handler.heard == [("assigned", (0, 1))]
    assert handler.starts == {0: PartitionStart(0, 0, committed=False), 1: PartitionStart(1, 0, committed=False)}
    assert member.end_offsets() == {0: 2, 1: 1}


def test_without_committed_offsets_latest_reads_only_what_comes(stage: Stage) -> None:
    stage.write(0, b"a", b"b")
    handler = RecordingHandler()
    member = joined(stage.input(handler, start="latest"))
    assert handler.starts == {0: PartitionStart(0, 2, committed=False), 1: PartitionStart(1, 0, committed=False)}
    stage.write(0, b"c")
    assert read(member, 1) == [(0, 2, b"c")]


def test_committed_offsets_rule_whatever_the_start(stage: Stage) -> None:
    stage.write(0, b"a", b"b", b"c")
    stage.owner().commit({(stage.topic, 0): 2}, stage.metadata())
    stage.close_metadata_member()
    handler = RecordingHandler()
    member = stage.input(handler, start="latest")
    assert read(member, 1) == [(0, 2, b"c")]
    assert handler.starts[0] == PartitionStart(0, 2, committed=True)


def test_a_rewound_input_reads_again_from_what_is_committed(stage: Stage) -> None:
    stage.write(0, b"a", b"b", b"c")
    stage.write(1, b"d")
    member = stage.input(RecordingHandler())
    read(member, 4)
    metadata = member.group_metadata()
    assert metadata is not None
    stage.owner().commit({(stage.topic, 0): 1}, metadata)
    assert sorted(member.rewind()) == [PartitionStart(0, 1, committed=True), PartitionStart(1, 0, committed=False)]
    assert read(member, 3) == [(0, 1, b"b"), (0, 2, b"c"), (1, 0, b"d")]


def test_a_paused_partition_keeps_quiet_until_it_is_resumed(stage: Stage) -> None:
    member = joined(stage.input(RecordingHandler()))
    member.pause([0])
    stage.write(0, b"a")
    stage.write(1, b"b")
    assert read(member, 1) == [(1, 0, b"b")]
    assert member.poll(10, 0.1) == []
    member.resume([0])
    assert read(member, 1) == [(0, 0, b"a")]


def test_what_a_handler_raises_comes_out_of_poll_and_no_message_is_lost_with_it(stage: Stage) -> None:
    stage.write(0, b"a", b"b")
    handler = RecordingHandler()
    handler.failure = RuntimeError("no state for it")
    member = stage.input(handler)
    with pytest.raises(RuntimeError, match="no state for it"):
        joined(member)
    assert read(member, 2) == [(0, 0, b"a"), (0, 1, b"b")]


def test_closing_revokes_what_is_owned_while_it_can_still_be_committed(stage: Stage) -> None:
    stage.write(0, b"a")
    owner = stage.owner()

    class Committing(RecordingHandler):
        def on_revoked(self, partitions: Sequence[int]) -> None:
            metadata = member.group_metadata()
            assert metadata is not None
            owner.commit({(stage.topic, 0): 1}, metadata)
            super().on_revoked(partitions)

    handler = Committing()
    member = stage.input(handler)
    read(member, 1)
    member.close()
    assert handler.heard == [("assigned", (0, 1)), ("revoked", (0, 1))]
    assert stage.committed() == {0: 1}
    assert member.assignment == frozenset()
