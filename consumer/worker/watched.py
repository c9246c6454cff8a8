"""The owner of transactions, with its bounded calls marked on the board: a loop that waits for Kafka is not stuck."""

from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager

from consumer.kafka.protocols import GroupMetadata, Transactions
from consumer.observe.snapshot import SnapshotBoard
from consumer.runtime.record_columns import Headers, RecordColumns

CALL_LIMIT_S = 60.0
"""Every call ends within this: starting a producer, and then ending a transaction, with its retries."""


class WatchedTransactions:
    """Passes every call on to `transactions`.

    Args:
        transactions: the real ones.
        board: where the loop says what it does.
        monotonic_s: monotonic seconds.
    """

    def __init__(self, transactions: Transactions, board: SnapshotBoard, monotonic_s: Callable[[], float]) -> None:
        self._transactions = transactions
        self._board = board
        self._monotonic_s = monotonic_s

    def _during(self, what: str) -> AbstractContextManager[None]:
        return self._board.during(f"{what} Kafka", CALL_LIMIT_S, self._monotonic_s)

    @property
    def ready(self) -> bool:
        """As of the real ones."""
        return self._transactions.ready

    def init(self) -> None:
        """As of the real ones; so are all that follow."""
        with self._during("a start of transactions that waits for"):
            self._transactions.init()

    def renew(self) -> None:
        """Initialize another producer."""
        with self._during("a start of transactions that waits for"):
            self._transactions.renew()

    def produce(
        self, topic: str, key: bytes | None, value: bytes | None, headers: Headers | None = None, partition: int = -1
    ) -> None:
        """Add one record."""
        with self._during("sending to"):
            self._transactions.produce(topic, key, value, headers, partition)

    def produce_all(
        self, topic: str, records: Iterable[tuple[bytes | None, bytes | None]], partition: int = -1
    ) -> None:
        """Add many, as (key, value)."""
        with self._during("sending to"):
            self._transactions.produce_all(topic, records, partition)

    def produce_columns(self, topic: str, records: RecordColumns) -> None:
        """Add many records with headers."""
        with self._during("sending to"):
            self._transactions.produce_columns(topic, records)

    def commit(self, offsets: Mapping[tuple[str, int], int], group_metadata: GroupMetadata) -> None:
        """Publish, with next offsets by (topic, partition)."""
        with self._during("a commit that waits for"):
            self._transactions.commit(offsets, group_metadata)

    def abort(self) -> None:
        """Abort."""
        with self._during("an abort that waits for"):
            self._transactions.abort()

    def time_limit(self, seconds: float) -> AbstractContextManager[None]:
        """Limit the total time of all calls within this context."""
        return self._transactions.time_limit(seconds)

    def close(self) -> None:
        """Abort an open transaction and close."""
        with self._during("closing the producer, which waits for"):
            self._transactions.close()
