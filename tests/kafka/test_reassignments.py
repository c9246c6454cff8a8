"""What was fetched under an assignment that is over is dropped, on scripted clients and on the fake."""

import contextlib
from collections.abc import Callable, Iterable, Sequence
from types import SimpleNamespace
from typing import Any, cast

import pytest
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from consumer.errors import ViewerConsumerError
from consumer.kafka.batch import Batch
from consumer.kafka.brokers import BrokerWatch
from consumer.kafka.config import member_config
from consumer.kafka.group_member import GroupMember
from consumer.kafka.live_input import LiveInput, ReadingHandler
from consumer.kafka.message_reader import MessageReader
from consumer.kafka.protocols import Input
from consumer.settings.model import KafkaSettings, Settings
from tests.support.fakes import FakeCluster, FakeInputConsumer, RecordingHandler

TOPIC = "viewer-events"


def message(partition: int, offset: int, code: int | None = None) -> Message:
    error = None if code is None else KafkaError(code)
    return Message(topic=TOPIC, partition=partition, offset=offset, value=b"x", error=error)


class ScriptedMember:
    """Runs the callbacks of the next poll, then returns its messages."""

    def __init__(self) -> None:
        self.callbacks: list[tuple[str, tuple[int, ...]]] = []
        self.messages: list[Message] = []
        self.calls: dict[str, Callable[[Any, list[TopicPartition]], None]] = {}
        self.epoch = 1
        self.epoch_in_poll = 0
        """If not 0, it comes while the next poll runs."""
        self.topic_is_there: bool | None = True

    def subscribe(self, _topics: list[str], on_assign: Any, on_revoke: Any, on_lost: Any) -> None:
        self.calls = {"assign": on_assign, "revoke": on_revoke, "lose": on_lost}

    def poll(self, _timeout_s: float) -> Message | None:
        callbacks, self.callbacks = self.callbacks, []
        for what, partitions in callbacks:
            self.calls[what](self, [TopicPartition(TOPIC, each) for each in partitions])
        self.epoch, self.epoch_in_poll = self.epoch_in_poll or self.epoch, 0
        return self.messages.pop(0) if self.messages else None

    def list_topics(self, topic: str, _timeout_s: float) -> Any:
        if self.topic_is_there is None:
            raise KafkaException(KafkaError(KafkaError._TIMED_OUT))
        error = None if self.topic_is_there else UNKNOWN
        return SimpleNamespace(topics={topic: SimpleNamespace(error=error)})

    def consumer_group_metadata(self) -> bytes:
        return b"CGMDv2:" + self.epoch.to_bytes(4, "little") + b"group\0member\0\0"

    def incremental_assign(self, places: Sequence[TopicPartition]) -> None: ...

    def incremental_unassign(self, places: Sequence[TopicPartition]) -> None: ...

    def pause(self, places: Iterable[TopicPartition]) -> None: ...


class ScriptedFetches:
    """Returns what was fetched of the partitions that are assigned; of others it is dropped, as by the library."""

    def __init__(self) -> None:
        self.fetched: list[Message] = []
        self._assigned: set[int | None] = set()

    def consume(self, _most: int, _timeout_s: float) -> list[Message]:
        fetched, self.fetched = self.fetched, []
        return fetched

    def incremental_assign(self, places: Sequence[TopicPartition]) -> None:
        (place,) = places
        assert place.partition not in self._assigned
        self._assigned.add(place.partition)

    def incremental_unassign(self, places: Sequence[TopicPartition]) -> None:
        (place,) = places
        self._assigned.remove(place.partition)
        self.fetched = [each for each in self.fetched if each.partition() != place.partition]

    def close(self) -> None: ...


class OnScript:
    """The real `LiveInput` over scripted clients."""

    def __init__(self, handler: RecordingHandler, protocol: str = "classic") -> None:
        settings = Settings(kafka=KafkaSettings(client={"group.protocol": protocol}))
        self.fetches: Any = ScriptedFetches()
        reader = MessageReader(lambda: cast("Consumer", self.fetches))
        brokers = BrokerWatch("here:9092", TOPIC)
        self.now_s = 0.0
        behind = ReadingHandler(handler, reader, TOPIC)
        member: Any = GroupMember(member_config(settings), TOPIC, behind, brokers, clock=lambda: self.now_s)
        member._consumer.close()
        self.client = member._consumer = ScriptedMember()
        self.input: Input = LiveInput(member, reader, brokers, TOPIC, "here:9092")
        self.input.subscribe()

    def change(self, what: str, *partitions: int) -> None:
        """In the next poll."""
        self.client.callbacks.append((what, partitions))

    def fetched(self, partition: int, *offsets: int) -> None:
        self.fetches.fetched += [message(partition, offset) for offset in offsets]


class OnFake:
    def __init__(self, handler: RecordingHandler) -> None:
        self.cluster = FakeCluster(TOPIC, partitions=2)
        self._made = FakeInputConsumer(self.cluster, handler)
        self.input: Input = self._made

    def change(self, what: str, *partitions: int) -> None:
        getattr(self._made, what)(*partitions)

    def fetched(self, partition: int, *offsets: int) -> None:
        while len(self.cluster.log[partition]) <= max(offsets):
            self.cluster.write(partition, b"x")


@pytest.fixture
def handler() -> RecordingHandler:
    return RecordingHandler()


@pytest.fixture(params=[OnScript, OnFake])
def member(request: pytest.FixtureRequest, handler: RecordingHandler) -> OnScript | OnFake:
    """It owns both partitions, and reads them from the start."""
    made: OnScript | OnFake = request.param(handler)
    made.change("assign", 0, 1)
    assert not len(made.input.poll(10, 0.0))
    for partition in (0, 1):
        made.input.begin(partition, 0)
    return made


def places(batch: Batch) -> list[tuple[int, int]]:
    return [(each.partition, each.offset) for each in batch.records(0, len(batch))]


@pytest.mark.parametrize("how", ["revoke", "lose"])
def test_of_a_partition_that_goes_and_comes_back_nothing_fetched_before_is_returned(
    member: OnScript | OnFake, how: str
) -> None:
    member.fetched(0, 0, 1, 2)
    member.fetched(1, 0, 1)
    member.change(how, 0)
    member.change("assign", 0)
    assert places(member.input.poll(10, 0.0)) == [(1, 0), (1, 1)]
    member.input.begin(0, 1)
    member.fetched(0, 1, 2)
    assert places(member.input.poll(10, 0.0)) == [(0, 1), (0, 2)]


def test_nothing_of_a_revoked_partition_is_returned(member: OnScript | OnFake) -> None:
    member.fetched(0, 0)
    member.fetched(1, 0)
    member.change("revoke", 0)
    assert places(member.input.poll(10, 0.0)) == [(1, 0)]


def test_what_is_kept_while_a_handler_fails_is_of_the_present_assignment(
    member: OnScript | OnFake, handler: RecordingHandler
) -> None:
    member.fetched(0, 0, 1)
    member.fetched(1, 0)
    handler.failure = RuntimeError("no state for it")
    member.change("revoke", 0)
    member.change("assign", 0)
    with pytest.raises(RuntimeError, match="no state for it"):
        member.input.poll(10, 0.0)
    if 0 not in member.input.assignment:  # the fake goes on with the changes in the next poll
        assert places(member.input.poll(10, 0.0)) == [(1, 0)]
        return
    member.input.begin(0, 0)
    assert places(member.input.poll(10, 0.0)) == [(1, 0)]


def test_ends_and_failures_of_an_assignment_that_is_over_are_dropped(handler: RecordingHandler) -> None:
    member = OnScript(handler)
    member.change("assign", 0, 1)
    member.input.poll(10, 0.0)
    member.input.begin(0, 0)
    member.input.begin(1, 0)
    eof, gone = KafkaError._PARTITION_EOF, KafkaError._AUTO_OFFSET_RESET
    member.fetches.fetched = [message(0, 7, eof), message(1, 3, gone), message(1, 9, eof)]
    member.change("revoke", 0, 1)
    member.change("assign", 0, 1)
    assert not len(member.input.poll(10, 0.0))
    assert (member.input.last_seen_end(0), member.input.pop_failures()) == (0, {})
    member.input.begin(0, 0)
    member.fetches.fetched = [message(0, 8, eof)]
    assert not len(member.input.poll(10, 0.0))
    assert member.input.last_seen_end(0) == 8
    member.change("revoke", 0)
    member.input.poll(10, 0.0)
    assert member.input.last_seen_end(0) == 0


def test_an_error_that_concerns_no_partition_stops_none(
    handler: RecordingHandler, caplog: pytest.LogCaptureFixture
) -> None:
    member: Any = OnScript(handler)
    member.change("assign", 0)
    member.client.messages = [message(0, 0, KafkaError._TRANSPORT)]
    assert not len(member.input.poll(10, 0.0))
    assert member.input.pop_failures() == {}
    assert "group viewer-consumer: " in caplog.text


def test_a_partition_that_the_brokers_do_not_know_fails_alone(handler: RecordingHandler) -> None:
    """It may have been added a moment ago, or the topic made again with fewer."""
    member = OnScript(handler)
    member.change("assign", 0, 1)
    member.client.messages = [message(1, 0, KafkaError._UNKNOWN_PARTITION)]
    member.input.poll(10, 0.0)
    for partition in (0, 1):
        member.input.begin(partition, 0)
    member.fetches.fetched = [message(1, 0, KafkaError._UNKNOWN_PARTITION), message(0, 0)]
    assert places(member.input.poll(10, 0.0)) == [(0, 0)]
    (reason,) = member.input.pop_failures().items()
    assert reason[0] == 1
    assert reason[1].startswith("viewer-events-1: the brokers do not know this partition")


UNKNOWN = KafkaError(
    KafkaError.UNKNOWN_TOPIC_OR_PART, "Failed to query logical offset BEGINNING: Broker: Unknown topic or partition"
)


@pytest.mark.parametrize(("there", "ends"), [(True, False), (False, True), (None, False)])
def test_a_topic_that_is_unknown_for_a_moment_ends_nothing(
    handler: RecordingHandler, there: bool | None, *, ends: bool
) -> None:
    """It was created again meanwhile, or a broker was just made a leader; with None, no broker answers."""
    member = OnScript(handler)
    member.change("assign", 0)
    member.client.messages = [Message(topic=TOPIC, partition=0, error=UNKNOWN)]
    member.input.poll(10, 0.0)
    member.client.topic_is_there = there
    member.now_s += 4.9
    member.input.poll(10, 0.0)
    member.now_s += 0.2
    with pytest.raises(ViewerConsumerError, match="not there any more") if ends else contextlib.nullcontext():
        member.input.poll(10, 0.0)


class TestEpochs:
    """A member's epoch, which comes with a callback or, under KIP-848, without one."""

    @pytest.fixture
    def script(self) -> OnScript:
        script = OnScript(RecordingHandler(), "consumer")
        script.change("assign", 0, 1)
        script.input.poll(1, 0)
        return script

    def test_one_that_came_without_a_callback_is_taken_over_by_the_next_poll(self, script: OnScript) -> None:
        script.client.epoch = 2
        assert script.input.group_metadata() is None
        script.input.poll(1, 0)
        assert script.input.group_metadata() == script.client.consumer_group_metadata()

    def test_one_that_came_in_the_poll_waits_for_the_next_one(self, script: OnScript) -> None:
        """Its callbacks may be waiting still."""
        script.client.epoch_in_poll = 2
        script.input.poll(1, 0)
        assert script.input.group_metadata() is None
        script.input.poll(1, 0)
        assert script.input.group_metadata() is not None

    def test_one_that_came_before_partitions_were_lost_is_not_taken_over(self, script: OnScript) -> None:
        script.client.epoch = 2
        script.change("lose", 0, 1)
        script.input.poll(1, 0)
        assert script.input.group_metadata() is None
        script.input.poll(1, 0)
        assert script.input.group_metadata() is None, "it owns nothing"

    def test_zero_is_none(self, script: OnScript) -> None:
        """A member that joins has it: it was expelled, or has left."""
        script.client.epoch = 0
        for _ in range(2):
            script.input.poll(1, 0)
            assert script.input.group_metadata() is None

    def test_behind_an_error_that_waits_for_the_next_poll_callbacks_may_wait_too(self, script: OnScript) -> None:
        script.client.epoch = 2
        script.client.messages = [message(-1, 0, KafkaError._ALL_BROKERS_DOWN) for _ in range(101)]
        script.input.poll(1, 0)
        assert script.input.group_metadata() is None

    def test_by_the_classic_protocol_a_generation_without_a_callback_ends_commits(self) -> None:
        script = OnScript(RecordingHandler())
        script.change("assign", 0, 1)
        script.input.poll(1, 0)
        script.client.epoch = 2
        script.input.poll(1, 0)
        assert script.input.group_metadata() is None
