"""The newest record of each key of a state partition."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from consumer.state.keys import CHECKPOINT, FINDING, JOURNAL, ROW_PREFIX
from consumer.windows.storage.rows import KEY_PREFIX_BYTES

Record = tuple[bytes, bytes | None]


@dataclass
class Contents:
    """Filled by `add`, in topic order."""

    checkpoint: bytes | None = None
    journal: bytes | None = None
    finding: bytes | None = None
    rows: dict[bytes, bytes] = field(default_factory=dict)
    """Values by key."""
    others: set[bytes] = field(default_factory=set)
    """Keys of foreign records."""

    def add(self, records: Iterable[Record]) -> None:
        """Add the next records; a value of None is a tombstone."""
        for key, value in records:
            if key == CHECKPOINT:
                self.checkpoint = value
            elif key == JOURNAL:
                self.journal = value
            elif key == FINDING:
                self.finding = value
            elif not key.startswith(ROW_PREFIX):
                self.others.discard(key) if value is None else self.others.add(key)
            elif value is None:
                self.rows.pop(key, None)
            else:
                self.rows[key] = value

    @property
    def empty(self) -> bool:
        """Whether nothing is stored."""
        single = (self.checkpoint, self.journal, self.finding)
        return all(value is None for value in single) and not self.rows and not self.others

    @property
    def streams(self) -> int:
        """Number of streams with rows; a large stream has several rows."""
        return len({key[KEY_PREFIX_BYTES:] for key in self.rows})

    @property
    def row_bytes(self) -> int:
        """Bytes of rows, keys included."""
        return sum(len(key) + len(value) for key, value in self.rows.items())

    def rows_of(self, stream_id: bytes) -> list[tuple[bytes, bytes]]:
        """All rows of one stream."""
        return [(key, value) for key, value in self.rows.items() if key[KEY_PREFIX_BYTES:] == stream_id]
