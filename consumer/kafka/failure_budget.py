"""How many failed transactions in a row are accepted before the worker gives up."""

from collections import deque

from confluent_kafka import KafkaError

from consumer.errors import ViewerConsumerError
from consumer.kafka.deadline import Clock

FENCES_ALLOWED = 5
FENCE_WINDOW_S = 120.0
"""A fence may be a transaction that took too long. So many in such a time are two workers of one name."""

REFUSALS_ALLOWED = 5
"""The same records are not sent for ever to brokers that refuse them."""


class FailureBudget:
    """Of the transactions of one name.

    Args:
        servers: the brokers, to name them in errors.
        transactional_id: the name.
        clock: monotonic seconds.
    """

    def __init__(self, servers: str, transactional_id: str, clock: Clock) -> None:
        self._servers = servers
        self._transactional_id = transactional_id
        self._clock = clock
        self._fences_s: deque[float] = deque(maxlen=FENCES_ALLOWED)
        self._refused_in_a_row = 0

    def committed(self) -> None:
        """One went through: what was refused before wasn't the same."""
        self._refused_in_a_row = 0

    def refused(self, error: KafkaError) -> None:
        """One was aborted for its records, which are to be sent again.

        Raises:
            ViewerConsumerError: too often.
        """
        self._refused_in_a_row += 1
        if self._refused_in_a_row > REFUSALS_ALLOWED:
            raise ViewerConsumerError(
                f"the brokers on {self._servers} refused the same records {self._refused_in_a_row} times: {error.str()}"
            )

    def fenced(self) -> None:
        """One was ended because another producer has the name, or the brokers think so.

        Raises:
            ViewerConsumerError: too often in a short time.
        """
        now_s = self._clock()
        self._fences_s.append(now_s)
        if len(self._fences_s) == FENCES_ALLOWED and now_s - self._fences_s[0] < FENCE_WINDOW_S:
            raise ViewerConsumerError(
                f'another process publishes as "{self._transactional_id}": fenced {FENCES_ALLOWED} times in '
                f"{FENCE_WINDOW_S:.0f} s; give each worker a group.instance.id of its own"
            )
