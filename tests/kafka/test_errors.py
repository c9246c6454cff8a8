"""Every way in which a transactional call can fail, and what the owner makes of it; its producer fails on demand."""

import itertools
import math
import threading
from collections.abc import Callable, Iterator
from typing import Any, cast

import pytest
from confluent_kafka import KafkaError, KafkaException, Producer

from consumer.errors import ViewerConsumerError
from consumer.kafka.clients import DeliveryReport, LastClientError
from consumer.kafka.config import ClientConfig
from consumer.kafka.errors import Outcome, TransactionAborted, TransactionLost, outcome_of, outcome_of_record
from consumer.kafka.failure_budget import FENCE_WINDOW_S, FENCES_ALLOWED, REFUSALS_ALLOWED
from consumer.kafka.transaction import TimeLimits, TransactionOwner
from tests.kafka.stage import Listened

OFFSETS = {("input", 0): 5}
FIVE_SECONDS = TimeLimits(5, 5, 5)
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
        (bare(KafkaError._UNSUPPORTED_FEATURE), Outcome.GIVE_UP),
        (fatal(KafkaError.UNSUPPORTED_VERSION), Outcome.GIVE_UP),
    ],
)
def test_what_errors_of_calls_mean(error: KafkaError, outcome: Outcome) -> None:
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
    ],
)
def test_what_errors_of_records_mean(code: int, outcome: Outcome) -> None:
    assert outcome_of_record(bare(code)) is outcome


class Troupe:
    """Makes producers whose calls fail as the script says, and writes down all calls of all of them."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.script: dict[str, list[KafkaError | BaseException | None]] = {}
        self.made = 0
        self.time_s = 0.0
        self.listened = Listened()
        self.undelivered: KafkaError | None = None
        self.polls_before_report = 0
        self.hold = threading.Event()

    def fail(self, call: str, *errors: KafkaError | BaseException | None) -> None:
        """The next such calls end so, one after the other; None is well."""
        self.script.setdefault(call, []).extend(errors)

    def owner(self, limits: TimeLimits = FIVE_SECONDS) -> TransactionOwner:
        return TransactionOwner(CONFIG, self.listened, limits, clock=lambda: self.time_s, make=self._make)

    def _make(self, config: ClientConfig, last_error: LastClientError, on_delivery: DeliveryReport) -> Producer:
        assert (config, last_error.error()) == (CONFIG, None)
        self.made += 1
        return cast("Producer", ScriptedProducer(self, on_delivery))

    def play(self, call: str) -> None:
        self.calls.append(call)
        waiting = self.script.get(call)
        error = waiting.pop(0) if waiting else None
        if isinstance(error, KafkaError):
            raise KafkaException(error)
        if error is not None:
            raise error


class ScriptedProducer:
    def __init__(self, troupe: Troupe, on_delivery: DeliveryReport) -> None:
        self._troupe = troupe
        self._on_delivery = on_delivery

    def cluster_id(self, timeout: float) -> str:
        assert timeout > 0
        return "a cluster"

    def init_transactions(self, timeout: float) -> None:
        assert timeout > 0
        self._troupe.play("init")

    def begin_transaction(self) -> None:
        self._troupe.play("begin")

    def produce(self, *_: Any, **__: Any) -> None:
        self._troupe.play("produce")

    def send_offsets_to_transaction(self, positions: Any, metadata: bytes, timeout: float) -> None:
        assert ([(each.topic, each.partition, each.offset) for each in positions], metadata) == (
            [("input", 0, 5)],
            b"metadata",
        )
        assert timeout > 0
        self._troupe.play("offsets")

    def commit_transaction(self, timeout: float) -> None:
        assert timeout == -1, "any other time would cut a commit in two"
        if self._troupe.undelivered is not None:
            self._on_delivery(self._troupe.undelivered, None)
            self._troupe.undelivered = None
        self._troupe.play("commit")

    def abort_transaction(self, timeout: float) -> None:
        assert timeout == -1
        self._on_delivery(KafkaError(KafkaError._PURGE_QUEUE), None)
        self._troupe.play("abort")

    def poll(self, timeout: float) -> int:
        self._troupe.time_s += timeout
        if self._troupe.polls_before_report > 0:
            self._troupe.polls_before_report -= 1
        elif self._troupe.undelivered is not None:
            self._on_delivery(self._troupe.undelivered, None)
            self._troupe.undelivered = None
        return 0


@pytest.fixture
def troupe() -> Iterator[Troupe]:
    troupe = Troupe()
    yield troupe
    troupe.hold.set()


def publish(owner: TransactionOwner) -> None:
    owner.produce("output", b"key", b"value")
    owner.commit(OFFSETS, b"metadata")


STEPS = ["begin", "produce", "offsets", "commit"]


def test_a_good_transaction_takes_four_calls(troupe: Troupe) -> None:
    owner = troupe.owner()
    publish(owner)
    publish(owner)
    assert troupe.calls == ["init", *STEPS, *STEPS]


@pytest.mark.parametrize(("step", "before"), [("offsets", ["begin", "produce"]), ("commit", STEPS[:3])])
def test_the_same_call_is_made_again_and_nothing_else(troupe: Troupe, step: str, before: list[str]) -> None:
    troupe.fail(step, retriable(), retriable(), None)
    publish(troupe.owner())
    after = {"offsets": ["commit"], "commit": []}[step]
    assert troupe.calls == ["init", *before, step, step, step, *after]
    assert troupe.listened.heard == [("committed", "")]


def test_offsets_that_are_refused_for_too_long_are_aborted_since_nothing_was_committed(troupe: Troupe) -> None:
    troupe.fail("offsets", *[retriable()] * 1000)
    with pytest.raises(TransactionAborted):
        publish(troupe.owner())
    assert troupe.calls[-2:] == ["offsets", "abort"]
    assert 5 <= troupe.time_s < 6


def test_a_commit_without_an_answer_for_too_long_is_lost_and_never_aborted(troupe: Troupe) -> None:
    troupe.fail("commit", *[retriable()] * 1000)
    owner = troupe.owner()
    with pytest.raises(TransactionLost):
        publish(owner)
    assert "abort" not in troupe.calls
    assert not owner.ready
    assert troupe.listened.heard == [("lost", "_TIMED_OUT")]


def test_what_is_hurried_shares_one_deadline(troupe: Troupe) -> None:
    """Two seconds for all: the second transaction has only what the first has left."""
    troupe.fail("offsets", *[retriable()] * 15, None, *[retriable()] * 1000)
    owner = troupe.owner()
    with owner.time_limit(2.0):
        publish(owner)
        assert 1 < troupe.time_s < 2
        with pytest.raises(TransactionAborted):
            publish(owner)
    assert 2 <= troupe.time_s < 2.2
    troupe.script.clear()
    troupe.fail("offsets", *[retriable()] * 40)
    publish(owner)
    assert troupe.time_s > 5.9, "behind it a call has its usual time again"


@pytest.mark.parametrize("code", [KafkaError.ILLEGAL_GENERATION, KafkaError.UNKNOWN_MEMBER_ID])
def test_when_the_group_has_moved_on_the_producer_stays(troupe: Troupe, code: int) -> None:
    troupe.fail("offsets", *[abortable(code)] * 20)
    owner = troupe.owner()
    for _ in range(20):
        with pytest.raises(TransactionAborted):
            publish(owner)
    publish(owner)
    assert troupe.made == 1


@pytest.mark.parametrize("step", ["offsets", "commit"])
def test_after_an_abort_for_its_records_there_is_a_new_producer(troupe: Troupe, step: str) -> None:
    troupe.fail(step, abortable())
    owner = troupe.owner()
    with pytest.raises(TransactionAborted):
        publish(owner)
    assert troupe.calls[-2:] == [step, "abort"]
    publish(owner)
    assert troupe.made == 2
    assert troupe.listened.heard == [("aborted", "TRANSACTION_ABORTABLE"), ("committed", "")]


def test_a_failed_delivery_names_the_reason_that_the_commit_only_hints_at(troupe: Troupe) -> None:
    troupe.undelivered = bare(KafkaError.MSG_SIZE_TOO_LARGE)
    troupe.fail("commit", abortable(KafkaError._INCONSISTENT))
    with pytest.raises(TransactionAborted) as aborted:
        publish(troupe.owner())
    assert aborted.value.error == "MSG_SIZE_TOO_LARGE"


def test_the_report_of_a_failed_delivery_is_waited_for_where_a_call_says_only_that_it_is_too_late(
    troupe: Troupe,
) -> None:
    troupe.undelivered = bare(KafkaError.MSG_SIZE_TOO_LARGE)
    troupe.fail("offsets", abortable(KafkaError._STATE))
    with pytest.raises(TransactionAborted) as aborted:
        publish(troupe.owner())
    assert aborted.value.error == "MSG_SIZE_TOO_LARGE"


def test_a_delivery_report_that_comes_late_still_names_the_reason(troupe: Troupe) -> None:
    troupe.undelivered, troupe.polls_before_report = bare(KafkaError.MSG_SIZE_TOO_LARGE), 8
    troupe.fail("offsets", abortable(KafkaError._STATE))
    with pytest.raises(TransactionAborted) as aborted:
        publish(troupe.owner())
    assert aborted.value.error == "MSG_SIZE_TOO_LARGE"


@pytest.mark.parametrize(("time_limit_s", "most_s"), [(60.0, 1.2), (0.3, 0.5)])
def test_a_delivery_report_that_never_comes_is_not_waited_for_long(
    troupe: Troupe, time_limit_s: float, most_s: float
) -> None:
    troupe.fail("offsets", abortable(KafkaError._STATE))
    owner = troupe.owner()
    with owner.time_limit(time_limit_s), pytest.raises(TransactionAborted) as aborted:
        publish(owner)
    assert aborted.value.error == "_STATE"
    assert troupe.time_s <= most_s


def test_a_failed_delivery_ends_a_long_transaction_before_it_is_complete(troupe: Troupe) -> None:
    owner = troupe.owner()
    records = ((b"key", b"value") for _ in itertools.count())
    owner.produce("output", b"key", b"value")
    troupe.undelivered = bare(KafkaError.MSG_SIZE_TOO_LARGE)
    with pytest.raises(TransactionAborted):
        owner.produce_all("output", records)
    assert troupe.calls.count("produce") <= 1_000


def test_without_leave_to_write_the_worker_stops(troupe: Troupe) -> None:
    troupe.undelivered = bare(KafkaError.TOPIC_AUTHORIZATION_FAILED)
    troupe.fail("commit", abortable(KafkaError._INCONSISTENT))
    with pytest.raises(ViewerConsumerError, match=r"can't publish to output on nowhere:1: .*its permissions"):
        publish(troupe.owner())


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("error", [fatal(), fatal(KafkaError.OUT_OF_ORDER_SEQUENCE_NUMBER)])
def test_a_producer_that_is_of_no_more_use_is_replaced_at_the_next_use(
    troupe: Troupe, step: str, error: KafkaError
) -> None:
    troupe.fail(step, error)
    owner = troupe.owner()
    with pytest.raises(TransactionLost):
        publish(owner)
    assert "abort" not in troupe.calls
    publish(owner)
    assert troupe.made == 2
    assert troupe.calls[-5:] == ["init", *STEPS]


def test_an_abort_that_fails_is_a_loss(troupe: Troupe) -> None:
    troupe.fail("offsets", abortable())
    troupe.fail("abort", retriable(), fatal(KafkaError._FATAL))
    owner = troupe.owner()
    with pytest.raises(TransactionLost):
        publish(owner)
    assert not owner.ready


def test_an_abort_is_tried_for_so_long_and_then_left_to_the_broker(troupe: Troupe) -> None:
    troupe.fail("abort", *[retriable()] * 1000)
    owner = troupe.owner()
    owner.produce("output", b"key", b"value")
    with pytest.raises(TransactionLost):
        owner.abort()
    assert 5 <= troupe.time_s < 6


def test_a_full_queue_is_waited_for(troupe: Troupe) -> None:
    troupe.fail("produce", BufferError(), BufferError(), None)
    publish(troupe.owner())
    assert troupe.calls == ["init", "begin", "produce", "produce", "produce", "offsets", "commit"]


def test_a_queue_that_stays_full_is_never_committed_in_part(troupe: Troupe) -> None:
    troupe.fail("produce", None, *[BufferError()] * 1000)
    owner = troupe.owner()
    with pytest.raises(TransactionAborted):
        owner.produce_all("output", [(b"a", b"1"), (b"b", b"2")])
    assert troupe.calls[-1] == "abort"
    assert 5 <= troupe.time_s < 6


def test_of_many_with_headers_none_is_committed_where_one_is_refused_after_a_wait_for_room(troupe: Troupe) -> None:
    troupe.fail("produce", None, BufferError(), bare(KafkaError.MSG_SIZE_TOO_LARGE))
    owner = troupe.owner()
    with pytest.raises(TransactionAborted, match="MSG_SIZE_TOO_LARGE"):
        owner.produce_with_headers("letters", [(b"a", b"1", [("why", "")]), (b"b", b"2", []), (b"c", b"3", [])])
    assert troupe.calls == ["init", "begin", "produce", "produce", "produce", "abort"]


def test_records_that_are_refused_again_and_again_stop_the_worker(troupe: Troupe) -> None:
    owner = troupe.owner()
    troupe.fail("produce", *[bare(KafkaError.MSG_SIZE_TOO_LARGE)] * 100)
    for _ in range(REFUSALS_ALLOWED):
        with pytest.raises(TransactionAborted):
            publish(owner)
    with pytest.raises(ViewerConsumerError, match="refused the same records 6 times"):
        publish(owner)


def test_fences_now_and_then_are_survived_but_many_at_once_are_a_name_used_twice(troupe: Troupe) -> None:
    owner = troupe.owner()
    for _ in range(3 * FENCES_ALLOWED):
        troupe.fail("commit", fatal())
        with pytest.raises(TransactionLost):
            publish(owner)
        publish(owner)
        troupe.time_s += FENCE_WINDOW_S / (FENCES_ALLOWED - 1)
    troupe.time_s += FENCE_WINDOW_S
    for _ in range(FENCES_ALLOWED - 1):
        troupe.fail("commit", fatal())
        with pytest.raises(TransactionLost):
            publish(owner)
    troupe.fail("commit", fatal())
    with pytest.raises(ViewerConsumerError, match='another process publishes as "group-one"'):
        publish(owner)


def test_a_call_that_hangs_is_left_behind_with_its_producer(troupe: Troupe) -> None:
    hanging = TransactionOwner(CONFIG, troupe.listened, TimeLimits(5, 0.2, 5), make=troupe._make)
    called: Callable[[str], None] = troupe.play

    def hang(call: str) -> None:
        called(call)
        if call == "offsets" and troupe.made == 1:
            assert troupe.hold.wait(30)

    troupe.play = hang  # type: ignore[method-assign]  # a stage direction, not a mock of ours
    with pytest.raises(TransactionLost):
        publish(hanging)
    publish(hanging)
    assert troupe.made == 2


@pytest.mark.parametrize("step", ["init", "offsets", "commit", "abort"])
def test_when_the_worker_is_to_stop_no_call_is_waited_for_any_longer(troupe: Troupe, step: str) -> None:
    """Not even one that began before, with all the time of the world."""
    left = [math.inf]
    hurried = TransactionOwner(
        CONFIG, troupe.listened, TimeLimits(300, 300, 300), make=troupe._make, stop_left_s=lambda: left[0]
    )
    called: Callable[[str], None] = troupe.play

    def hang(call: str) -> None:
        called(call)
        if call == step:
            left[0] = 0.0
            assert troupe.hold.wait(30)

    troupe.play = hang  # type: ignore[method-assign]  # as above
    if step == "abort":
        hurried.produce("output", b"key", b"value")
    with pytest.raises(ViewerConsumerError if step == "init" else TransactionLost):
        hurried.abort() if step == "abort" else publish(hurried)
    assert troupe.calls[-1] == step
    assert not hurried.ready


def test_reports_of_a_producer_that_was_dropped_are_not_taken_for_the_next_ones(troupe: Troupe) -> None:
    reports: list[DeliveryReport] = []

    def make(config: ClientConfig, last_error: LastClientError, on_delivery: DeliveryReport) -> Producer:
        reports.append(on_delivery)
        return troupe._make(config, last_error, on_delivery)

    owner = TransactionOwner(CONFIG, troupe.listened, FIVE_SECONDS, clock=lambda: troupe.time_s, make=make)
    troupe.fail("commit", fatal())
    with pytest.raises(TransactionLost):
        publish(owner)
    reports[0](bare(KafkaError.MSG_SIZE_TOO_LARGE), None)
    publish(owner)
    reports[0](bare(KafkaError.MSG_SIZE_TOO_LARGE), None)
    publish(owner)
    assert troupe.made == 2


def test_a_start_is_tried_again_while_brokers_come_up(troupe: Troupe) -> None:
    troupe.fail("init", retriable(), retriable(KafkaError.COORDINATOR_LOAD_IN_PROGRESS), None)
    owner = troupe.owner()
    assert not owner.ready
    owner.init()
    assert owner.ready
    assert troupe.calls == ["init"] * 3


@pytest.mark.parametrize(
    ("errors", "said"),
    [
        ([retriable()] * 1000, 'can\'t begin transactions as "group-one" on nowhere:1: .*bootstrap_servers'),
        ([fatal(KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED)], "its permissions"),
        ([fatal(KafkaError._UNSUPPORTED_FEATURE)], "Kafka 2.5 or newer"),
    ],
)
def test_a_start_that_fails_says_where_and_why(troupe: Troupe, errors: list[KafkaError], said: str) -> None:
    troupe.fail("init", *errors)
    with pytest.raises(ViewerConsumerError, match=said):
        troupe.owner().init()
    assert troupe.time_s < 6
