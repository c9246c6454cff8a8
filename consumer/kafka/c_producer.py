"""A transactional producer over the C library's functions, with the calls of the binding's that the owner makes.

Reports of deliveries, errors and log lines come as callbacks inside calls of ours, as they do in the binding; the
library's threads never call Python. Reports as events would not do: a commit and an abort wait until they are served.
"""

import ctypes
from collections.abc import Callable
from typing import Any, NoReturn

import numpy as np
from confluent_kafka import KafkaError, KafkaException, TopicPartition

from consumer.kafka import record_producing as kernels
from consumer.kafka.c_functions import PRODUCER, producing_functions
from consumer.kafka.c_handle import log_line, new_client, new_configuration, raise_error, release_client
from consumer.kafka.clients import DeliveryReport, LastClientError
from consumer.kafka.config import ClientConfig
from consumer.kafka.msk_iam import tokens_of
from consumer.runtime.digits import DIGITS
from consumer.runtime.record_columns import RecordColumns, record_columns

_ERROR_AT = 0
"""Of a message: rd_kafka_message_t begins with its error."""

_on_report = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p)
_on_error = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p)
_on_log = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_char_p)


class CProducer:
    """Owns the C library's client, which is destroyed with the last reference: calls left behind hold one.

    Args:
        config: from `producer_config`.
        last_error: is told of errors, inside calls.
        on_delivery: is told of messages that failed, inside `poll`, commits and aborts.

    Raises:
        OSError: the C functions cannot be had.
        UsageError: librdkafka doesn't take the configuration; names the key.
        ViewerConsumerError: there is no token to log in with.
    """

    def __init__(self, config: ClientConfig, last_error: LastClientError, on_delivery: DeliveryReport) -> None:
        self._topics: dict[str, int] = {}
        self._client = 0
        self._tokens = tokens_of(config)
        last_error.logs_in_with(config)
        self._library = library = producing_functions()
        self._callbacks = _callbacks(library, last_error, on_delivery)
        made = new_configuration(library, config)
        library.rd_kafka_conf_set_dr_msg_cb(made, self._callbacks[0])
        library.rd_kafka_conf_set_error_cb(made, self._callbacks[1])
        library.rd_kafka_conf_set_log_cb(made, self._callbacks[2])
        self._client = new_client(library, PRODUCER, made, self._tokens)
        library.rd_kafka_set_log_queue(self._client, None)  # log lines come inside polls

    def __del__(self) -> None:
        """Destroy the client."""
        for topic in self._topics.values():
            self._library.rd_kafka_topic_destroy(topic)
        if self._client:
            release_client(self._library, self._client, self._tokens, self._callbacks)

    def cluster_id(self, timeout: float) -> str:
        """The id of the cluster; needs an answer of a broker.

        Raises:
            KafkaException: there is none in time.
        """
        address = self._library.rd_kafka_clusterid(self._client, _ms(timeout))
        if not address:
            raise KafkaException(KafkaError(KafkaError._TIMED_OUT))  # noqa: SLF001  # the library's name
        name = ctypes.string_at(address).decode()
        self._library.rd_kafka_mem_free(self._client, address)
        return name

    def init_transactions(self, timeout: float) -> None:
        """As all calls of transactions: those of the library, with its errors as `KafkaException`."""
        raise_error(self._library, self._library.rd_kafka_init_transactions(self._client, _ms(timeout)))

    def begin_transaction(self) -> None:
        """Begin."""
        raise_error(self._library, self._library.rd_kafka_begin_transaction(self._client))

    def send_offsets_to_transaction(
        self, positions: list[TopicPartition], group_metadata: bytes, timeout: float
    ) -> None:
        """Add offsets, with the metadata of the binding's consumer as it packs it."""
        library, metadata = self._library, ctypes.c_void_p()
        unpack = library.rd_kafka_consumer_group_metadata_read
        raise_error(library, unpack(ctypes.addressof(metadata), group_metadata, len(group_metadata)))
        places = library.rd_kafka_topic_partition_list_new(len(positions))
        try:
            for each in positions:
                place = places, each.topic.encode(), each.partition
                library.rd_kafka_topic_partition_list_add(*place)
                library.rd_kafka_topic_partition_list_set_offset(*place, each.offset)
            raise_error(
                library, library.rd_kafka_send_offsets_to_transaction(self._client, places, metadata, _ms(timeout))
            )
        finally:
            library.rd_kafka_topic_partition_list_destroy(places)
            library.rd_kafka_consumer_group_metadata_destroy(metadata)

    def commit_transaction(self, timeout: float) -> None:
        """Flush and commit."""
        raise_error(self._library, self._library.rd_kafka_commit_transaction(self._client, _ms(timeout)))

    def abort_transaction(self, timeout: float) -> None:
        """Purge and abort."""
        raise_error(self._library, self._library.rd_kafka_abort_transaction(self._client, _ms(timeout)))

    def poll(self, timeout: float) -> int:
        """Serve callbacks; return their number."""
        return int(self._library.rd_kafka_poll(self._client, _ms(timeout)))

    def produce(
        self,
        topic: str,
        value: bytes | None,
        key: bytes | None,
        partition: int,
        _on_delivery: None,
        _report: None,
        _timestamp: int,
        headers: list[tuple[str, str | bytes | None]] | None,
    ) -> None:
        """Add one record; arguments are those of the binding.

        Raises:
            BufferError: the queue is full.
            KafkaException: the record is refused.
        """
        if headers:
            self.pending(topic, record_columns([(key, value, headers)]), partition).put(1)
            return
        content = value, len(value or b""), key, len(key or b"")
        if self._library.rd_kafka_produce(self._topic(topic), partition, kernels.COPY, *content, None):
            self.refuse(self._library.rd_kafka_last_error())

    def pending(self, topic: str, columns: RecordColumns, partition: int = -1) -> "PendingRecords":
        """Begin to add records."""
        vus = np.zeros((kernels.VUS, kernels.VU_WORDS), np.int64)
        numbers = vus.view(np.int32)
        numbers[:, 0] = kernels.VU_KINDS
        vus[kernels.TOPIC, 1] = self._topic(topic)
        numbers[kernels.PARTITION, 2] = partition
        numbers[kernels.FLAGS, 2] = kernels.COPY
        return PendingRecords(self, self._client, vus.ravel(), columns)

    def refuse(self, code: int) -> NoReturn:
        """Raise the error of a record, as the binding does."""
        if code == KafkaError._QUEUE_FULL:  # noqa: SLF001  # the library's name
            raise BufferError("the queue is full")
        reason = self._library.rd_kafka_err2str(code).decode()
        raise KafkaException(KafkaError(code, f"Unable to produce message: {reason}"))

    def _topic(self, name: str) -> int:
        found = self._topics.get(name)
        if found is None:
            found = self._library.rd_kafka_topic_new(self._client, name.encode(), None)
            if not found:
                self.refuse(self._library.rd_kafka_last_error())
            self._topics[name] = found
        return found


class PendingRecords:
    """Records that are being added to a producer."""

    def __init__(self, producer: CProducer, client: int, vus: kernels.Ints, columns: RecordColumns) -> None:
        self._producer = producer
        self._cursor = np.zeros(kernels.CURSOR, np.int64)
        self._count = len(columns)
        own, shared, names = columns.own, columns.shared, columns.number_names
        starts = np.append(0, np.cumsum(shared.fields.sizes.clip(0)))[shared.edges]
        self._begin: tuple[Any, ...] = client, vus, self._cursor
        self._columns: tuple[Any, ...] = (
            *columns.keys,
            *columns.values,
            *own.fields,
            own.edges,
            *shared.fields,
            shared.edges,
            starts,
            columns.kinds,
            *names,
            columns.numbers,
            np.empty(DIGITS, np.uint8),
        )

    @property
    def left(self) -> int:
        """How many are not added yet."""
        return self._count - int(self._cursor[kernels.ROW])

    def put(self, most: int) -> None:
        """Add the next records.

        Raises:
            BufferError: the queue is full; some may have been added.
            KafkaException: the next record is refused.
        """
        end = min(int(self._cursor[kernels.ROW]) + most, self._count)
        put: Callable[..., int] = kernels.put_records
        code = put(*self._begin, end, *self._columns)
        if code:
            self._producer.refuse(code)


def warm_up() -> None:
    """Compile the kernel, or load it from the cache; does nothing where the C functions cannot be had."""
    try:
        producing_functions()
    except OSError:
        return
    vus = np.zeros(kernels.VUS * kernels.VU_WORDS, np.int64)
    PendingRecords(None, 0, vus, record_columns(())).put(0)  # type: ignore[arg-type]  # no record, no error


def _callbacks(library: ctypes.CDLL, last_error: LastClientError, on_delivery: DeliveryReport) -> tuple[Any, ...]:
    """Of reports, errors and log lines; they never raise, and hold no reference to the producer."""

    def report(_client: int, message: int, _opaque: int) -> None:
        code = ctypes.c_int.from_address(message + _ERROR_AT).value
        if code:
            on_delivery(KafkaError(code), None)

    def error(_client: int, code: int, reason: bytes, _opaque: int) -> None:
        if code != KafkaError._FATAL:  # noqa: SLF001  # the next call raises it
            last_error.record_error(KafkaError(code, (reason or b"").decode(errors="replace")))

    def log(client: int, level: int, facility: bytes, line: bytes) -> None:
        log_line(library.rd_kafka_name(client).decode(), level, facility, line)

    return _on_report(report), _on_error(error), _on_log(log)


def _ms(seconds: float) -> int:
    """Below 0 the library takes it as infinite."""
    return -1 if seconds < 0 else int(seconds * 1000)
