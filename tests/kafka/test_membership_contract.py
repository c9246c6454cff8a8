"""The contract of group membership, on real Kafka and on the fake that other tests use."""

import threading
from collections.abc import Sequence

import pytest

from tests.kafka.stage import Stage, joined, read
from tests.support.fakes import RecordingHandler

pytestmark = pytest.mark.parametrize(
    "stage", ["fake", "kafka", "kafka by messages", "kafka by the consumer protocol"], indirect=True
)


def test_poll_raises_an_exception_of_a_handler_and_loses_no_message(stage: Stage) -> None:
    stage.write(0, b"a", b"b")
    handler = RecordingHandler()
    handler.failure = RuntimeError("no state for it")
    member = stage.input(handler)
    with pytest.raises(RuntimeError, match="no state for it"):
        joined(member)
    assert read(joined(member), 2) == [(0, 0, b"a"), (0, 1, b"b")]


def test_closing_revokes_owned_partitions_while_they_can_still_be_committed(stage: Stage) -> None:
    stage.write(0, b"a")
    owner = stage.owner()

    class Committing(RecordingHandler):
        def on_revoked(self, partitions: Sequence[int]) -> None:
            assert threading.current_thread() is threading.main_thread(), "a producer is used by one thread"
            metadata = member.group_metadata()
            assert metadata is not None
            owner.commit({(stage.topic, 0): 1}, metadata)
            super().on_revoked(partitions)

    handler = Committing()
    member = joined(stage.input(handler))
    read(member, 1)
    member.close()
    assert handler.heard == [("assigned", (0, 1)), ("revoked", (0, 1))]
    assert stage.committed() == {0: 1}
    assert member.assignment == frozenset()
