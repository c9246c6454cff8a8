"""Reading stored state from outside, on a real broker."""

import threading
from collections.abc import Iterator

import pytest

from consumer.errors import ViewerConsumerError
from consumer.kafka.admin.exclusive_member import ExclusiveMember
from consumer.kafka.admin.state_reader import PartitionBounds, Record, StateReader
from consumer.kafka.config import member_config
from consumer.kafka.errors import TransactionAborted
from consumer.kafka.group_member import GroupMember
from consumer.kafka.timeouts import TIMEOUTS
from consumer.settings.model import Settings
from tests.kafka.stage import PARTITIONS, PROTOCOLS, KafkaStage, joined
from tests.support.fakes import RecordingHandler
from tests.support.topics import ends
from tests.support.waiting import until

by_both_protocols = pytest.mark.parametrize("protocol", PROTOCOLS)


@pytest.fixture
def settings(kafka_stage: KafkaStage) -> Settings:
    """The output topic of the stage is the state topic here."""
    settings = kafka_stage.settings()
    names = {"input_topic": kafka_stage.topic, "state_topic": kafka_stage.output}
    return settings.model_copy(update={"kafka": settings.kafka.model_copy(update=names)})


@pytest.fixture
def state(settings: Settings) -> Iterator[StateReader]:
    stored = StateReader(settings)
    yield stored
    stored.close()


def records(state: StateReader) -> list[Record]:
    return [record for batch in state.records(0) for record in batch]


def in_the_topic(stage: KafkaStage, offset: int) -> None:
    until(lambda: ends(stage.bootstrap_servers, stage.output)[0] >= offset, f"the topic ends at offset {offset}")


def test_an_empty_topic_holds_no_state(state: StateReader) -> None:
    assert records(state) == []
    assert state.bounds(0) == PartitionBounds(None, 0, 0)
    assert state.members() == []


def test_only_records_of_committed_transactions_are_read(kafka_stage: KafkaStage, state: StateReader) -> None:
    #  a  marker  b (rolled back)  marker  c, tombstone of a  marker
    writer = kafka_stage.owner()
    writer.produce(kafka_stage.output, b"a", b"1", partition=0)
    writer.commit({(kafka_stage.topic, 0): 1}, kafka_stage.metadata())
    writer.produce(kafka_stage.output, b"b", b"2", partition=0)
    in_the_topic(kafka_stage, 3)
    writer.abort()
    writer.produce_all(kafka_stage.output, [(b"c", b"3"), (b"a", None)], 0)
    writer.commit({(kafka_stage.topic, 0): 1}, kafka_stage.metadata())
    assert records(state) == [(b"a", b"1"), (b"c", b"3"), (b"a", None)]
    assert state.committed(0) == 1
    assert records(state) == [(b"a", b"1"), (b"c", b"3"), (b"a", None)]


def test_an_open_transaction_is_waited_for_and_read_completely(kafka_stage: KafkaStage, state: StateReader) -> None:
    #  writer    a ────────────── b, commit
    #  reader         begins ─ ─ ─ ─ ─ ─ ─ ─ a, b
    writer, metadata = kafka_stage.owner(), kafka_stage.metadata()
    writer.produce(kafka_stage.output, b"a", b"1", partition=0)
    in_the_topic(kafka_stage, 1)
    read: list[Record] = []
    reader = threading.Thread(target=lambda: read.extend(records(state)))
    reader.start()
    writer.produce(kafka_stage.output, b"b", b"2", partition=0)
    in_the_topic(kafka_stage, 2)
    assert read == []
    writer.commit({(kafka_stage.topic, 0): 1}, metadata)
    reader.join(30)
    assert not reader.is_alive()
    assert read == [(b"a", b"1"), (b"b", b"2")]


def test_a_transaction_that_stays_open_is_an_error_after_a_limit(kafka_stage: KafkaStage, settings: Settings) -> None:
    writer = kafka_stage.owner()
    writer.produce(kafka_stage.output, b"a", b"1", partition=0)
    in_the_topic(kafka_stage, 1)
    state = StateReader(settings, TIMEOUTS._replace(state_s=6.0))  # a busy broker answers within this
    with pytest.raises(ViewerConsumerError, match=r"^output-.*-0: a transaction stays open; "):
        records(state)
    state.close()


def test_group_members_are_named_while_they_exist(kafka_stage: KafkaStage, settings: Settings) -> None:
    state = StateReader(settings)
    member = joined(kafka_stage.input(RecordingHandler()))
    (found,) = state.members()
    assert found.client_id == "viewer-consumer"
    assert found.host
    member.close()
    until(lambda: state.members() == [], "the group has no members")
    state.close()


def test_unavailable_brokers_are_a_one_line_error(settings: Settings) -> None:
    away = settings.model_copy(update={"kafka": settings.kafka.model_copy(update={"bootstrap_servers": "127.0.0.1:1"})})
    state = StateReader(away, TIMEOUTS._replace(state_s=0.5))
    for ask in (lambda: state.committed(0), lambda: records(state), state.members):
        with pytest.raises(ViewerConsumerError, match=r"^can't look up .* on 127\.0\.0\.1:1: .*$"):
            ask()
    state.close()


@by_both_protocols
def test_a_sole_member_commits_for_all_partitions(kafka_stage: KafkaStage, settings: Settings) -> None:
    with ExclusiveMember(settings, range(PARTITIONS)) as member:
        kafka_stage.owner().commit(
            {(kafka_stage.topic, partition): 5 for partition in range(PARTITIONS)}, member.group_metadata()
        )
    assert kafka_stage.committed() == dict.fromkeys(range(PARTITIONS), 5)


@by_both_protocols
def test_a_commit_is_refused_once_another_member_has_joined(kafka_stage: KafkaStage, settings: Settings) -> None:
    #  sole member   joins ─── metadata ────────────────── commit: refused ─── metadata: refused
    #  a worker                          joins, is served
    with ExclusiveMember(settings, range(PARTITIONS)) as member:
        metadata = member.group_metadata()
        worker = GroupMember(member_config(settings), kafka_stage.topic, RecordingHandler())
        worker.subscribe()
        refusals: list[str] = []

        def refused() -> bool:
            worker.poll(0.05)
            try:
                member.group_metadata()
            except ViewerConsumerError as error:
                refusals.append(str(error))
            return bool(refusals and worker.assignment)

        until(refused, "the member notices that it is not alone, and the worker has a partition")
        assert set(refusals) == {
            f'somebody has joined group "{settings.kafka.group_id}" meanwhile; stop its workers first'
        }
        with pytest.raises(TransactionAborted):
            kafka_stage.owner().commit({(kafka_stage.topic, each): 5 for each in range(PARTITIONS)}, metadata)
        worker.close()


@by_both_protocols
def test_partitions_of_other_members_are_not_taken_from_them(kafka_stage: KafkaStage, settings: Settings) -> None:
    joined(kafka_stage.input(RecordingHandler()))
    with (
        pytest.raises(ViewerConsumerError, match="stop its workers first"),
        ExclusiveMember(settings, [0, 1], timeouts=TIMEOUTS._replace(join_s=5.0)),
    ):
        pass
