"""The records of a poll as columns, split into runs of one partition.

```
 row         0    1    2  │  3    4        rows of a run are ordered by offset
 values      ...  ...  ...│  ...  null     one behind the other in one buffer
 offsets     70   71   73 │  12   13
 run         partition 0  │  partition 4
```
Columns hold what every record needs. Keys and headers are asked for by row, because few records need them; where the
settings say that all do, as a column.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from consumer.kafka.record import Record, RecordHeaders
from consumer.runtime.joined import Joined, joined
from consumer.runtime.record_columns import HeaderColumns, header_columns


class Run(NamedTuple):
    """Rows `begin` to `end` of a batch: one partition, ordered by offset."""

    partition: int
    begin: int
    end: int
    topic: str = ""
    """Empty in batches made of records."""


class Originals(Protocol):
    """What a batch was made of: keys and headers, by row."""

    def keys(self, rows: Sequence[int]) -> Joined:
        """The keys of these rows."""

    def headers(self, rows: Sequence[int]) -> HeaderColumns:
        """The headers of these rows; `UNREADABLE_HEADERS` instead if a name is not UTF-8."""

    def header(self, name: str) -> Joined:
        """The value of the first header by that name, of all rows; `NULL_SIZE` for those without."""


@dataclass(slots=True)
class Batch:
    """Records of a poll, one entry per record in each column; valid until the reader's next poll."""

    values: Joined
    offsets: npt.NDArray[np.int64]
    timestamps_ms: npt.NDArray[np.int64]
    """Kafka's timestamps; -1 for a record without one."""
    runs: Sequence[Run]
    """The batch split at changes of topic or partition."""
    originals: Originals

    def __len__(self) -> int:
        return len(self.offsets)

    def header(self, name: str) -> Joined:
        """The value of the first header by that name, of all rows."""
        return self.originals.header(name)

    def key_column(self) -> Joined:
        """The keys of all rows; `NULL_SIZE` for those without."""
        return self.originals.keys(range(len(self)))

    def records(self, begin: int, end: int) -> list[Record]:
        """These rows as Python objects, which outlast the batch."""
        rows = range(begin, end)
        columns = zip(
            self.offsets[begin:end].tolist(),
            self.timestamps_ms[begin:end].tolist(),
            self.originals.keys(rows).all(),
            self.values.some(rows),
            [headers or () for headers in self.originals.headers(rows).lists()],
            strict=True,
        )
        return [Record(partition, *rest) for partition, rest in zip(self._partitions(begin, end), columns, strict=True)]

    def keys_and_values(self, run: Run) -> list[tuple[bytes | None, bytes | None]]:
        """Keys and values of a run as Python objects."""
        rows = range(run.begin, run.end)
        return list(zip(self.originals.keys(rows).all(), self.values.some(rows), strict=True))

    def part(self, run: Run) -> "Batch":
        """One run as a batch of its own, without a copy."""
        if len(self.runs) == 1:
            return self
        begin, end = run.begin, run.end
        return Batch(
            self.values.part(begin, end),
            self.offsets[begin:end],
            self.timestamps_ms[begin:end],
            [run._replace(begin=0, end=end - begin)],
            _Shifted(self.originals, begin, end),
        )

    def _partitions(self, begin: int, end: int) -> Iterator[int]:
        for run in self.runs:
            for _ in range(max(run.begin, begin), min(run.end, end)):
                yield run.partition


def batch_of_records(records: Sequence[Record]) -> Batch:
    """The columns of records that are Python objects."""
    return Batch(
        joined([record.value for record in records]),
        np.array([record.offset for record in records], np.int64),
        np.array([record.timestamp_ms for record in records], np.int64),
        list(runs_of([(record.partition,) for record in records])),
        _Records(records),
    )


def runs_of(places: Sequence[tuple[int] | tuple[int, str]]) -> Iterator[Run]:
    """Split where the partition, or the topic behind it, changes."""
    if places and places.count(places[0]) == len(places):  # the common case
        partition, *topic = places[0]
        yield Run(partition, 0, len(places), *topic)
        return
    begin = 0
    for (partition, *topic), run in groupby(places):
        end = begin + sum(1 for _ in run)
        yield Run(partition, begin, end, *topic)
        begin = end


class _Records:
    def __init__(self, records: Sequence[Record]) -> None:
        self._records = records

    def keys(self, rows: Sequence[int]) -> Joined:
        return joined([self._records[row].key for row in rows])

    def headers(self, rows: Sequence[int]) -> HeaderColumns:
        return header_columns([self._records[row].headers for row in rows])

    def header(self, name: str) -> Joined:
        return joined([first_header(record.headers, name) for record in self._records])


class _Shifted:
    """Rows of a part."""

    def __init__(self, originals: Originals, begin: int, end: int) -> None:
        self._originals = originals
        self._begin = begin
        self._end = end

    def keys(self, rows: Sequence[int]) -> Joined:
        return self._originals.keys([row + self._begin for row in rows])

    def headers(self, rows: Sequence[int]) -> HeaderColumns:
        return self._originals.headers([row + self._begin for row in rows])

    def header(self, name: str) -> Joined:
        return self._originals.header(name).part(self._begin, self._end)


def first_header(headers: RecordHeaders, name: str) -> bytes | None:
    """The value of the first header by that name; None if there is none, empty if it has none."""
    return next((value or b"" for each, value in headers if each == name), None)
