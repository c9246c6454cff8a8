"""A consumer of the C library that joins no group: partitions assigned by hand, and its events.

Logs, errors and statistics come as events of a queue that the caller polls: the library's threads never call Python.
"""

import ctypes
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
from confluent_kafka import KafkaError

from consumer.errors import UsageError
from consumer.kafka.brokers import ClientWatch
from consumer.kafka.c_functions import (
    CONSUMER,
    EVENT_ERROR,
    EVENT_LOG,
    EVENT_STATISTICS,
    reading_functions,
)
from consumer.kafka.c_handle import destroy_client, log_line, new_client, new_configuration, raise_error
from consumer.kafka.clients import LastClientError
from consumer.kafka.config import ClientConfig
from consumer.kafka.msk_iam import tokens_of
from consumer.kafka.reading import NO_OFFSET, Place

_MOST_EVENTS = 100
"""Events that one call serves."""


class CClient:
    """Owns the C library's client; used by one thread.

    Args:
        config: from `live_config` or `restore_config`.
        watch: is told of errors, and of statistics if it takes them.

    Raises:
        OSError: the C functions cannot be had.
        UsageError: librdkafka doesn't take the configuration; names the key.
        ViewerConsumerError: there is no token to log in with.
    """

    def __init__(self, config: ClientConfig, watch: LastClientError) -> None:
        self._library = reading_functions()
        self._watch = watch
        watch.logs_in_with(config)
        self._tokens = tokens_of(config)
        self._client = self._made(config)
        self._is_open = True
        self._name = self._library.rd_kafka_name(self._client).decode()
        self._main = self._library.rd_kafka_queue_get_main(self._client)
        self._library.rd_kafka_set_log_queue(self._client, self._main)
        self._records = self._library.rd_kafka_queue_get_consumer(self._client)
        if not self._records:
            self._library.rd_kafka_queue_destroy(self._main)
            destroy_client(self._library, self._client, self._tokens)
            raise UsageError("kafka.client: a client without group.id has no queue of records")

    def fetch(self, messages: npt.NDArray[np.int64], timeout_s: float) -> int:
        """Write the addresses of the next messages; return their number. The caller destroys each.

        Waits for the first only: a batch that must be full would delay the records in it.
        """
        self._check()
        consume, address = self._library.rd_kafka_consume_batch_queue, messages.ctypes.data
        read: int = consume(self._records, round(timeout_s * 1000), address, 1)
        if read == 1 and len(messages) > 1:
            read += max(0, consume(self._records, 0, address + messages.itemsize, len(messages) - 1))
        return max(0, read)

    def serve_events(self) -> bool:
        """Hand on what the client has said meanwhile; never raises for what it says.

        Returns:
            Whether more may be left, which should not wait: the queue has no limit.
        """
        self._check()
        for _ in range(_MOST_EVENTS):
            event = self._library.rd_kafka_queue_poll(self._main, 0)
            if not event:
                return False
            try:
                self._hand_on(event)
            finally:
                self._library.rd_kafka_event_destroy(event)
        return True

    def assign(self, place: Place, offset: int) -> None:
        """Begin to fetch a partition from an offset."""
        self._change(self._library.rd_kafka_incremental_assign, place, offset)

    def unassign(self, place: Place) -> None:
        """Stop to fetch a partition; what was fetched is not returned any more."""
        self._change(self._library.rd_kafka_incremental_unassign, place, NO_OFFSET)

    def known_end(self, place: Place) -> int:
        """The end offset as of the last fetch, without asking; negative if it is not known."""
        self._check()
        low, high = ctypes.c_int64(NO_OFFSET), ctypes.c_int64(NO_OFFSET)
        error = self._library.rd_kafka_get_watermark_offsets(
            self._client, place[0].encode(), place[1], ctypes.addressof(low), ctypes.addressof(high)
        )
        return NO_OFFSET if error else high.value

    def close(self) -> None:
        """Close the client, all of whose messages were destroyed: it waits for each of them."""
        if not self._is_open:
            return
        self._is_open = False
        library = self._library
        library.rd_kafka_consumer_close(self._client)
        for queue in (self._records, self._main):
            library.rd_kafka_queue_destroy(queue)
        destroy_client(library, self._client, self._tokens)

    def _made(self, config: ClientConfig) -> int:
        made = new_configuration(self._library, config)
        self._library.rd_kafka_conf_set_events(made, EVENT_LOG | EVENT_ERROR | EVENT_STATISTICS)
        return new_client(self._library, CONSUMER, made, self._tokens)

    def _check(self) -> None:
        """The library would read memory that it has given back."""
        if not self._is_open:
            raise RuntimeError("the client is closed")

    def _change(self, function: "ctypes._NamedFuncPointer", place: Place, offset: int) -> None:
        self._check()
        library, (topic, partition) = self._library, place
        places = library.rd_kafka_topic_partition_list_new(1)
        try:
            library.rd_kafka_topic_partition_list_add(places, topic.encode(), partition)
            library.rd_kafka_topic_partition_list_set_offset(places, topic.encode(), partition, offset)
            error = function(self._client, places)
        finally:
            library.rd_kafka_topic_partition_list_destroy(places)
        raise_error(library, error)

    def _hand_on(self, event: int) -> None:
        kind, library = self._library.rd_kafka_event_type(event), self._library
        if kind == EVENT_LOG:
            self._log(event)
        elif kind == EVENT_ERROR:
            text = library.rd_kafka_event_error_string(event).decode(errors="replace")
            fatal = bool(library.rd_kafka_event_error_is_fatal(event))
            self._watch.record_error(KafkaError(library.rd_kafka_event_error(event), text, fatal=fatal))
        elif kind == EVENT_STATISTICS and isinstance(self._watch, ClientWatch):
            self._watch.record_statistics(library.rd_kafka_event_stats(event).decode(errors="replace"))

    def _log(self, event: int) -> None:
        kind, text, level = ctypes.c_char_p(), ctypes.c_char_p(), ctypes.c_int()
        addresses: Iterator[int] = (ctypes.addressof(each) for each in (kind, text, level))
        if self._library.rd_kafka_event_log(event, *addresses) == 0:
            log_line(self._name, level.value, kind.value, text.value)
