"""Read through the C library's functions into columns: no Python object for a record.

```
 C library ── addresses of messages ──► errors apart ──► columns ──► batch ──► destroyed at the next poll
                                                            └─► keys, headers: by row, while the batch is held
```
The library's memory is only touched while messages are held; behind that a batch answers with an exception.
"""

import ctypes
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise

import numpy as np
import numpy.typing as npt
from confluent_kafka import KafkaError

from consumer.kafka import message_columns as kernels
from consumer.kafka.batch import Batch, Run
from consumer.kafka.brokers import ClientWatch
from consumer.kafka.c_client import CClient
from consumer.kafka.c_functions import reading_functions
from consumer.kafka.clients import LastClientError
from consumer.kafka.config import ClientConfig
from consumer.kafka.reading import Place, ReadEvent, RecordReader, close_aside
from consumer.kafka.record import UNREADABLE_HEADERS
from consumer.runtime.joined import Joined
from consumer.runtime.record_columns import HeaderColumns, header_columns

_Ints = npt.NDArray[np.int64]
_Bytes = npt.NDArray[np.uint8]

_LEAST_TEXT = 1 << 16
_MOST_TEXT = 1 << 22
"""What is kept for the next batch."""
_HEADER_BYTES = 64
"""Room for a header that names a schema; longer ones are read a second time."""


class ColumnReader(RecordReader):
    """A client of the C library that joins no group.

    Args:
        config: from `live_config` or `restore_config`.
        watch: is told of errors and statistics, inside `poll`.

    Raises:
        OSError: the C functions cannot be had.
        UsageError: librdkafka doesn't take the configuration.
    """

    def __init__(self, config: ClientConfig, watch: LastClientError) -> None:
        super().__init__()
        self._config = config
        self._watch = watch
        self._client = CClient(config, watch)
        self._held = _Held()
        self._text = np.empty(_LEAST_TEXT, np.uint8)

    def known_end(self, place: Place) -> int:
        """As of the last fetch."""
        return self._client.known_end(place)

    def close(self) -> None:
        """Destroy what is held, and close the client."""
        self._held.release()
        self._client.close()

    def _renew_client(self) -> None:
        self._held.release()
        old = self._client
        if isinstance(self._watch, ClientWatch):
            self._watch.client_created()
        self._client = CClient(self._config, self._watch)
        close_aside(old.close)

    def _fetch(self, max_records: int, timeout_s: float) -> Batch:
        self._held.release()
        if self._client.serve_events():
            timeout_s = 0.0
        held = self._held = self._held.next(max_records)
        held.take(self._client.fetch(held.messages[:max_records], timeout_s))
        return held.batch(self._room_for(held.text_bytes))

    def _room_for(self, text_bytes: int) -> _Bytes:
        if len(self._text) < text_bytes <= _MOST_TEXT:
            self._text = np.empty(min(2 * text_bytes, _MOST_TEXT), np.uint8)
        return self._text if text_bytes <= len(self._text) else np.empty(text_bytes, np.uint8)

    def _pop_events(self) -> Iterator[ReadEvent]:
        return self._held.errors()

    def _assign(self, place: Place, offset: int) -> None:
        self._client.assign(place, offset)

    def _unassign(self, place: Place) -> None:
        self._client.unassign(place)


class _Buffers:
    """Columns that are used again for each batch."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.messages, self.with_errors, self.sizes, self.offsets, self.timestamps_ms, self.topics, self.begins = (
            np.empty(capacity, np.int64) for _ in range(7)
        )
        self.partitions = np.empty(capacity, np.int64)
        self.found = np.zeros(3, np.int64)


class _Held:
    """The messages of one batch; its `Originals`."""

    def __init__(self, buffers: _Buffers | None = None) -> None:
        self._buffers = buffers or _Buffers(1)
        self._count = 0
        self._errors = 0
        self._is_held = True
        self.text_bytes = 0

    def next(self, capacity: int) -> "_Held":
        """For the next batch, when this one is released."""
        return _Held(self._buffers if self._buffers.capacity >= capacity else _Buffers(capacity))

    @property
    def messages(self) -> _Ints:
        """Where the client writes the addresses of messages."""
        return self._buffers.messages

    def take(self, count: int) -> None:
        """Hold that many messages, whose addresses were written."""
        buffers = self._buffers
        if count:
            kernels.set_errors_apart(buffers.messages, count, buffers.with_errors, buffers.found)
            self._count, self._errors, self.text_bytes = buffers.found.tolist()

    def release(self) -> None:
        """Destroy the messages."""
        if self._is_held:
            self._is_held = False
            kernels.destroy_messages(self._buffers.messages, self._count)
            kernels.destroy_messages(self._buffers.with_errors, self._errors)

    def batch(self, text: _Bytes) -> Batch:
        """Their columns."""
        buffers, count = self._buffers, self._count
        runs = kernels.read_columns(
            buffers.messages,
            count,
            text,
            buffers.sizes,
            buffers.offsets,
            buffers.timestamps_ms,
            buffers.topics,
            buffers.partitions,
            buffers.begins,
        )
        values = Joined(text[: self.text_bytes], buffers.sizes[:count])
        return Batch(values, buffers.offsets[:count], buffers.timestamps_ms[:count], list(self._runs(runs)), self)

    def errors(self) -> Iterator[ReadEvent]:
        """What came in place of records."""
        for address in self._buffers.with_errors[: self._errors].tolist():
            yield _event_at(address)

    def keys(self, rows: Sequence[int]) -> Joined:
        """The keys of these rows."""
        wanted = self._rows(rows)
        sizes = np.empty(len(wanted), np.int64)
        text = _filled(
            lambda text: kernels.read_field(self.messages, wanted, kernels.KEY, text, sizes), 64 * len(wanted)
        )
        return Joined(text, sizes)

    def header(self, name: str) -> Joined:
        """The value of the first header by that name, of all rows."""
        self._check()
        sizes, room, wanted = (
            np.empty(self._count, np.int64),
            np.empty(3, np.int64),
            ctypes.create_string_buffer(name.encode()),
        )
        text = _filled(
            lambda text: kernels.read_header(self.messages, self._count, ctypes.addressof(wanted), room, text, sizes),
            _HEADER_BYTES * self._count,
        )
        return Joined(text, sizes)

    def headers(self, rows: Sequence[int]) -> HeaderColumns:
        """The headers of these rows."""
        wanted = self._rows(rows)
        counts, room, needed = np.empty(len(wanted), np.int64), np.empty(4, np.int64), np.zeros(2, np.int64)
        text, sizes = np.empty(_HEADER_BYTES * len(wanted), np.uint8), np.empty(4 * len(wanted), np.int64)
        kernels.read_headers(self.messages, wanted, room, counts, text, sizes, needed)
        if needed[0] > len(text) or needed[1] > len(sizes):
            text, sizes = np.empty(needed[0], np.uint8), np.empty(needed[1], np.int64)
            kernels.read_headers(self.messages, wanted, room, counts, text, sizes, needed)
        fields = Joined(text[: needed[0]], sizes[: needed[1]])
        return _readable(HeaderColumns(fields, np.append(0, 2 * np.cumsum(counts))))

    def _runs(self, number: int) -> Iterator[Run]:
        buffers = self._buffers
        begins = [*buffers.begins[:number].tolist(), self._count]
        places = zip(buffers.topics[:number].tolist(), buffers.partitions[:number].tolist(), strict=True)
        for (topic, partition), (begin, end) in zip(places, pairwise(begins), strict=True):
            yield Run(partition, begin, end, _topic_name(topic))

    def _rows(self, rows: Sequence[int]) -> _Ints:
        self._check()
        # A range of all rows, where the settings need every key, is not worth an object a row.
        wanted = np.arange(rows.start, rows.stop) if isinstance(rows, range) else np.array(rows, np.int64)
        if len(wanted) and (wanted.min() < 0 or wanted.max() >= self._count):
            raise IndexError(f"no rows {rows} of {self._count}")
        return wanted

    def _check(self) -> None:
        if not self._is_held:
            raise RuntimeError("the batch is over: keys and headers are read before the next poll")


def warm_up() -> None:
    """Compile the kernels of reading, or load them from the cache; does nothing where they cannot be had."""
    try:
        reading_functions()
    except OSError:
        return
    held = _Held()
    kernels.set_errors_apart(held.messages, 0, held.messages, np.zeros(3, np.int64))
    batch = held.batch(np.empty(0, np.uint8))
    batch.header("")
    held.keys(())
    held.headers(())
    held.release()


def _filled(read: Callable[[_Bytes], int], usual_bytes: int) -> _Bytes:
    """Read into a buffer of the usual size, and again into a larger one if it was too small."""
    text = np.empty(usual_bytes, np.uint8)
    needed = read(text)
    if needed > len(text):
        text = np.empty(needed, np.uint8)
        read(text)
    return text[:needed]


def _readable(headers: HeaderColumns) -> HeaderColumns:
    """The same, but for lists with a name that is not UTF-8."""
    names = headers.fields.some(range(0, len(headers.fields), 2))
    if all(map(_is_utf_8, set(names))):
        return headers
    places = pairwise((headers.edges // 2).tolist())
    parts = (headers.part(row, row + 1) for row in range(len(headers)))
    return header_columns(
        [
            part.lists()[0] if all(map(_is_utf_8, names[begin:end])) else [(UNREADABLE_HEADERS, None)]
            for part, (begin, end) in zip(parts, places, strict=True)
        ]
    )


def _is_utf_8(name: bytes | None) -> bool:
    try:
        (name or b"").decode()
    except UnicodeDecodeError:
        return False
    return True


class _Message(ctypes.Structure):
    """rd_kafka_message_t, as `message_columns` reads it."""

    _fields_ = (
        ("error", ctypes.c_int),
        ("topic", ctypes.c_void_p),
        ("partition", ctypes.c_int32),
        ("payload", ctypes.c_void_p),
        ("size", ctypes.c_size_t),
        ("key", ctypes.c_void_p),
        ("key_size", ctypes.c_size_t),
        ("offset", ctypes.c_int64),
        ("private", ctypes.c_void_p),
    )


def _event_at(address: int) -> ReadEvent:
    message = _Message.from_address(address)
    text = ctypes.string_at(message.payload, message.size) if message.payload else b""
    reason = text.rstrip(b"\0").decode(errors="replace")
    place = (_topic_name(message.topic), int(message.partition)) if message.topic else None
    return ReadEvent(KafkaError(message.error, reason or None), place, int(message.offset))


def _topic_name(address: int) -> str:
    return str(reading_functions().rd_kafka_topic_name(address).decode())
