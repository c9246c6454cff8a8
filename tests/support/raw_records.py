"""Records that the Python client cannot write, with librdkafka's own functions: header names that are not UTF-8."""

import ctypes

from confluent_kafka import cimpl

_PRODUCER = 0
_END, _TOPIC, _PARTITION, _VALUE, _FLAGS, _HEADERS = 0, 1, 3, 4, 7, 10  # RD_KAFKA_VTYPE_…
_COPY = 2  # RD_KAFKA_MSG_F_COPY
_REASON_BYTES = 512


def write_with_header(
    bootstrap_servers: str, topic: str, value: bytes, name: bytes, content: bytes, times: int = 1
) -> None:
    """Write a record with one header to partition 0, `times` times, and wait until all are acknowledged."""
    functions = _declared(ctypes.CDLL(cimpl.__file__))
    reason = ctypes.create_string_buffer(_REASON_BYTES)
    config = functions.rd_kafka_conf_new()
    functions.rd_kafka_conf_set(config, b"bootstrap.servers", bootstrap_servers.encode(), reason, _REASON_BYTES)
    client = functions.rd_kafka_new(_PRODUCER, config, reason, _REASON_BYTES)
    assert client, reason.value
    try:
        for _ in range(times):
            headers = functions.rd_kafka_headers_new(1)
            functions.rd_kafka_header_add(headers, name, len(name), content, len(content))
            error = functions.rd_kafka_producev(
                *(ctypes.c_void_p(client), ctypes.c_int(_TOPIC), ctypes.c_char_p(topic.encode())),
                *(ctypes.c_int(_PARTITION), ctypes.c_int32(0)),
                *(ctypes.c_int(_VALUE), ctypes.c_char_p(value), ctypes.c_size_t(len(value))),
                *(ctypes.c_int(_FLAGS), ctypes.c_int(_COPY), ctypes.c_int(_HEADERS), ctypes.c_void_p(headers)),
                ctypes.c_int(_END),
            )
            assert error == 0
        assert functions.rd_kafka_flush(client, 15_000) == 0
    finally:
        functions.rd_kafka_destroy(client)


def _declared(library: ctypes.CDLL) -> ctypes.CDLL:
    pointer, text, number = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int
    signatures = {
        "rd_kafka_conf_new": (pointer, []),
        "rd_kafka_conf_set": (number, [pointer, text, text, text, ctypes.c_size_t]),
        "rd_kafka_new": (pointer, [number, pointer, text, ctypes.c_size_t]),
        "rd_kafka_headers_new": (pointer, [ctypes.c_size_t]),
        "rd_kafka_header_add": (number, [pointer, text, ctypes.c_ssize_t, text, ctypes.c_ssize_t]),
        "rd_kafka_flush": (number, [pointer, number]),
        "rd_kafka_destroy": (None, [pointer]),
    }
    for name, (result, arguments) in signatures.items():
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library
