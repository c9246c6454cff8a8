"""Rows of several parts: collect the parts while a topic is read, and join them at its end."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from consumer.windows.storage.batch import Record, add_hashes, row_batch, row_error
from consumer.windows.storage.checksum import Checksum
from consumer.windows.storage.rows import BAD_PART, HEADER_BYTES, KEY_PREFIX_BYTES, PROBLEMS, VERSION


class LargeRow(NamedTuple):
    """A stream of several parts."""

    parts: list[tuple[bytes, bytes]]

    @property
    def stream_id(self) -> bytes:
        """The stream id as its keys hold it."""
        return self.parts[0][0][KEY_PREFIX_BYTES:]

    @property
    def as_one(self) -> Record:
        """The row joined to one part."""
        slices = b"".join(value[HEADER_BYTES:] for _, value in self.parts)
        return self.parts[0][0], bytes([VERSION, 0, 1]) + slices

    def checksum(self) -> Checksum:
        """Checksum of the records as stored."""
        total = np.zeros(1, np.uint64)
        add_hashes(row_batch(self.parts), total)
        return Checksum(len(self.parts), int(total[0]))


class LargeRows:
    """Deferred records: tombstones, and parts of rows with several parts."""

    def __init__(self) -> None:
        self._parts: dict[bytes, dict[int, tuple[bytes, bytes]]] = {}

    def add(self, key: bytes, value: bytes | None) -> None:
        """Add a part or a tombstone; the newest record of a key is valid."""
        stream_id, part = key[KEY_PREFIX_BYTES:], int.from_bytes(key[1:KEY_PREFIX_BYTES])
        if value is not None:
            self._parts.setdefault(stream_id, {})[part] = key, value
        elif stream_id in self._parts:
            self._parts[stream_id].pop(part, None)
            if not self._parts[stream_id]:
                del self._parts[stream_id]

    def whole(self, small: set[bytes]) -> Iterator[LargeRow]:
        """Join the parts of each stream, except streams in `small`, whose newer row has one part.

        Raises:
            RowError: a part is missing or left over.
        """
        for stream_id, parts in self._parts.items():
            if stream_id in small:
                parts.pop(0, None)
                if parts:
                    raise row_error(next(iter(parts.values()))[0], PROBLEMS[BAD_PART])
                continue
            _, (key, value) = min(parts.items())
            header = value[:HEADER_BYTES]
            if sorted(parts) != list(range(int.from_bytes(header[1:]))):
                raise row_error(key, "lacks a part, or has one too many")
            if any(other[:HEADER_BYTES] != header for _, other in parts.values()):
                raise row_error(key, "has parts that don't belong together")
            yield LargeRow([parts[part] for part in sorted(parts)])

    def ids(self) -> list[bytes]:
        """The streams with deferred parts."""
        return list(self._parts)
