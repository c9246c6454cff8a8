"""A compacted topic of rows in plain Python: all records ever written, and the newest of each key."""

import random
from collections.abc import Iterator, Sequence

from consumer.windows.layout import Times
from consumer.windows.partition import PartitionWindows
from consumer.windows.rules import WindowRules
from consumer.windows.storage.batch import Record
from consumer.windows.storage.checksum import Checksum
from tests.reference.siphash import sum_of_records


class Topic:
    def __init__(self) -> None:
        self.records: list[Record] = []

    def write(self, records: Sequence[Record]) -> None:
        self.records += records

    def newest(self) -> dict[bytes, bytes]:
        """Return what compaction leaves, without tombstones."""
        rows: dict[bytes, bytes] = {}
        for key, value in self.records:
            rows.pop(key, None)  # a key has the position of its newest record
            if value is not None:
                rows[key] = value
        return rows

    def checksum(self) -> Checksum:
        rows = self.newest()
        return Checksum(len(rows), sum_of_records(rows.items()))

    def half_compacted(self, chance: random.Random) -> list[Record]:
        """Drop some of each key's oldest records, but never the newest, unless that is a tombstone."""
        newest = {key: i for i, (key, _) in enumerate(self.records)}
        kept_from = {key: chance.randint(0, i + (self.records[i][1] is None)) for key, i in newest.items()}
        return [record for i, record in enumerate(self.records) if i >= kept_from[record[0]]]


def loaded(
    rules: WindowRules, hash_key: tuple[int, int], times: Times, records: Sequence[Record], at_once: int = 1_000
) -> tuple[PartitionWindows, Checksum]:
    windows = PartitionWindows.loading(rules, hash_key, times)
    for some in chunks(records, at_once):
        windows.load(some)
    return windows, windows.finish_load()


def chunks(records: Sequence[Record], at_once: int) -> Iterator[Sequence[Record]]:
    for begin in range(0, len(records), at_once):
        yield records[begin : begin + at_once]
