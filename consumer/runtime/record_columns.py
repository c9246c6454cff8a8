"""Records to publish as columns: keys, values and headers, without a Python object for a record."""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from consumer.runtime.joined import Joined, joined

Ints: TypeAlias = npt.NDArray[np.int64]

Headers: TypeAlias = Sequence[tuple[str, str | bytes | None]]

RecordWithHeaders: TypeAlias = tuple[bytes | None, bytes | None, list[tuple[str, str | bytes | None]]]
"""A record to publish: key, value and headers."""


class HeaderColumns(NamedTuple):
    """Lists of headers."""

    fields: Joined
    """Name and value of each header in turn."""
    edges: Ints
    """The fields of list i are those from `edges[i]` to `edges[i + 1]`."""

    def __len__(self) -> int:
        return len(self.edges) - 1

    def lists(self) -> list[list[tuple[str, bytes | None]]]:
        """As Python objects; names are UTF-8."""
        fields = self.fields.all()
        return [
            [((fields[i] or b"").decode(), fields[i + 1]) for i in range(begin, end, 2)]
            for begin, end in pairwise(self.edges.tolist())
        ]

    def sizes(self) -> Ints:
        """Bytes of all names and values of each list."""
        ends = np.append(0, np.cumsum(self.fields.sizes.clip(0)))
        sizes: Ints = np.diff(ends[self.edges])
        return sizes

    def part(self, begin: int, end: int) -> "HeaderColumns":
        """The lists from `begin` to `end`, without a copy."""
        first, last = int(self.edges[begin]), int(self.edges[end])
        return HeaderColumns(self.fields.part(first, last), self.edges[begin : end + 1] - first)


class RecordColumns(NamedTuple):
    """Records, each with three kinds of headers in this order: its own, those of its kind, and numbers as texts."""

    keys: Joined
    values: Joined
    own: HeaderColumns
    shared: HeaderColumns
    """The headers of each kind."""
    kinds: Ints
    """The kind of each record."""
    number_names: Joined
    numbers: Ints
    """By name and record."""

    def __len__(self) -> int:
        return len(self.kinds)

    def part(self, begin: int, end: int) -> "RecordColumns":
        """The records from `begin` to `end`."""
        return RecordColumns(
            self.keys.part(begin, end),
            self.values.part(begin, end),
            self.own.part(begin, end),
            self.shared,
            self.kinds[begin:end],
            self.number_names,
            np.ascontiguousarray(self.numbers[:, begin:end]),
        )

    def records(self) -> Iterator[RecordWithHeaders]:
        """The records as Python objects, generated lazily."""
        shared = self.shared.lists()
        own = self.own.lists() if len(self.own.fields) else [[]] * len(self)
        names = [(name or b"").decode() for name in self.number_names.all()]
        numbers = zip(*self.numbers.tolist(), strict=True) if names else ((),) * len(self)
        contents = zip(self.keys.all(), self.values.all(), strict=True)
        for (key, value), theirs, kind, row in zip(contents, own, self.kinds.tolist(), numbers, strict=True):
            yield key, value, [*theirs, *shared[kind], *zip(names, (b"%d" % number for number in row), strict=True)]


def header_columns(lists: Sequence[Headers]) -> HeaderColumns:
    """Columns of lists of headers; texts become UTF-8."""
    fields: list[bytes | None] = []
    edges = [0]
    for headers in lists:
        for name, value in headers:
            fields += name.encode(), value.encode() if isinstance(value, str) else value
        edges.append(len(fields))
    return HeaderColumns(joined(fields), np.array(edges, np.int64))


_NOTHING = joined(())
_NO_KIND = header_columns([()])


def records_without_headers(keys: Joined, values: Joined) -> RecordColumns:
    """Columns of records that have keys and values only."""
    count = len(keys)
    own = HeaderColumns(_NOTHING, np.zeros(count + 1, np.int64))
    no_numbers = np.empty((0, count), np.int64)
    return RecordColumns(keys, values, own, _NO_KIND, np.zeros(count, np.int64), _NOTHING, no_numbers)


def record_columns(records: Sequence[tuple[bytes | None, bytes | None, Headers]]) -> RecordColumns:
    """Columns of records that are Python objects: key, value and headers."""
    count = len(records)
    return RecordColumns(
        joined([key for key, _, _ in records]),
        joined([value for _, value, _ in records]),
        header_columns([headers for *_, headers in records]),
        _NO_KIND,
        np.zeros(count, np.int64),
        _NOTHING,
        np.empty((0, count), np.int64),
    )
