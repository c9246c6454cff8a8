"""The contract of transaction owners, on real Kafka and on the fake that other tests use."""

import pytest

from consumer.kafka.errors import TransactionAborted, TransactionLost
from consumer.runtime.record_columns import record_columns
from tests.kafka.stage import OutcomeLog, Stage
from tests.support.fakes import Published


def test_records_and_offsets_become_visible_together_at_the_commit(stage: Stage) -> None:
    owner, metadata = stage.owner(), stage.metadata()
    owner.produce_all(stage.output, [(b"a", b"1"), (b"b", None), (b"a", b"2")])
    owner.produce(stage.output, None, b"3", [("reason", b"why"), ("none", None)])
    owner.produce_columns(stage.output, record_columns([(b"b", b"4", [("reason", b"why")]), (b"a", None, [])]))
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


def test_offsets_alone_can_be_committed_and_other_partitions_keep_theirs(stage: Stage) -> None:
    owner, metadata = stage.owner(), stage.metadata()
    owner.commit({(stage.topic, 0): 3, (stage.topic, 1): 4}, metadata)
    owner.commit({(stage.topic, 1): 5}, metadata)
    assert stage.committed() == {0: 3, 1: 5}


def test_aborted_records_are_never_visible_and_the_next_transaction_commits(stage: Stage) -> None:
    outcomes = OutcomeLog()
    owner, metadata = stage.owner(listener=outcomes), stage.metadata()
    owner.produce(stage.output, b"a", b"taken back")
    owner.abort()
    owner.abort()
    owner.produce(stage.output, b"a", b"kept")
    owner.commit({(stage.topic, 0): 1}, metadata)
    assert [each.value for each in stage.published()] == [b"kept"]
    assert outcomes.entries == [("aborted", "requested"), ("committed", "")]


@pytest.mark.parametrize("offsets", [{}, {0: -1001}, {0: 5, 1: -1}])
def test_a_commit_without_valid_offsets_is_refused_since_it_could_not_be_fenced(
    stage: Stage, offsets: dict[int, int]
) -> None:
    owner = stage.owner()
    with pytest.raises(ValueError, match="offsets"):
        owner.commit({(stage.topic, partition): offset for partition, offset in offsets.items()}, b"any")


def test_a_commit_from_before_a_rebalance_is_aborted_and_succeeds_with_fresh_metadata(stage: Stage) -> None:
    outcomes = OutcomeLog()
    owner, stale = stage.owner(listener=outcomes), stage.stale_metadata()
    owner.produce(stage.output, b"a", b"1")
    with pytest.raises(TransactionAborted) as aborted:
        owner.commit({(stage.topic, 0): 1}, stale)
    assert aborted.value.error == "ILLEGAL_GENERATION"
    assert (stage.published(), stage.committed()) == ([], {})

    owner.produce(stage.output, b"a", b"1")
    owner.commit({(stage.topic, 0): 1}, stage.metadata())
    assert [each.value for each in stage.published()] == [b"1"]
    assert outcomes.entries == [("aborted", "ILLEGAL_GENERATION"), ("committed", "")]


def test_an_owner_is_fenced_by_another_of_its_name_and_fences_it_when_used_again(stage: Stage) -> None:
    outcomes = OutcomeLog()
    owner, metadata = stage.owner(listener=outcomes), stage.metadata()
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
    assert outcomes.entries == [("lost", "_FENCED"), ("committed", "")]


def test_closing_aborts_the_open_transaction(stage: Stage) -> None:
    owner, metadata = stage.owner(), stage.metadata()
    owner.produce(stage.output, b"a", b"unfinished")
    owner.close()
    after = stage.owner()
    after.produce(stage.output, b"a", b"1")
    after.commit({(stage.topic, 0): 1}, metadata)
    assert [each.value for each in stage.published()] == [b"1"]


def test_a_producer_is_renewed_without_a_transaction(stage: Stage) -> None:
    owner = stage.owner()
    owner.renew()
    owner.renew()
    assert owner.ready
    assert stage.published() == []
