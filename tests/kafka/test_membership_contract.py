"""What every membership keeps to: the real one on real Kafka, and the fake that other tests build on."""

import threading
from collections.abc import Sequence

import pytest

from tests.kafka.stage import Stage, joined, read
from tests.support.fakes import RecordingHandler


def test_what_a_handler_raises_comes_out_of_poll_and_no_message_is_lost_with_it(stage: Stage) -> None:
    stage.write(0, b"a", b"b")
    handler = RecordingHandler()
    handler.failure = RuntimeError("no state for it")
    member = stage.input(handler)
    with pytest.raises(RuntimeError, match="no state for it"):
        joined(member)
    assert read(joined(member), 2) == [(0, 0, b"a"), (0, 1, b"b")]


def test_closing_revokes_what_is_owned_while_it_can_still_be_committed(stage: Stage) -> None:
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
