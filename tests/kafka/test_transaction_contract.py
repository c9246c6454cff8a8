"""What every owner of transactions keeps to: the real one on real Kafka, and the fake that other tests build on."""

import pytest

from consumer.kafka.errors import TransactionAborted, TransactionLost
from tests.kafka.stage import Listened, Stage
from tests.support.fakes import Published


def test_records_and_offsets_are_seen_together_and_only_after_the_commit(stage: Stage) -> None:
    owner, metadata = stage.owner(), stage.metadata()
    owner.produce_all(stage.output, [(b"a", b"1"), (b"b", None), (b"a", b"2")])
    owner.produce(stage.output, None, b"3", [("reason", b"why"), ("none", None)])
    owner.produce_with_headers(stage.output, [(b"b", b"4", [("reason", b"why")]), (b"a", None, [])])
    assert (stage.published(), stage.committed()) == ([], {})

    owner.commit({(stage.topic, 0): 7, (stage.topic, 1): 0}, metadata)

    assert stage.published() == [
        Published(stage.output, b"a", b"1"),
        Published(stage.output, b"b", None),
        Published(stage.output, b"a", b"2"),
        Published(stage.output, None, b"3", (("reason", b"why"), ("none", None))),
        Published(stage.output, b"b", b"4", (("reason", b"why"),)),
        Published(stage.output, b"a", None),
    ]
    assert stage.committed() == {0: 7, 1: 0}


def test_offsets_alone_can_be_committed_and_others_stay(stage: Stage) -> None:
    owner, metadata = stage.owner(), stage.metadata()
    owner.commit({(stage.topic, 0): 3, (stage.topic, 1): 4}, metadata)
    owner.commit({(stage.topic, 1): 5}, metadata)
    assert stage.committed() == {0: 3, 1: 5}


def test_what_is_aborted_is_never_seen_and_the_next_transaction_is_as_good(stage: Stage) -> None:
    listened = Listened()
    owner, metadata = stage.owner(listener=listened), stage.metadata()
    owner.produce(stage.output, b"a", b"taken back")
    owner.abort()
    owner.abort()
    owner.produce(stage.output, b"a", b"kept")
    owner.commit({(stage.topic, 0): 1}, metadata)
    assert [each.value for each in stage.published()] == [b"kept"]
    assert listened.heard == [("aborted", "requested"), ("committed", "")]


@pytest.mark.parametrize("offsets", [{}, {0: -1001}, {0: 5, 1: -1}])
def test_a_commit_without_valid_offsets_is_refused_since_nobody_could_fence_it(
    stage: Stage, offsets: dict[int, int]
) -> None:
    owner = stage.owner()
    with pytest.raises(ValueError, match="offsets"):
        owner.commit({(stage.topic, partition): offset for partition, offset in offsets.items()}, b"any")


def test_a_commit_from_before_a_rebalance_is_aborted_and_goes_through_with_fresh_metadata(stage: Stage) -> None:
    listened = Listened()
    owner, stale = stage.owner(listener=listened), stage.stale_metadata()
    owner.produce(stage.output, b"a", b"1")
    with pytest.raises(TransactionAborted) as aborted:
        owner.commit({(stage.topic, 0): 1}, stale)
    assert aborted.value.error == "ILLEGAL_GENERATION"
    assert (stage.published(), stage.committed()) == ([], {})

    owner.produce(stage.output, b"a", b"1")
    owner.commit({(stage.topic, 0): 1}, stage.metadata())
    assert [each.value for each in stage.published()] == [b"1"]
    assert listened.heard == [("aborted", "ILLEGAL_GENERATION"), ("committed", "")]


def test_an_owner_is_lost_once_another_has_its_name_and_takes_the_name_back_when_used(stage: Stage) -> None:
    listened = Listened()
    owner, metadata = stage.owner(listener=listened), stage.metadata()
    owner.init()
    owner.produce(stage.output, b"a", b"of a zombie")
    stage.owner().init()
    with pytest.raises(TransactionLost) as lost:
        owner.commit({(stage.topic, 0): 1}, metadata)
    assert lost.value.error == "_FENCED"
    assert not owner.ready

    owner.produce(stage.output, b"a", b"2")
    owner.commit({(stage.topic, 0): 2}, metadata)
    assert [each.value for each in stage.published()] == [b"2"]
    assert stage.committed() == {0: 2}
    assert listened.heard == [("lost", "_FENCED"), ("committed", "")]


def test_closing_takes_back_what_is_open(stage: Stage) -> None:
    owner, metadata = stage.owner(), stage.metadata()
    owner.produce(stage.output, b"a", b"unfinished")
    owner.close()
    after = stage.owner()
    after.produce(stage.output, b"a", b"1")
    after.commit({(stage.topic, 0): 1}, metadata)
    assert [each.value for each in stage.published()] == [b"1"]
