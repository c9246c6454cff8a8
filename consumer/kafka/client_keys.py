"""Ask librdkafka whether it knows the keys of `kafka.client` and takes their values, without making a client."""

import ctypes
import difflib
import re
from collections.abc import Iterator

from consumer.kafka.c_library import Signatures, declared
from consumer.kafka.config import is_refused
from consumer.runtime.secret import is_secret
from consumer.settings.errors import Conflict
from consumer.settings.model import Settings

_pointer, _text = ctypes.c_void_p, ctypes.c_char_p

_FUNCTIONS: Signatures = {
    "rd_kafka_conf_new": (_pointer, []),
    "rd_kafka_conf_set": (ctypes.c_int, [_pointer, _text, _text, _text, ctypes.c_size_t]),
    "rd_kafka_conf_destroy": (None, [_pointer]),
    "rd_kafka_conf_properties_show": (None, [_pointer]),
}

_REASON_BYTES = 512
"""Room for the text of an error."""

_UNKNOWN = -2
"""RD_KAFKA_CONF_UNKNOWN."""

_ROW = re.compile(rb"^([a-z][a-z0-9._]*) +\|", re.MULTILINE)
"""A property in librdkafka's table of them."""


def key_conflicts(settings: Settings) -> Iterator[Conflict]:
    """Keys that librdkafka does not know, with the nearest that it knows, and values that it does not take.

    Finds nothing where the library's C functions cannot be had: then it says so itself when its clients are made.
    """
    client = {key: value for key, value in settings.kafka.client.items() if not is_refused(key)}
    if not client:
        return
    try:
        library = declared(_FUNCTIONS)
    except OSError:
        return
    for key, value in client.items():
        text = str(value).lower() if isinstance(value, bool) else str(value)
        if fault := _fault(library, key, text):
            yield Conflict((f"kafka.client.{key}",), fault)


def _fault(library: ctypes.CDLL, key: str, value: str) -> str:
    """What librdkafka says against one key; empty if nothing."""
    made, reason = library.rd_kafka_conf_new(), ctypes.create_string_buffer(_REASON_BYTES)
    try:
        outcome = library.rd_kafka_conf_set(made, key.encode(), value.encode(), reason, _REASON_BYTES)
    finally:
        library.rd_kafka_conf_destroy(made)
    if outcome == 0:
        return ""
    if outcome == _UNKNOWN:
        close = difflib.get_close_matches(key.replace("_", "."), _known_keys(library), n=1)
        return "librdkafka has no such key" + (f"; did you mean {close[0]}?" if close else "")
    said = " ".join(reason.value.decode(errors="replace").split())
    return "librdkafka refuses its value" + ("" if is_secret(key) else f": {said}")


def _known_keys(library: ctypes.CDLL) -> list[str]:
    """All keys, of the table that librdkafka prints for people; none where the C library cannot print to memory."""
    c_library = ctypes.CDLL(None)
    text, size = ctypes.c_char_p(), ctypes.c_size_t()
    try:
        open_memory, close, free = c_library.open_memstream, c_library.fclose, c_library.free
    except AttributeError:
        return []
    open_memory.restype = ctypes.c_void_p
    close.argtypes = free.argtypes = [ctypes.c_void_p]
    stream = open_memory(ctypes.byref(text), ctypes.byref(size))
    if not stream:
        return []
    library.rd_kafka_conf_properties_show(stream)
    close(stream)
    found = sorted({row.decode() for row in _ROW.findall(text.value or b"")})
    free(text)
    return found
