"""How many failed transactions in a row are accepted before the worker gives up."""

from collections import deque

from confluent_kafka import KafkaError

from consumer.errors import ViewerConsumerError
from consumer.kafka.clients import NOT_LOGGED_IN
from consumer.kafka.deadline import Clock

FENCES_ALLOWED = 5
FENCE_WINDOW_S = 120.0
"""One fence may be a slow transaction, or a member's own late request. This many within the window mean two workers
with one name."""

REFUSALS_ALLOWED = 5
"""How often the same records are sent to brokers that refuse them."""


class FenceCount:
    """Counts fences of one name.

    Args:
        clock: monotonic seconds.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._fences_s: deque[float] = deque(maxlen=FENCES_ALLOWED)

    def is_too_many(self) -> bool:
        """Call after a fence: whether it is one too many, so that another process must have the name."""
        now_s = self._clock()
        self._fences_s.append(now_s)
        return len(self._fences_s) == FENCES_ALLOWED and now_s - self._fences_s[0] < FENCE_WINDOW_S


class FailureBudget:
    """Counts failures of transactions of one transactional id.

    Args:
        servers: the brokers' addresses, for messages.
        transactional_id: for messages.
        clock: monotonic seconds.
    """

    def __init__(self, servers: str, transactional_id: str, clock: Clock) -> None:
        self._servers = servers
        self._transactional_id = transactional_id
        self._fences = FenceCount(clock)
        self._refused_in_a_row = 0

    def committed(self) -> None:
        """Call after a commit: resets the count of refused records."""
        self._refused_in_a_row = 0

    def refused(self, error: KafkaError) -> None:
        """Call after an abort because records were refused, or not written in time.

        Where time ran out, brokers refused nothing: the partition may have no leader, which passes. Neither did they
        where the log-in failed.

        Raises:
            ViewerConsumerError: too many in a row.
        """
        if error.code() == KafkaError._MSG_TIMED_OUT or error.code() in NOT_LOGGED_IN:  # noqa: SLF001  # the library's name
            return
        self._refused_in_a_row += 1
        if self._refused_in_a_row > REFUSALS_ALLOWED:
            raise ViewerConsumerError(
                f"the brokers on {self._servers} refused the same records {self._refused_in_a_row} times: {error.str()}"
            )

    def fenced(self) -> None:
        """Call after this producer was fenced.

        Raises:
            ViewerConsumerError: too often in a short time.
        """
        if self._fences.is_too_many():
            raise ViewerConsumerError(
                f'another process publishes as "{self._transactional_id}": fenced {FENCES_ALLOWED} times in '
                f"{FENCE_WINDOW_S:.0f} s; give each worker a group.instance.id of its own"
            )
