"""Every way in which a transactional call can fail, and what the owner does; its producer fails on demand."""

import itertools
import math
import threading
from collections.abc import Callable, Iterator
from typing import Any, cast

import pytest
from confluent_kafka import KafkaError, KafkaException

from consumer.errors import ViewerConsumerError
from consumer.kafka.clients import DeliveryReport, LastClientError
from consumer.kafka.config import ClientConfig
from consumer.kafka.errors import Outcome, TransactionAborted, TransactionLost, outcome_of, outcome_of_record
from consumer.kafka.failure_budget import FENCE_WINDOW_S, FENCES_ALLOWED, REFUSALS_ALLOWED
from consumer.kafka.producers import TransactionalProducer
from consumer.kafka.transaction import TimeLimits, TransactionOwner
from consumer.runtime.record_columns import RecordColumns, record_columns
from tests.kafka.stage import OutcomeLog

OFFSETS = {("input", 0): 5}
FIVE_SECONDS = TimeLimits(start_s=5, end_s=5, room_s=5)
CONFIG: ClientConfig = {"bootstrap.servers": "nowhere:1", "transactional.id": "group-one"}


def retriable(code: int = KafkaError._TIMED_OUT) -> KafkaError:
    return KafkaError(code, retriable=True)


def abortable(code: int = KafkaError.TRANSACTION_ABORTABLE) -> KafkaError:
    return KafkaError(code, txn_requires_abort=True)


def fatal(code: int = KafkaError._FENCED) -> KafkaError:
    return KafkaError(code, fatal=True)


def bare(code: int) -> KafkaError:
    return KafkaError(code)


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (retriable(), Outcome.RETRY),
        (retriable(KafkaError.COORDINATOR_LOAD_IN_PROGRESS), Outcome.RETRY),
        (abortable(), Outcome.ABORT),
        (abortable(KafkaError.ILLEGAL_GENERATION), Outcome.ABORT),
        (abortable(KafkaError.INVALID_PRODUCER_ID_MAPPING), Outcome.ABORT),
        (fatal(), Outcome.LOST),
        (fatal(KafkaError.INVALID_TXN_STATE), Outcome.LOST),
        (abortable(KafkaError._FENCED), Outcome.LOST),
        (bare(KafkaError._CONFLICT), Outcome.LOST),
        (bare(KafkaError._STATE), Outcome.LOST),
        (bare(KafkaError.UNKNOWN), Outcome.LOST),
        (fatal(KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED), Outcome.GIVE_UP),
        (abortable(KafkaError.TOPIC_AUTHORIZATION_FAILED), Outcome.GIVE_UP),
        (abortable(KafkaError.GROUP_AUTHORIZATION_FAILED), Outcome.GIVE_UP),
        # A token that could not be renewed: the log-in may work again.
        (abortable(KafkaError._AUTHENTICATION), Outcome.ABORT),
        (retriable(KafkaError._AUTHENTICATION), Outcome.RETRY),
        (bare(KafkaError.SASL_AUTHENTICATION_FAILED), Outcome.LOST),
        (bare(KafkaError.UNSUPPORTED_SASL_MECHANISM), Outcome.GIVE_UP),
        (bare(KafkaError._UNSUPPORTED_FEATURE), Outcome.GIVE_UP),
        (fatal(KafkaError.UNSUPPORTED_VERSION), Outcome.GIVE_UP),
    ],
)
def test_errors_of_calls_are_mapped_to_outcomes(error: KafkaError, outcome: Outcome) -> None:
    assert outcome_of(error) is outcome


@pytest.mark.parametrize(
    ("code", "outcome"),
    [
        (KafkaError.MSG_SIZE_TOO_LARGE, Outcome.ABORT),
        (KafkaError._MSG_TIMED_OUT, Outcome.ABORT),
        (KafkaError._STATE, Outcome.ABORT),
        (KafkaError.TOPIC_AUTHORIZATION_FAILED, Outcome.GIVE_UP),
        (KafkaError._FENCED, Outcome.LOST),
        (KafkaError.INVALID_PRODUCER_EPOCH, Outcome.LOST),
        (KafkaError._FATAL, Outcome.LOST),
        (KafkaError._AUTHENTICATION, Outcome.ABORT),
    ],
)
def test_errors_of_records_are_mapped_to_outcomes(code: int, outcome: Outcome) -> None:
    assert outcome_of_record(bare(code)) is outcome


class ScriptedProducers:
    """Creates producers whose calls fail as scripted, and records the calls of all of them."""

    def __init__(self, *, takes_columns: bool = False) -> None:
        self._takes_columns = takes_columns
        self.calls: list[str] = []
        self.script: dict[str, list[KafkaError | BaseException | None]] = {}
        self.made = 0
        self.time_s = 0.0
        self.outcomes = OutcomeLog()
        self.undelivered: KafkaError | None = None
        self.polls_before_report = 0
        self.hold = threading.Event()

    def fail(self, call: str, *errors: KafkaError | BaseException | None) -> None:
        """Let the next such calls end with these errors, one after the other; None is success."""
        self.script.setdefault(call, []).extend(errors)

    def owner(self, limits: TimeLimits = FIVE_SECONDS) -> TransactionOwner:
        return TransactionOwner(CONFIG, self.outcomes, limits, clock=lambda: self.time_s, make=self._make)

    def _make(
        self, config: ClientConfig, last_error: LastClientError, on_delivery: DeliveryReport
    ) -> TransactionalProducer:
        assert (config, last_error.error()) == (CONFIG, None)
        self.made += 1
        kind = ScriptedColumnProducer if self._takes_columns else ScriptedProducer
        return cast("TransactionalProducer", kind(self, on_delivery))

    def play(self, call: str) -> None:
        self.calls.append(call)
        waiting = self.script.get(call)
        error = waiting.pop(0) if waiting else None
        if isinstance(error, KafkaError):
            raise KafkaException(error)
        if error is not None:
            raise error


class ScriptedProducer:
    def __init__(self, producers: ScriptedProducers, on_delivery: DeliveryReport) -> None:
        self._producers = producers
        self._on_delivery = on_delivery

    def cluster_id(self, timeout: float) -> str:
        assert timeout > 0
        return "a cluster"

    def init_transactions(self, timeout: float) -> None:
        assert timeout > 0
        self._producers.play("init")

    def begin_transaction(self) -> None:
        self._producers.play("begin")

    def produce(self, *_: Any, **__: Any) -> None:
        self._producers.play("produce")

    def send_offsets_to_transaction(self, positions: Any, metadata: bytes, timeout: float) -> None:
        assert ([(each.topic, each.partition, each.offset) for each in positions], metadata) == (
            [("input", 0, 5)],
            b"metadata",
        )
        assert timeout > 0
        self._producers.play("offsets")

    def commit_transaction(self, timeout: float) -> None:
        assert timeout == -1, "with another timeout the call could return before the commit is decided"
        if self._producers.undelivered is not None:
            self._on_delivery(self._producers.undelivered, None)
            self._producers.undelivered = None
        self._producers.play("commit")

    def abort_transaction(self, timeout: float) -> None:
        assert timeout == -1
        self._on_delivery(KafkaError(KafkaError._PURGE_QUEUE), None)
        self._producers.play("abort")

    def poll(self, timeout: float) -> int:
        self._producers.time_s += timeout
        if self._producers.polls_before_report > 0:
            self._producers.polls_before_report -= 1
        elif self._producers.undelivered is not None:
            self._on_delivery(self._producers.undelivered, None)
            self._producers.undelivered = None
        return 0


class ScriptedColumnProducer(ScriptedProducer):
    """Takes records in columns too."""

    def pending(self, _topic: str, columns: RecordColumns, _partition: int = -1) -> "ScriptedRecords":
        return ScriptedRecords(self._producers, len(columns))


class ScriptedRecords:
    def __init__(self, producers: ScriptedProducers, left: int) -> None:
        self._producers = producers
        self.left = left

    def put(self, most: int) -> None:
        for _ in range(min(most, self.left)):
            self._producers.play("produce")
            self.left -= 1


@pytest.fixture(params=[False, True], ids=["records", "columns"])
def producers(request: pytest.FixtureRequest) -> Iterator[ScriptedProducers]:
    producers = ScriptedProducers(takes_columns=request.param)
    yield producers
    producers.hold.set()


def publish(owner: TransactionOwner) -> None:
    owner.produce_columns("output", record_columns([(b"key", b"value", ())]))
    owner.commit(OFFSETS, b"metadata")


STEPS = ["begin", "produce", "offsets", "commit"]


def test_a_successful_transaction_takes_four_calls(producers: ScriptedProducers) -> None:
    owner = producers.owner()
    publish(owner)
    publish(owner)
    assert producers.calls == ["init", *STEPS, *STEPS]


@pytest.mark.parametrize(("step", "before"), [("offsets", ["begin", "produce"]), ("commit", STEPS[:3])])
def test_a_retriable_call_is_repeated_and_no_other_is_made(
    producers: ScriptedProducers, step: str, before: list[str]
) -> None:
    producers.fail(step, retriable(), retriable(), None)
    publish(producers.owner())
    after = {"offsets": ["commit"], "commit": []}[step]
    assert producers.calls == ["init", *before, step, step, step, *after]
    assert producers.outcomes.entries == [("committed", "")]


@pytest.mark.parametrize("step", ["offsets", "commit"])
def test_after_a_repeated_call_the_next_transaction_has_a_new_producer(producers: ScriptedProducers, step: str) -> None:
    owner = producers.owner()
    producers.fail(step, retriable(), None)
    publish(owner)
    assert (producers.made, owner.ready) == (1, True)
    publish(owner)
    publish(owner)
    assert producers.made == 2
    assert producers.outcomes.entries == [("committed", "")] * 3


def test_offsets_that_are_refused_for_too_long_are_aborted_since_nothing_was_committed(
    producers: ScriptedProducers,
) -> None:
    producers.fail("offsets", *[retriable()] * 1000)
    with pytest.raises(TransactionAborted):
        publish(producers.owner())
    assert producers.calls[-2:] == ["offsets", "abort"]
    assert 5 <= producers.time_s < 6


def test_a_commit_without_an_answer_for_too_long_is_lost_and_never_aborted(producers: ScriptedProducers) -> None:
    producers.fail("commit", *[retriable()] * 1000)
    owner = producers.owner()
    with pytest.raises(TransactionLost):
        publish(owner)
    assert "abort" not in producers.calls
    assert not owner.ready
    assert producers.outcomes.entries == [("lost", "_TIMED_OUT")]


def test_calls_with_a_time_limit_share_one_deadline(producers: ScriptedProducers) -> None:
    """Two seconds for all: the second transaction has only what the first has left."""
    producers.fail("offsets", *[retriable()] * 15, None, *[retriable()] * 1000)
    owner = producers.owner()
    with owner.time_limit(2.0):
        publish(owner)
        assert 1 < producers.time_s < 2
        with pytest.raises(TransactionAborted):
            publish(owner)
    assert 2 <= producers.time_s < 2.2
    producers.script.clear()
    producers.fail("offsets", *[retriable()] * 40)
    publish(owner)
    assert producers.time_s > 5.9, "afterwards a call has its usual time limit again"


@pytest.mark.parametrize("code", [KafkaError.ILLEGAL_GENERATION, KafkaError.UNKNOWN_MEMBER_ID])
def test_the_producer_stays_after_an_abort_because_of_a_rebalance(producers: ScriptedProducers, code: int) -> None:
    producers.fail("offsets", *[abortable(code)] * 20)
    owner = producers.owner()
    for _ in range(20):
        with pytest.raises(TransactionAborted):
            publish(owner)
    publish(owner)
    assert producers.made == 1


@pytest.mark.parametrize("step", ["offsets", "commit"])
def test_after_an_abort_caused_by_its_records_there_is_a_new_producer(producers: ScriptedProducers, step: str) -> None:
    producers.fail(step, abortable())
    owner = producers.owner()
    with pytest.raises(TransactionAborted):
        publish(owner)
    assert producers.calls[-2:] == [step, "abort"]
    publish(owner)
    assert producers.made == 2
    assert producers.outcomes.entries == [("aborted", "TRANSACTION_ABORTABLE"), ("committed", "")]


def test_a_failed_delivery_gives_the_reason_for_a_general_commit_error(producers: ScriptedProducers) -> None:
    producers.undelivered = bare(KafkaError.MSG_SIZE_TOO_LARGE)
    producers.fail("commit", abortable(KafkaError._INCONSISTENT))
    with pytest.raises(TransactionAborted) as aborted:
        publish(producers.owner())
    assert aborted.value.error == "MSG_SIZE_TOO_LARGE"


def test_the_report_of_a_failed_delivery_is_waited_for_after_a_general_error(
    producers: ScriptedProducers,
) -> None:
    producers.undelivered = bare(KafkaError.MSG_SIZE_TOO_LARGE)
    producers.fail("offsets", abortable(KafkaError._STATE))
    with pytest.raises(TransactionAborted) as aborted:
        publish(producers.owner())
    assert aborted.value.error == "MSG_SIZE_TOO_LARGE"


def test_a_late_delivery_report_still_gives_the_reason(producers: ScriptedProducers) -> None:
    producers.undelivered, producers.polls_before_report = bare(KafkaError.MSG_SIZE_TOO_LARGE), 8
    producers.fail("offsets", abortable(KafkaError._STATE))
    with pytest.raises(TransactionAborted) as aborted:
        publish(producers.owner())
    assert aborted.value.error == "MSG_SIZE_TOO_LARGE"


def test_a_right_that_is_missing_is_found_behind_a_general_error_of_a_later_call(producers: ScriptedProducers) -> None:
    producers.fail("begin", None, abortable(KafkaError.TOPIC_AUTHORIZATION_FAILED))
    producers.fail("offsets", abortable(KafkaError._STATE))
    with pytest.raises(ViewerConsumerError, match="can't publish to output"):
        publish(producers.owner())
    assert producers.time_s == 0


def test_a_fence_is_found_behind_a_general_error_of_a_later_call(producers: ScriptedProducers) -> None:
    producers.fail("begin", None, abortable(KafkaError._FENCED))
    producers.fail("offsets", abortable(KafkaError._STATE))
    with pytest.raises(TransactionLost, match="_FENCED"):
        publish(producers.owner())


@pytest.mark.parametrize(("time_limit_s", "most_s"), [(60.0, 1.2), (0.3, 0.5)])
def test_a_delivery_report_that_never_comes_is_not_waited_for_long(
    producers: ScriptedProducers, time_limit_s: float, most_s: float
) -> None:
    producers.fail("offsets", abortable(KafkaError._STATE))
    owner = producers.owner()
    with owner.time_limit(time_limit_s), pytest.raises(TransactionAborted) as aborted:
        publish(owner)
    assert aborted.value.error == "_STATE"
    assert producers.time_s <= most_s


def test_a_failed_delivery_aborts_a_long_transaction_before_it_is_complete(producers: ScriptedProducers) -> None:
    owner = producers.owner()
    records = ((b"key", b"value") for _ in itertools.count())
    owner.produce("output", b"key", b"value")
    producers.undelivered = bare(KafkaError.MSG_SIZE_TOO_LARGE)
    with pytest.raises(TransactionAborted):
        owner.produce_all("output", records)
    assert producers.calls.count("produce") <= 1_001


def test_a_missing_right_to_write_stops_the_worker(producers: ScriptedProducers) -> None:
    producers.undelivered = bare(KafkaError.TOPIC_AUTHORIZATION_FAILED)
    producers.fail("commit", abortable(KafkaError._INCONSISTENT))
    with pytest.raises(ViewerConsumerError, match=r"can't publish to output on nowhere:1: .*its permissions"):
        publish(producers.owner())


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("error", [fatal(), fatal(KafkaError.OUT_OF_ORDER_SEQUENCE_NUMBER)])
def test_a_fatally_failed_producer_is_replaced_at_the_next_use(
    producers: ScriptedProducers, step: str, error: KafkaError
) -> None:
    producers.fail(step, error)
    owner = producers.owner()
    with pytest.raises(TransactionLost):
        publish(owner)
    assert "abort" not in producers.calls
    publish(owner)
    assert producers.made == 2
    assert producers.calls[-5:] == ["init", *STEPS]


def test_an_abort_that_fails_is_a_loss(producers: ScriptedProducers) -> None:
    producers.fail("offsets", abortable())
    producers.fail("abort", retriable(), fatal(KafkaError._FATAL))
    owner = producers.owner()
    with pytest.raises(TransactionLost):
        publish(owner)
    assert not owner.ready


def test_an_abort_is_retried_until_a_limit_and_then_left_to_the_broker(producers: ScriptedProducers) -> None:
    producers.fail("abort", *[retriable()] * 1000)
    owner = producers.owner()
    owner.produce("output", b"key", b"value")
    with pytest.raises(TransactionLost):
        owner.abort()
    assert 5 <= producers.time_s < 6


def test_a_full_queue_is_waited_for(producers: ScriptedProducers) -> None:
    producers.fail("produce", BufferError(), BufferError(), None)
    publish(producers.owner())
    assert producers.calls == ["init", "begin", "produce", "produce", "produce", "offsets", "commit"]


def test_a_transaction_with_a_queue_that_stays_full_is_never_committed_in_part(producers: ScriptedProducers) -> None:
    producers.fail("produce", None, *[BufferError()] * 1000)
    owner = producers.owner()
    with pytest.raises(TransactionAborted):
        owner.produce_columns("output", record_columns([(b"a", b"1", ()), (b"b", b"2", ())]))
    assert producers.calls[-1] == "abort"
    assert 5 <= producers.time_s < 6


def test_if_one_of_many_records_with_headers_is_refused_none_is_committed(producers: ScriptedProducers) -> None:
    producers.fail("produce", None, BufferError(), bare(KafkaError.MSG_SIZE_TOO_LARGE))
    owner = producers.owner()
    letters = record_columns([(b"a", b"1", [("why", "")]), (b"b", b"2", []), (b"c", b"3", [])])
    with pytest.raises(TransactionAborted, match="MSG_SIZE_TOO_LARGE"):
        owner.produce_columns("letters", letters)
    assert producers.calls == ["init", "begin", "produce", "produce", "produce", "abort"]


def test_records_that_are_refused_repeatedly_stop_the_worker(producers: ScriptedProducers) -> None:
    owner = producers.owner()
    producers.fail("produce", *[bare(KafkaError.MSG_SIZE_TOO_LARGE)] * 100)
    for _ in range(REFUSALS_ALLOWED):
        with pytest.raises(TransactionAborted):
            publish(owner)
    with pytest.raises(ViewerConsumerError, match="refused the same records 6 times"):
        publish(owner)


def test_records_that_no_leader_takes_are_sent_again_for_as_long_as_it_takes(producers: ScriptedProducers) -> None:
    owner = producers.owner()
    for _ in range(3 * REFUSALS_ALLOWED):
        producers.undelivered = bare(KafkaError._MSG_TIMED_OUT)
        producers.fail("commit", abortable())
        with pytest.raises(TransactionAborted, match="not all records to output could be written"):
            publish(owner)
        producers.script.clear()  # in columns the report is met before the commit
    publish(owner)
    assert producers.outcomes.entries[-1] == ("committed", "")


def test_a_log_in_that_fails_is_no_refusal_of_the_records(producers: ScriptedProducers) -> None:
    """As while a token server is away: the records go out once the log-in works again."""
    owner = producers.owner()
    for _ in range(3 * REFUSALS_ALLOWED):
        producers.fail("commit", abortable(KafkaError._AUTHENTICATION))
        with pytest.raises(TransactionAborted, match="_AUTHENTICATION"):
            publish(owner)
    publish(owner)
    assert producers.outcomes.entries[-1] == ("committed", "")


def test_rare_fences_are_survived_but_many_at_once_mean_a_duplicate_instance_id(producers: ScriptedProducers) -> None:
    owner = producers.owner()
    for _ in range(3 * FENCES_ALLOWED):
        producers.fail("commit", fatal())
        with pytest.raises(TransactionLost):
            publish(owner)
        publish(owner)
        producers.time_s += FENCE_WINDOW_S / (FENCES_ALLOWED - 1)
    producers.time_s += FENCE_WINDOW_S
    for _ in range(FENCES_ALLOWED - 1):
        producers.fail("commit", fatal())
        with pytest.raises(TransactionLost):
            publish(owner)
    producers.fail("commit", fatal())
    with pytest.raises(ViewerConsumerError, match='another process publishes as "group-one"'):
        publish(owner)


def test_a_call_that_hangs_is_abandoned_with_its_producer(producers: ScriptedProducers) -> None:
    limits = TimeLimits(start_s=5, offsets_s=0.2, end_s=5, room_s=5)
    hanging = TransactionOwner(CONFIG, producers.outcomes, limits, make=producers._make)
    called: Callable[[str], None] = producers.play

    def hang(call: str) -> None:
        called(call)
        if call == "offsets" and producers.made == 1:
            assert producers.hold.wait(30)

    producers.play = hang  # type: ignore[method-assign]  # scripted behaviour, not a mock of our code
    with pytest.raises(TransactionAborted):
        publish(hanging)
    publish(hanging)
    assert producers.made == 2
    assert producers.outcomes.entries == [("aborted", "_TIMED_OUT"), ("committed", "")]


@pytest.mark.parametrize(
    ("step", "raised"),
    [
        ("init", ViewerConsumerError),
        ("offsets", TransactionAborted),
        ("commit", TransactionLost),
        ("abort", TransactionLost),
    ],
)
def test_a_stop_limits_every_call_under_way(producers: ScriptedProducers, step: str, raised: type[Exception]) -> None:
    """Also a call that began before the stop with much more time."""
    left = [math.inf]
    limits = TimeLimits(300, 300, 300, 300, 300)
    owner = TransactionOwner(CONFIG, producers.outcomes, limits, make=producers._make, stop_left_s=lambda: left[0])
    called: Callable[[str], None] = producers.play

    def hang(call: str) -> None:
        called(call)
        if call == step:
            left[0] = 0.0
            assert producers.hold.wait(30)

    producers.play = hang  # type: ignore[method-assign]  # as above

    def run() -> None:
        owner.init()
        owner.produce("output", b"key", b"value")
        owner.abort() if step == "abort" else publish(owner)

    with pytest.raises(raised):
        run()
    assert producers.calls[-1] == step
    assert not owner.ready


def test_a_later_start_that_hangs_is_abandoned_and_tried_again(producers: ScriptedProducers) -> None:
    limits = TimeLimits(start_s=5, restart_s=0.2, offsets_s=5, end_s=5, room_s=5)
    owner = TransactionOwner(CONFIG, producers.outcomes, limits, make=producers._make)
    producers.fail("commit", fatal())
    with pytest.raises(TransactionLost):
        publish(owner)
    called: Callable[[str], None] = producers.play

    def hang(call: str) -> None:
        called(call)
        if call == "init" and producers.made == 2:
            assert producers.hold.wait(30)

    producers.play = hang  # type: ignore[method-assign]  # as above
    with pytest.raises(TransactionAborted, match="can't begin transactions"):
        publish(owner)
    publish(owner)
    assert producers.made == 3


def test_delivery_reports_of_a_dropped_producer_do_not_count_for_the_next(producers: ScriptedProducers) -> None:
    reports: list[DeliveryReport] = []

    def make(config: ClientConfig, last_error: LastClientError, on_delivery: DeliveryReport) -> TransactionalProducer:
        reports.append(on_delivery)
        return producers._make(config, last_error, on_delivery)

    owner = TransactionOwner(CONFIG, producers.outcomes, FIVE_SECONDS, clock=lambda: producers.time_s, make=make)
    producers.fail("commit", fatal())
    with pytest.raises(TransactionLost):
        publish(owner)
    reports[0](bare(KafkaError.MSG_SIZE_TOO_LARGE), None)
    publish(owner)
    reports[0](bare(KafkaError.MSG_SIZE_TOO_LARGE), None)
    publish(owner)
    assert producers.made == 2


def test_the_start_is_retried_while_brokers_start(producers: ScriptedProducers) -> None:
    producers.fail("init", retriable(), retriable(KafkaError.COORDINATOR_LOAD_IN_PROGRESS), None)
    owner = producers.owner()
    assert not owner.ready
    owner.init()
    assert owner.ready
    assert producers.calls == ["init"] * 3


def test_a_later_start_is_retried_while_kafka_is_unavailable_and_stops_nothing(producers: ScriptedProducers) -> None:
    owner = producers.owner()
    owner.init()
    producers.fail("commit", fatal(KafkaError._FENCED))
    with pytest.raises(TransactionLost):
        publish(owner)
    producers.fail("init", *[retriable()] * 60)
    with pytest.raises(TransactionAborted, match='can\'t begin transactions as "group-one" on nowhere:1'):
        publish(owner)
    assert not owner.ready
    producers.script["init"].clear()
    publish(owner)
    assert producers.outcomes.entries[-1] == ("committed", "")


@pytest.mark.parametrize(
    ("errors", "message"),
    [
        ([retriable()] * 1000, 'can\'t begin transactions as "group-one" on nowhere:1: .*bootstrap_servers'),
        ([fatal(KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED)], "its permissions"),
        ([fatal(KafkaError._UNSUPPORTED_FEATURE)], "Kafka 2.5 or newer"),
    ],
)
def test_a_failed_start_says_where_and_why(
    producers: ScriptedProducers, errors: list[KafkaError], message: str
) -> None:
    producers.fail("init", *errors)
    with pytest.raises(ViewerConsumerError, match=message):
        producers.owner().init()
    assert producers.time_s < 6


def test_a_producer_that_was_dropped_is_renewed_without_a_transaction(producers: ScriptedProducers) -> None:
    owner = producers.owner()
    producers.fail("commit", abortable())
    with pytest.raises(TransactionAborted):
        publish(owner)
    assert not owner.ready
    producers.fail("init", *[retriable()] * 100)
    with pytest.raises(TransactionAborted):
        owner.renew()
    assert not owner.ready
    producers.script["init"].clear()
    owner.renew()
    assert owner.ready
    assert producers.calls.count("begin") == 1
