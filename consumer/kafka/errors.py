"""What an error of a transactional call means: the one table that decides, and the exceptions that say it.

```
Exception
├── TransactionAborted     nothing of it is published: the same records go out again in a new transaction
└── TransactionLost        nobody knows, or another producer took over: memory is dropped, input is read again
ViewerConsumerError        neither helps
```
"""

from enum import Enum, auto

from confluent_kafka import KafkaError

from consumer.kafka.clients import ACCESS_DENIED, TOO_OLD


class Outcome(Enum):
    """What is to be done after a transactional call failed."""

    RETRY = auto()
    """The same call again; the transaction is as it was."""
    ABORT = auto()
    """Abort; the transaction is known not to be committed."""
    LOST = auto()
    """A new producer; it is not known how the transaction ended, or it was ended by another."""
    GIVE_UP = auto()
    """No attempt will do better."""


class TransactionAborted(Exception):  # noqa: N818  # a turn of events that callers plan for
    """The transaction was aborted; what it held can be sent again."""

    def __init__(self, error: str, detail: str) -> None:
        super().__init__(f"{error}: {detail}")
        self.error = error
        """librdkafka's name of the error, for metrics."""


class TransactionLost(Exception):  # noqa: N818  # as above
    """How the transaction ended is not known, or this producer was fenced; what is committed must be looked up."""

    def __init__(self, error: str, detail: str) -> None:
        super().__init__(f"{error}: {detail}")
        self.error = error
        """librdkafka's name of the error, for metrics."""


# The library's own codes start with an underscore.
FENCED = frozenset({KafkaError._FENCED, KafkaError.PRODUCER_FENCED, KafkaError.INVALID_PRODUCER_EPOCH})  # noqa: SLF001  # as above
"""Another producer has this transactional id, or the broker ended a slow transaction: both look the same."""

PURGED = frozenset({KafkaError._PURGE_QUEUE, KafkaError._PURGE_INFLIGHT})  # noqa: SLF001  # as above
"""What delivery reports say of messages that an abort threw away; no failures."""

MOVED_ON = frozenset(
    {
        KafkaError.ILLEGAL_GENERATION,
        KafkaError.UNKNOWN_MEMBER_ID,
        KafkaError.REBALANCE_IN_PROGRESS,
        KafkaError.STALE_MEMBER_EPOCH,
        KafkaError.FENCED_MEMBER_EPOCH,
    }
)
"""The group has changed under the transaction; its records were fine, and so is the producer that wrote them."""


def outcome_of(error: KafkaError) -> Outcome:
    """What an error of any transactional call means.

    The client library has sorted the errors of each request into the three kinds that its flags tell. What has no flag
    leaves the end of the transaction open, and is taken for the worst.
    """
    code = error.code()
    if code in ACCESS_DENIED or code in TOO_OLD:
        return Outcome.GIVE_UP
    if error.fatal() or code in FENCED:  # which the client library flags as to be aborted in one place
        return Outcome.LOST
    if error.retriable():
        return Outcome.RETRY
    if error.txn_requires_abort():
        return Outcome.ABORT
    return Outcome.LOST


def outcome_of_record(error: KafkaError) -> Outcome:
    """What it means that a record was not taken, at once or by its delivery report; these errors carry no flags."""
    code = error.code()
    if code in ACCESS_DENIED:
        return Outcome.GIVE_UP
    # Else the transaction is open or failed, but not over; where that is wrong, aborting it says so.
    return Outcome.LOST if code in FENCED or code == KafkaError._FATAL or error.fatal() else Outcome.ABORT  # noqa: SLF001  # as above
