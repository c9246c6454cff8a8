"""Errors that a broker answers with, request by request, through the real client library and librdkafka's mock cluster.

Which of them it retries by itself is its own affair; here stands what the owner makes of those that it lets out.
"""

import ctypes
import sys
import time
from collections.abc import Callable, Iterator

import pytest
from confluent_kafka import KafkaError, KafkaException

from consumer.errors import ViewerConsumerError
from consumer.kafka.c_producer import CProducer
from consumer.kafka.clients import DeliveryReport, LastClientError, make_producer
from consumer.kafka.config import ClientConfig, producer_config
from consumer.kafka.errors import TransactionAborted, TransactionLost
from consumer.kafka.failure_budget import FENCE_WINDOW_S, FENCES_ALLOWED
from consumer.kafka.mock_cluster import MockCluster
from consumer.kafka.producers import TransactionalProducer
from consumer.kafka.transaction import TransactionOwner
from consumer.runtime.record_columns import record_columns
from consumer.settings.model import KafkaSettings, Settings
from tests.kafka.stage import OutcomeLog
from tests.support.waiting import until

PRODUCE, ADD_PARTITIONS, ADD_OFFSETS, END, COMMIT_OFFSETS = 0, 24, 25, 26, 28
"""Kafka's numbers of requests."""

MakeProducer = Callable[[ClientConfig, LastClientError, DeliveryReport], TransactionalProducer]

COLUMNS = record_columns([(b"key", b"value", [("why", b"not")])])

METADATA = b"CGMDv2:" + (1).to_bytes(4, sys.byteorder) + b"group\0member\0\1"


class Stage:
    """One cluster and one owner for all tests here; each test ends with a successful transaction."""

    def __init__(self, cluster: MockCluster, make: MakeProducer) -> None:
        self._cluster = cluster
        self._ahead_s = 0.0
        cluster.create_topic("input", 1)
        cluster.create_topic("output", 1)
        settings = Settings(kafka=KafkaSettings(bootstrap_servers=cluster.bootstrap_servers, group_id="group"))
        self.outcomes = OutcomeLog()
        self.owner = TransactionOwner(
            producer_config(settings, "one"), self.outcomes, clock=lambda: time.monotonic() + self._ahead_s, make=make
        )

    def reset(self) -> None:
        self._ahead_s += FENCE_WINDOW_S
        self.publish()
        self.outcomes.entries.clear()

    def answer(self, request: int, *errors: int, late_ms: int = 0) -> None:
        """Answer the next requests with these errors, and so late."""
        answers = [ctypes.c_int(each) for error in errors for each in (error, late_ms)]
        self._cluster.functions.rd_kafka_mock_broker_push_request_error_rtts(
            *(ctypes.c_void_p(self._cluster.handle), ctypes.c_int32(1), ctypes.c_int16(request)),
            *(ctypes.c_size_t(len(errors)), *answers),
        )

    def publish(self) -> None:
        self.owner.produce("output", b"key", b"value")
        self.owner.produce_columns("output", COLUMNS)
        self.owner.commit({("input", 0): 1}, METADATA)


@pytest.fixture(scope="module", params=[CProducer, make_producer], ids=["c", "binding"])
def built(request: pytest.FixtureRequest) -> Iterator[Stage]:
    cluster = MockCluster()
    stage = Stage(cluster, request.param)
    yield stage
    stage.owner.close()
    cluster.close()


@pytest.fixture
def stage(built: Stage) -> Stage:
    built.reset()
    return built


@pytest.mark.parametrize(
    ("request_number", "code"),
    [
        (PRODUCE, KafkaError.NOT_LEADER_FOR_PARTITION),
        (PRODUCE, KafkaError.NOT_ENOUGH_REPLICAS),
        (ADD_PARTITIONS, KafkaError.CONCURRENT_TRANSACTIONS),
        (ADD_PARTITIONS, KafkaError.NOT_COORDINATOR),
        (ADD_OFFSETS, KafkaError.CONCURRENT_TRANSACTIONS),
        (COMMIT_OFFSETS, KafkaError.COORDINATOR_LOAD_IN_PROGRESS),
        (END, KafkaError.NOT_COORDINATOR),
        (END, KafkaError.COORDINATOR_LOAD_IN_PROGRESS),
    ],
)
def test_passing_errors_are_waited_for(stage: Stage, request_number: int, code: int) -> None:
    stage.answer(request_number, code, code)
    stage.publish()
    assert stage.outcomes.entries == [("committed", "")]


@pytest.mark.parametrize(
    ("request_number", "code"),
    [
        (PRODUCE, KafkaError.MSG_SIZE_TOO_LARGE),
        (PRODUCE, KafkaError.INVALID_RECORD),
        (ADD_PARTITIONS, KafkaError.INVALID_PRODUCER_ID_MAPPING),
        (ADD_OFFSETS, KafkaError.INVALID_PRODUCER_ID_MAPPING),
        (COMMIT_OFFSETS, KafkaError.ILLEGAL_GENERATION),
        (COMMIT_OFFSETS, KafkaError.UNKNOWN_MEMBER_ID),
        (COMMIT_OFFSETS, KafkaError.FENCED_INSTANCE_ID),
        (COMMIT_OFFSETS, KafkaError.REBALANCE_IN_PROGRESS),
        (END, KafkaError.TRANSACTION_ABORTABLE),
    ],
)
def test_a_transaction_that_is_certainly_not_committed_is_aborted_and_sent_again(
    stage: Stage, request_number: int, code: int
) -> None:
    stage.answer(request_number, code)
    with pytest.raises(TransactionAborted):
        stage.publish()
    stage.publish()
    assert [what for what, _ in stage.outcomes.entries] == ["aborted", "committed"]


@pytest.mark.parametrize(
    ("request_number", "code"),
    [
        (PRODUCE, KafkaError.INVALID_PRODUCER_EPOCH),
        (ADD_PARTITIONS, KafkaError.INVALID_PRODUCER_EPOCH),
        (ADD_PARTITIONS, KafkaError.INVALID_TXN_STATE),
        (ADD_OFFSETS, KafkaError.PRODUCER_FENCED),
        (COMMIT_OFFSETS, KafkaError.INVALID_PRODUCER_EPOCH),
        (END, KafkaError.PRODUCER_FENCED),
        (END, KafkaError.INVALID_TXN_STATE),
    ],
)
def test_errors_that_leave_the_outcome_unknown_take_a_new_producer(
    stage: Stage, request_number: int, code: int
) -> None:
    stage.answer(request_number, code)
    with pytest.raises(TransactionLost):
        stage.publish()
    assert not stage.owner.ready
    stage.publish()
    assert [what for what, _ in stage.outcomes.entries] == ["lost", "committed"]


@pytest.mark.parametrize(
    ("request_number", "code"),
    [
        (PRODUCE, KafkaError.TOPIC_AUTHORIZATION_FAILED),
        (ADD_PARTITIONS, KafkaError.TOPIC_AUTHORIZATION_FAILED),
        (ADD_PARTITIONS, KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED),
        (ADD_OFFSETS, KafkaError.GROUP_AUTHORIZATION_FAILED),
        (COMMIT_OFFSETS, KafkaError.TOPIC_AUTHORIZATION_FAILED),
    ],
)
def test_missing_rights_stop_the_worker(stage: Stage, request_number: int, code: int) -> None:
    stage.answer(request_number, code)
    with pytest.raises(ViewerConsumerError, match="its permissions"):
        stage.publish()


def test_a_missing_right_that_is_answered_while_offsets_are_sent_stops_the_worker(stage: Stage) -> None:
    stage.answer(ADD_PARTITIONS, KafkaError.TOPIC_AUTHORIZATION_FAILED, late_ms=300)
    with pytest.raises(ViewerConsumerError, match="its permissions"):
        stage.publish()


def test_fences_that_a_record_meets_first_are_counted_as_fences(stage: Stage) -> None:
    for _ in range(FENCES_ALLOWED - 1):
        with pytest.raises(TransactionLost, match="_FENCED"):
            fenced_before_a_record(stage)
        stage.publish()
    with pytest.raises(ViewerConsumerError, match="another process publishes as"):
        fenced_before_a_record(stage)


def fenced_before_a_record(stage: Stage) -> None:
    """The broker refuses the first record; the client library then refuses the second one with a general error."""
    stage.answer(PRODUCE, KafkaError.INVALID_PRODUCER_EPOCH)
    stage.owner.produce("output", b"key", b"first")
    producer = stage.owner._producer
    assert producer is not None
    until(lambda: is_refused(producer), "the producer has failed")
    stage.owner._failed_delivery = None  # as if its report were still on its way
    stage.owner.produce("output", b"key", b"second")


def is_refused(producer: TransactionalProducer) -> bool:
    try:
        producer.begin_transaction()
    except KafkaException as error:
        return bool(error.args[0].fatal())
    return False
