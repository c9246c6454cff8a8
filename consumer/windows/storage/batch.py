"""Stored records as columns, what loading them needs, and the error of a row that cannot be loaded."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from consumer.runtime.jit import compiled
from consumer.windows.layout import NONE
from consumer.windows.storage.checksum import record_hash
from consumer.windows.storage.rows import (
    HEADER_BYTES,
    KEY_PREFIX_BYTES,
    MIN_BUCKET_BYTES,
    Bytes,
    count_viewers,
    get_two_bytes,
)

Record = tuple[bytes, bytes | None]


class RowError(ValueError):
    """A row cannot be decoded; discard the windows it was being loaded into."""


def row_error(key: bytes, problem: str) -> RowError:
    """An error that names the stream."""
    stream_id = key[KEY_PREFIX_BYTES:].decode(errors="replace")
    return RowError(f"the stored row of stream {stream_id!r} {problem}")


class RowBatch(NamedTuple):
    """Records as columns: record i's key is `text[key_at[i] : key_at[i] + key_size[i]]`, its value likewise.

    The size of a tombstone's value is NONE.
    """

    text: Bytes
    key_at: npt.NDArray[np.int64]
    key_size: npt.NDArray[np.int64]
    value_at: npt.NDArray[np.int64]
    value_size: npt.NDArray[np.int64]

    @property
    def most_buckets(self) -> int:
        """Upper bounds of what the records hold."""
        return len(self.text) // MIN_BUCKET_BYTES


def row_batch(records: Sequence[Record]) -> RowBatch:
    """Convert records to columns."""
    key_size = np.array([len(key) for key, _ in records], np.int64)
    value_size = np.array([NONE if value is None else len(value) for _, value in records], np.int64)
    text = bytearray().join([key for key, _ in records] + [value for _, value in records if value is not None])
    in_text = np.maximum(value_size, 0)
    return RowBatch(
        text=np.frombuffer(text or bytearray(1), np.uint8),
        key_at=np.cumsum(key_size) - key_size,
        key_size=key_size,
        value_at=np.cumsum(in_text) - in_text + key_size.sum(),
        value_size=value_size,
    )


class Needs(NamedTuple):
    """Upper bound of a section's items."""

    viewers: int
    activities: int
    open_buckets: int


def needs_of(batch: RowBatch) -> Needs:
    """Sizes needed by the viewers in the records."""
    needs = np.zeros(len(Needs._fields), np.int64)
    count_needs(batch, needs)
    return Needs(*needs.tolist())


@compiled
def count_needs(batch: RowBatch, needs: npt.NDArray[np.int64]) -> None:
    """Add up the sizes needed by one-part records, in the order of `Needs`."""
    for i in range(len(batch.key_at)):
        at, size = int(batch.value_at[i]), int(batch.value_size[i])
        if size >= HEADER_BYTES and get_two_bytes(batch.text, at + 1) == 1:
            viewers, activities, still_open = count_viewers(batch.text, at + HEADER_BYTES, at + size)
            needs[0] += viewers
            needs[1] += activities
            needs[2] += still_open


@compiled
def add_hashes(batch: RowBatch, total: npt.NDArray[np.uint64]) -> None:
    """Add the hash of every record to `total[0]`; none may be a tombstone."""
    for i in range(len(batch.key_at)):
        total[0] += record_hash(
            batch.text,
            int(batch.key_at[i]),
            int(batch.key_size[i]),
            int(batch.value_at[i]),
            int(batch.value_size[i]),
        )
