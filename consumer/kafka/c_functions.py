"""librdkafka's C functions, declared with their types.

They are found through the extension module of the Python binding, which brings the library or is linked with the
system's: both use the same one.
"""

import ctypes
from collections.abc import Callable, Iterable
from functools import cache
from typing import Any

from llvmlite import binding
from numba import types

from consumer.kafka.c_library import Signatures, declared
from consumer.runtime.memory import DISABLED

OLDEST_VERSION = 0x02000000
"""2.0: the structures below are those of all 2.x releases."""

PRODUCER, CONSUMER = range(2)
"""rd_kafka_type_t."""

EVENT_LOG, EVENT_ERROR, EVENT_STATISTICS = 0x4, 0x8, 0x40
"""RD_KAFKA_EVENT_*: what a client's main queue holds instead of calling callbacks."""

REASON_BYTES = 512
"""Room for the text of an error."""

_POINTER_BYTES = 8
"""Of the structures that kernels read, in this machine's byte order."""

_pointer, _text, _int, _long = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int, ctypes.c_int64


_OF_MESSAGES: Signatures = {
    "rd_kafka_message_timestamp": (_long, [_pointer, _pointer]),
    "rd_kafka_message_destroy": (None, [_pointer]),
    "rd_kafka_message_headers": (_int, [_pointer, _pointer]),
    "rd_kafka_header_get": (_int, [_pointer, ctypes.c_size_t, _pointer, _pointer, _pointer]),
    "rd_kafka_header_get_all": (_int, [_pointer, ctypes.c_size_t, _pointer, _pointer, _pointer]),
}
"""Called from kernels."""

_MAKING: Signatures = {
    "rd_kafka_version": (_int, []),
    "rd_kafka_conf_new": (_pointer, []),
    "rd_kafka_conf_set": (_int, [_pointer, _text, _text, _text, ctypes.c_size_t]),
    "rd_kafka_conf_enable_sasl_queue": (None, [_pointer, _int]),
    "rd_kafka_conf_destroy": (None, [_pointer]),
    "rd_kafka_new": (_pointer, [_int, _pointer, _text, ctypes.c_size_t]),
    "rd_kafka_destroy": (None, [_pointer]),
    "rd_kafka_sasl_background_callbacks_enable": (_pointer, [_pointer]),
    "rd_kafka_oauthbearer_set_token": (
        _int,
        [_pointer, _text, _long, _text, _pointer, ctypes.c_size_t, _text, ctypes.c_size_t],
    ),
    "rd_kafka_set_log_queue": (_int, [_pointer, _pointer]),
    "rd_kafka_name": (_text, [_pointer]),
    "rd_kafka_topic_partition_list_new": (_pointer, [_int]),
    "rd_kafka_topic_partition_list_add": (_pointer, [_pointer, _text, ctypes.c_int32]),
    "rd_kafka_topic_partition_list_set_offset": (_int, [_pointer, _text, ctypes.c_int32, _long]),
    "rd_kafka_topic_partition_list_destroy": (None, [_pointer]),
    "rd_kafka_error_code": (_int, [_pointer]),
    "rd_kafka_error_string": (_text, [_pointer]),
    "rd_kafka_error_is_fatal": (_int, [_pointer]),
    "rd_kafka_error_is_retriable": (_int, [_pointer]),
    "rd_kafka_error_txn_requires_abort": (_int, [_pointer]),
    "rd_kafka_error_destroy": (None, [_pointer]),
    "rd_kafka_err2str": (_text, [_int]),
}
"""Of all clients."""

_READING: Signatures = {
    **_MAKING,
    "rd_kafka_conf_set_events": (None, [_pointer, _int]),
    "rd_kafka_queue_get_main": (_pointer, [_pointer]),
    "rd_kafka_queue_get_consumer": (_pointer, [_pointer]),
    "rd_kafka_queue_destroy": (None, [_pointer]),
    "rd_kafka_queue_poll": (_pointer, [_pointer, _int]),
    "rd_kafka_event_type": (_int, [_pointer]),
    "rd_kafka_event_error": (_int, [_pointer]),
    "rd_kafka_event_error_string": (_text, [_pointer]),
    "rd_kafka_event_error_is_fatal": (_int, [_pointer]),
    "rd_kafka_event_log": (_int, [_pointer, _pointer, _pointer, _pointer]),
    "rd_kafka_event_stats": (_text, [_pointer]),
    "rd_kafka_event_destroy": (None, [_pointer]),
    "rd_kafka_topic_name": (_text, [_pointer]),
    "rd_kafka_incremental_assign": (_pointer, [_pointer, _pointer]),
    "rd_kafka_incremental_unassign": (_pointer, [_pointer, _pointer]),
    "rd_kafka_get_watermark_offsets": (_int, [_pointer, _text, ctypes.c_int32, _pointer, _pointer]),
    "rd_kafka_consume_batch_queue": (ctypes.c_ssize_t, [_pointer, _int, _pointer, ctypes.c_size_t]),
    "rd_kafka_consumer_close": (_int, [_pointer]),
    **_OF_MESSAGES,
}
"""Of the reader."""

_OF_RECORDS: Signatures = {
    "rd_kafka_produceva": (_pointer, [_pointer, _pointer, ctypes.c_size_t]),
    "rd_kafka_headers_new": (_pointer, [ctypes.c_size_t]),
    "rd_kafka_header_add": (_int, [_pointer, _pointer, ctypes.c_ssize_t, _pointer, ctypes.c_ssize_t]),
    "rd_kafka_headers_destroy": (None, [_pointer]),
}
"""Called from kernels, with `rd_kafka_error_code` and `rd_kafka_error_destroy`."""

_PRODUCING: Signatures = {
    **_MAKING,
    **_OF_RECORDS,
    "rd_kafka_conf_set_dr_msg_cb": (None, [_pointer, _pointer]),
    "rd_kafka_conf_set_error_cb": (None, [_pointer, _pointer]),
    "rd_kafka_conf_set_log_cb": (None, [_pointer, _pointer]),
    "rd_kafka_poll": (_int, [_pointer, _int]),
    "rd_kafka_topic_new": (_pointer, [_pointer, _text, _pointer]),
    "rd_kafka_topic_destroy": (None, [_pointer]),
    "rd_kafka_produce": (
        _int,
        [_pointer, ctypes.c_int32, _int, _text, ctypes.c_size_t, _text, ctypes.c_size_t, _pointer],
    ),
    "rd_kafka_last_error": (_int, []),
    "rd_kafka_clusterid": (_pointer, [_pointer, _int]),
    "rd_kafka_mem_free": (None, [_pointer, _pointer]),
    "rd_kafka_init_transactions": (_pointer, [_pointer, _int]),
    "rd_kafka_begin_transaction": (_pointer, [_pointer]),
    "rd_kafka_send_offsets_to_transaction": (_pointer, [_pointer, _pointer, _pointer, _int]),
    "rd_kafka_commit_transaction": (_pointer, [_pointer, _int]),
    "rd_kafka_abort_transaction": (_pointer, [_pointer, _int]),
    "rd_kafka_consumer_group_metadata_read": (_pointer, [_pointer, _text, ctypes.c_size_t]),
    "rd_kafka_consumer_group_metadata_destroy": (None, [_pointer]),
}
"""Of the producer."""

_MOCK: Signatures = {
    "rd_kafka_mock_cluster_new": (_pointer, [_pointer, _int]),
    "rd_kafka_mock_cluster_destroy": (None, [_pointer]),
    "rd_kafka_mock_cluster_bootstraps": (_text, [_pointer]),
    "rd_kafka_mock_topic_create": (_int, [_pointer, _text, _int, _int]),
    "rd_kafka_mock_group_initial_rebalance_delay_ms": (None, [_pointer, ctypes.c_int32]),
}
"""Of the mock cluster; a library may be built without."""


@cache
def reading_functions() -> ctypes.CDLL:
    """The functions of the reader; kernels may call those of messages from then on.

    Raises:
        OSError: the library, or one of the functions, is not there, or it is of another major release.
    """
    return _for_kernels(declared(_READING), _OF_MESSAGES)


@cache
def producing_functions() -> ctypes.CDLL:
    """The functions of the producer; kernels may call those of records from then on.

    Raises:
        OSError: as `reading_functions`.
    """
    return _for_kernels(declared(_PRODUCING), (*_OF_RECORDS, "rd_kafka_error_code", "rd_kafka_error_destroy"))


@cache
def mock_functions() -> ctypes.CDLL:
    """The functions of the mock cluster, and those that make its client.

    Raises:
        OSError: as `reading_functions`.
    """
    return declared({**_READING, **_MOCK})


def external(functions: Callable[[], ctypes.CDLL], name: str, result: Any, *arguments: Any) -> Any:
    """One of these functions as kernels call it, by numba's types; addresses are passed as numbers."""
    if not DISABLED:
        return types.ExternalFunction(name, result(*arguments))

    def call(*given: int) -> Any:
        # ctypes takes no numbers of numpy, and returns None for the address 0.
        return getattr(functions(), name)(*map(int, given)) or 0

    return call


def _for_kernels(library: ctypes.CDLL, names: Iterable[str]) -> ctypes.CDLL:
    """Check the library, and let kernels call these functions."""
    if ctypes.sizeof(_pointer) != _POINTER_BYTES:
        raise OSError("messages are read as those of a library of 64 bits")
    version = library.rd_kafka_version()
    if version < OLDEST_VERSION or version >> 24 != OLDEST_VERSION >> 24:
        raise OSError(f"librdkafka {version >> 24}.{version >> 16 & 0xFF} is not a release of 2.x")
    for name in names:
        binding.add_symbol(name, ctypes.cast(getattr(library, name), _pointer).value)
    return library
