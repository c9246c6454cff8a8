"""Batches that live no longer than those of the real reader."""

from collections.abc import Sequence

from confluent_kafka import Message

from consumer.kafka.batch import Batch, Originals
from consumer.kafka.messages import batch_of
from consumer.runtime.joined import Joined
from consumer.runtime.record_columns import HeaderColumns

_SPOILED = -7
_SPOILED_BYTE = 0xA5


class BatchLender:
    """Makes the batches of a fake reader, and spoils each at the next poll: who kept a view of one gets wrong results.

    The real reader writes the next batch over the last one.
    """

    def __init__(self) -> None:
        self._last: Batch | None = None
        self._originals: _Lent | None = None

    def take_back(self) -> None:
        """Spoil the last batch; called first of all in a poll."""
        last, originals = self._last, self._originals
        if last is not None and originals is not None:
            last.values.text[:] = _SPOILED_BYTE
            for column in (last.values.sizes, last.offsets, last.timestamps_ms):
                column[:] = _SPOILED
            originals.are_gone = True
        self._last = self._originals = None

    def lend(self, messages: Sequence[Message]) -> Batch:
        """The columns of messages, until they are taken back."""
        made = batch_of(messages)
        self._originals = _Lent(made.originals)
        self._last = Batch(made.values, made.offsets, made.timestamps_ms, made.runs, self._originals)
        return self._last


class _Lent:
    """Keys and headers until the next poll."""

    def __init__(self, originals: Originals) -> None:
        self._originals = originals
        self.are_gone = False

    def keys(self, rows: Sequence[int]) -> Joined:
        return self._there().keys(rows)

    def headers(self, rows: Sequence[int]) -> HeaderColumns:
        return self._there().headers(rows)

    def header(self, name: str) -> Joined:
        return self._there().header(name)

    def _there(self) -> Originals:
        assert not self.are_gone, "keys and headers are read before the next poll"
        return self._originals
