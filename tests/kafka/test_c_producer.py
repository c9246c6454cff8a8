"""What the producer of the C library does as the binding's does, and what is its own: memory, queue, callbacks."""

import ctypes
import gc
import logging
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeAlias, cast

import numpy as np
import pytest
from confluent_kafka import KafkaError, KafkaException, TopicPartition
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from consumer.errors import UsageError
from consumer.kafka import c_producer, producers, record_producing
from consumer.kafka.c_functions import producing_functions
from consumer.kafka.c_handle import release_client
from consumer.kafka.c_producer import CProducer
from consumer.kafka.clients import LastClientError, make_producer
from consumer.kafka.config import ClientConfig, producer_config
from consumer.kafka.embedded import EmbeddedBroker
from consumer.kafka.producers import TransactionalProducer
from consumer.kafka.transaction import TimeLimits, TransactionOwner
from consumer.runtime.digits import DIGITS, write_digits
from consumer.runtime.joined import joined
from consumer.runtime.record_columns import Headers, RecordColumns, header_columns, record_columns
from consumer.settings.model import KafkaSettings, Settings
from tests.kafka.stage import KafkaStage, OutcomeLog
from tests.support.topics import read_committed, read_uncommitted
from tests.support.waiting import until

TOPIC = "t"
LEAST, MOST = -(2**63), 2**63 - 1

Read: TypeAlias = tuple[int, bytes | None, bytes | None, list[tuple[str, bytes | None]]]


@pytest.fixture(scope="module")
def broker() -> Iterator[EmbeddedBroker]:
    with EmbeddedBroker([TOPIC, "reports"]) as broker:
        yield broker


def config_for(bootstrap_servers: str, name: str = "one", **client: str | int) -> ClientConfig:
    given: dict[str, str | int | float | bool] = {key.replace("_", "."): value for key, value in client.items()}
    settings = Settings(kafka=KafkaSettings(bootstrap_servers=bootstrap_servers, client=given))
    return producer_config(settings, name)


def heed_nothing(_error: KafkaError | None, _message: object) -> None:
    """A report that is not waited for."""


def made(config: ClientConfig, report: Callable[[KafkaError | None, object], None] = heed_nothing) -> CProducer:
    return CProducer(config, LastClientError(), report)


def by_the_binding(config: ClientConfig) -> TransactionalProducer:
    return make_producer(config, LastClientError(), heed_nothing)


MAKERS = pytest.mark.parametrize("make", [made, by_the_binding], ids=["c", "binding"])


def odd_records() -> RecordColumns:
    """Own headers, headers of three kinds, one of them empty, and numbers at the edges."""
    own: list[Headers] = [
        [],
        [("trace", b"\xff\0"), ("nothing", None), ("", b"")],
        [("ünicode", "ü")],
        [],
        [("big", b"h" * 5_000)],
    ]
    return RecordColumns(
        keys=joined([b"a", None, b"", b"key", b"k" * 300]),
        values=joined([b"1", b"", None, b"\0value", b"v" * 70_000]),
        own=header_columns(own),
        shared=header_columns([[("why", "not"), ("none", None)], [], [("why", "")]]),
        kinds=np.array([0, 1, 2, 0, 2]),
        number_names=joined([b"offset", b"time"]),
        numbers=np.array([[0, -1, 10, MOST, 99], [LEAST, 1, -10, 100, 1_700_000_000_000]]),
    )


def read_all(bootstrap_servers: str, topic: str) -> list[Read]:
    """By partition: only within one they have an order."""
    read: list[Read] = [
        (each.partition() or 0, each.key(), each.value(), list(each.headers() or ()))  # type: ignore[arg-type]  # its stub allows texts
        for each in read_committed(bootstrap_servers, topic)
    ]
    return sorted(read, key=lambda each: each[0])


def publish(producer: TransactionalProducer, columns: RecordColumns, topic: str = TOPIC) -> None:
    producer.begin_transaction()
    if isinstance(producer, CProducer):
        pending = producer.pending(topic, columns)
        while pending.left:
            pending.put(2)
    else:
        for key, value, headers in columns.records():
            producer.produce(topic, value, key, -1, None, None, 0, headers)
    producer.commit_transaction(-1)


def test_records_in_columns_are_those_of_the_binding_byte_by_byte(kafka_stage: KafkaStage) -> None:
    servers, written = kafka_stage.bootstrap_servers, list[list[Read]]()
    c_producer.warm_up()
    for make, topic in ((made, kafka_stage.topic), (by_the_binding, kafka_stage.state)):
        producer = make(config_for(servers, kafka_stage.group))
        producer.init_transactions(30)
        publish(producer, odd_records(), topic)
        publish(producer, record_columns([(b"x", b"y", ()), (b"z", None, [("h", "i")])]), topic)
        publish(producer, record_columns([(b"", b"", [])]), topic)
        written.append([each for each in read_all(servers, topic) if each[1] is not None])  # others go anywhere
        assert len(read_all(servers, topic)) == 8
    assert written[0] == written[1]
    assert len(getattr(record_producing.put_records, "signatures", [1])) == 1, "the one that the warm-up compiles"
    assert (b"key", b"\0value") in [each[1:3] for each in written[0]]
    headers = next(each[3] for each in written[0] if each[1] == b"a")
    assert headers == [("why", b"not"), ("none", None), ("offset", b"0"), ("time", b"%d" % LEAST)]


@hypothesis_settings(max_examples=200)
@given(st.integers(LEAST, MOST))
def test_numbers_are_written_as_python_writes_them(number: int) -> None:
    digits = np.zeros(DIGITS, np.uint8)
    write = getattr(write_digits, "py_func", write_digits)
    at = write(number, digits)
    assert digits[at:].tobytes() == b"%d" % number


@MAKERS
def test_calls_in_a_wrong_state_raise_the_same(
    broker: EmbeddedBroker, make: Callable[[ClientConfig], TransactionalProducer]
) -> None:
    producer = make(config_for(broker.bootstrap_servers))

    def error_of(call: Callable[[], object]) -> tuple[int, bool, bool, bool]:
        with pytest.raises(KafkaException) as raised:
            call()
        error = raised.value.args[0]
        assert error.str()
        return error.code(), error.fatal(), error.retriable(), error.txn_requires_abort()

    state = KafkaError._STATE, False, False, False
    assert error_of(producer.begin_transaction) == state
    assert error_of(lambda: producer.commit_transaction(-1)) == state
    assert error_of(lambda: producer.produce(TOPIC, b"v", None, -1, None, None, 0, None))[0] == KafkaError._STATE
    producer.init_transactions(30)
    assert error_of(lambda: producer.abort_transaction(-1)) == state
    offsets = [TopicPartition(TOPIC, 0, 1)]
    assert error_of(lambda: producer.send_offsets_to_transaction(offsets, b"no metadata", 5))[0] == KafkaError._BAD_MSG
    assert len(producer.cluster_id(10)) > 0


@MAKERS
def test_a_record_that_is_too_large_is_refused_at_once(
    broker: EmbeddedBroker, make: Callable[[ClientConfig], TransactionalProducer]
) -> None:
    producer = make(config_for(broker.bootstrap_servers))
    producer.init_transactions(30)
    producer.begin_transaction()
    with pytest.raises(KafkaException, match=r"Unable to produce message: .*Message size too large") as refused:
        producer.produce(TOPIC, b"v" * 2_000_000, None, -1, None, None, 0, None)
    assert refused.value.args[0].code() == KafkaError.MSG_SIZE_TOO_LARGE
    producer.abort_transaction(-1)


def test_the_records_before_one_that_is_refused_were_taken(broker: EmbeddedBroker) -> None:
    producer = made(config_for(broker.bootstrap_servers))
    producer.init_transactions(30)
    producer.begin_transaction()
    big = [("big", b"h" * 2_000_000)]
    pending = producer.pending(TOPIC, record_columns([(b"a", b"1", ()), (b"b", b"2", big), (b"c", b"3", ())]))
    for _ in range(2):
        with pytest.raises(KafkaException, match="Message size too large"):
            pending.put(3)
        assert pending.left == 2
    producer.abort_transaction(-1)


def test_a_full_queue_takes_what_fits_and_the_rest_later(broker: EmbeddedBroker) -> None:
    config = config_for(broker.bootstrap_servers, queue_buffering_max_messages=10, linger_ms=15_000)
    producer = made(config)
    producer.init_transactions(30)
    producer.begin_transaction()
    records = record_columns([(b"%d" % number, b"v", [("h", "i")]) for number in range(15)])
    pending = producer.pending(TOPIC, records)
    for _ in range(3):  # headers of records that are not taken are ours
        with pytest.raises(BufferError):
            pending.put(15)
        assert pending.left == 5
    with pytest.raises(BufferError):
        producer.produce(TOPIC, b"v", b"k", -1, None, None, 0, None)
    producer.abort_transaction(-1)
    producer.begin_transaction()
    pending.put(15)
    assert pending.left == 0
    producer.abort_transaction(-1)


def test_an_owner_waits_for_a_full_queue(kafka_stage: KafkaStage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(producers, "CProducer", CProducer)  # also in a run on the fallback
    owner = kafka_stage.owner(client={"queue.buffering.max.messages": 500})
    assert isinstance(owner._ready_producer(), CProducer)
    records = [(b"%d" % number, b"v", [("number", str(number))]) for number in range(5_000)]
    owner.produce_columns(kafka_stage.output, record_columns(records))
    owner.produce_all(kafka_stage.output, [(key, value) for key, value, _ in records])
    owner.commit({(kafka_stage.topic, 0): 1}, kafka_stage.metadata())
    published = kafka_stage.published()
    assert [(each.key, each.headers) for each in published[:5_000]] == [
        (key, (("number", key),)) for key, _, _ in records
    ]
    assert [each.key for each in published[5_000:]] == [key for key, *_ in records]


def test_records_with_a_full_queue_that_never_empties_are_aborted() -> None:
    with EmbeddedBroker([TOPIC]) as broker:
        config = config_for(broker.bootstrap_servers, queue_buffering_max_messages=10, linger_ms=15_000)
        outcomes = OutcomeLog()
        owner = TransactionOwner(config, outcomes, TimeLimits(room_s=0.2))
        records = record_columns([(b"k", b"v", [("h", "i")])] * 11)
        name = KafkaError(KafkaError._QUEUE_FULL).name()
        with pytest.raises(Exception, match=name):
            owner.produce_columns(TOPIC, records)
        owner.close()
    assert outcomes.entries == [("aborted", name)]


def test_what_an_abort_purges_is_reported_inside_it_in_the_callers_thread(broker: EmbeddedBroker) -> None:
    reports: list[tuple[int, threading.Thread]] = []

    def report(error: KafkaError | None, _message: object) -> None:
        assert error is not None
        reports.append((error.code(), threading.current_thread()))

    producer = made(config_for(broker.bootstrap_servers, linger_ms=15_000), report)
    producer.init_transactions(30)
    producer.begin_transaction()
    producer.pending("reports", record_columns([(b"k", b"v", ())] * 20)).put(20)
    assert reports == []
    producer.abort_transaction(-1)
    assert reports == [(KafkaError._PURGE_QUEUE, threading.current_thread())] * 20
    assert read_uncommitted(broker.bootstrap_servers, "reports") == []


def test_log_lines_and_errors_come_inside_polls(caplog: pytest.LogCaptureFixture) -> None:
    said = LastClientError()
    with caplog.at_level(logging.DEBUG, "librdkafka"):
        producer = CProducer({**config_for("localhost:1"), "debug": "broker"}, said, heed_nothing)
        with pytest.raises(KafkaException):
            producer.cluster_id(0.2)
        assert [each for each in caplog.records if each.name == "librdkafka"] == []
        until(lambda: (producer.poll(0.05), said.error() is not None)[1], "the error is told")
    lines = [each for each in caplog.records if each.name == "librdkafka"]
    assert any("FAIL [viewer-consumer#producer-" in each.getMessage() for each in lines)
    assert {each.levelno for each in lines} >= {logging.DEBUG, logging.ERROR}


def test_tokens_are_refreshed(caplog: pytest.LogCaptureFixture) -> None:
    client: ClientConfig = {
        "security.protocol": "sasl_plaintext",
        "sasl.mechanism": "OAUTHBEARER",
        "enable.sasl.oauthbearer.unsecure.jwt": "true",
        "sasl.oauthbearer.config": "principal=worker lifeSeconds=1",
        "debug": "security",
    }
    with caplog.at_level(logging.DEBUG, "librdkafka"):
        producer = made({**config_for("localhost:1"), **client})
        until(
            lambda: (producer.poll(0.0), caplog.text.count("after setting OAUTHBEARER token") >= 3)[1],
            "the token is refreshed twice",
        )


def test_an_unknown_key_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match=r'kafka\.client: No such configuration property: "no\.such"'):
        made({**config_for("localhost:1"), "no.such": 1})
    with pytest.raises(UsageError, match=r"^kafka\.client: "):
        made({**config_for("localhost:1"), "queue.buffering.max.kbytes": 1, "message.timeout.ms": 1})


def library_threads() -> Callable[[], int]:
    """Return what counts the library's threads; those of clients that other tests left behind have ended."""
    gc.collect()
    until(lambda: all(each.name != "client-release" for each in threading.enumerate()), "others' clients are freed")
    count = producing_functions().rd_kafka_thread_cnt
    count.restype = ctypes.c_int
    return cast("Callable[[], int]", count)


def test_the_client_ends_with_the_last_reference(broker: EmbeddedBroker) -> None:
    count = library_threads()
    before = count()
    producer = made(config_for(broker.bootstrap_servers, linger_ms=15_000))
    producer.init_transactions(30)
    producer.begin_transaction()
    producer.pending(TOPIC, record_columns([(b"k", b"v", [("h", "i")])] * 20)).put(20)
    assert count() > before
    del producer
    until(lambda: count() <= before, "its threads have ended")


def test_the_fallback_is_told_once(broker: EmbeddedBroker, caplog: pytest.LogCaptureFixture) -> None:
    producers._warn.cache_clear()
    with pytest.MonkeyPatch.context() as patch:

        def refuse(*_: object) -> None:
            raise OSError("this librdkafka has no rd_kafka_produceva")

        patch.setattr("consumer.kafka.producers.CProducer", refuse)
        for _ in range(2):
            producer = producers.make_transactional_producer(
                config_for(broker.bootstrap_servers), LastClientError(), heed_nothing
            )
            assert not isinstance(producer, CProducer)
    assert caplog.text.count("librdkafka's C functions cannot be had") == 1


def write_odd_records(bootstrap_servers: str, topic: str) -> None:
    """For the test below: in a process of its own."""
    producer = made(config_for(bootstrap_servers, topic))
    producer.init_transactions(30)
    publish(producer, odd_records(), topic)


@pytest.mark.timeout(120)
@pytest.mark.parametrize("mode", ["NUMBA_DISABLE_JIT", "NUMBA_BOUNDSCHECK"])
def test_every_mode_writes_the_same(mode: str, tmp_path: Path, kafka_stage: KafkaStage) -> None:
    servers, topics = kafka_stage.bootstrap_servers, (kafka_stage.topic, kafka_stage.state)
    code = "import sys; from tests.kafka.test_c_producer import *; write_odd_records(*sys.argv[1:])"
    run = subprocess.run(
        [sys.executable, "-W", "error", "-c", code, servers, topics[0]],
        env={**os.environ, mode: "1", "NUMBA_CACHE_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    write_odd_records(servers, topics[1])
    contents = [sorted(map(_content, read_all(servers, topic))) for topic in topics]
    assert len(contents[0]) == len(odd_records())
    assert contents[0] == contents[1]


def _content(record: Read) -> str:
    """Without the partition: a record without a key may go to any."""
    return repr(record[1:])


def test_a_client_that_is_garbage_is_destroyed_without_a_wait() -> None:
    """Its destruction waits for a call that was left behind, and a collection may come in the worker's loop."""
    may_end, destroyed = threading.Event(), threading.Event()

    class Library:
        def rd_kafka_destroy(self, client: int) -> None:
            assert may_end.wait(30)
            assert client == 7
            destroyed.set()

    release_client(cast("ctypes.CDLL", Library()), 7, None, ())
    assert not destroyed.is_set()
    may_end.set()
    assert destroyed.wait(30)


def test_a_collection_leaves_freeing_a_producer_of_the_binding_to_a_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[Callable[[], None]] = []

    class Owner:
        def __init__(self) -> None:
            config = config_for("localhost:1")
            self.calls = producers.released_in_thread(make_producer(config, LastClientError(), self.on_delivery))

        def on_delivery(self, error: KafkaError | None, message: object) -> None: ...

    class Thread:
        def __init__(self, target: Callable[[], None], *, daemon: bool, name: str) -> None:
            assert (daemon, name) == (True, "client-release")
            started.append(target)

        def start(self) -> None: ...

    count = library_threads()
    before = count()
    Owner()  # and its producer refer to each other
    assert count() > before
    monkeypatch.setattr(threading, "Thread", Thread)
    gc.collect()
    assert (len(started), count() > before) == (1, True)
    monkeypatch.undo()
    started.pop()()
    until(lambda: count() <= before, "its threads have ended")


def test_a_process_ends_though_it_closed_no_producer() -> None:
    """No thread can be started then, and waiting for one would have no end."""
    code = (
        "from consumer.kafka.c_producer import CProducer\n"
        "from consumer.kafka.clients import LastClientError\n"
        "config = {'bootstrap.servers': 'localhost:1', 'transactional.id': 'x', 'log_level': 0}\n"
        "kept = CProducer(config, LastClientError(), lambda error, message: None)\n"
        "kept.itself = kept\n"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, encoding="utf-8", timeout=60, check=True)
    assert ended.stderr == ""
