"""Map errors of transactional calls to outcomes, and the exceptions for them.

```
Exception
├── TransactionAborted     nothing was published: send the same records again in a new transaction
└── TransactionLost        unknown outcome, or fenced: drop memory and restore
ViewerConsumerError        retrying does not help
```
"""

from enum import Enum, auto

from confluent_kafka import KafkaError

from consumer.kafka.clients import FORBIDDEN, TOO_OLD


class Outcome(Enum):
    """How to react to a failed transactional call."""

    RETRY = auto()
    """Repeat the call; the transaction is unchanged."""
    ABORT = auto()
    """Abort; the transaction is definitely not committed."""
    LOST = auto()
    """Create a new producer; the outcome is unknown, or another producer ended the transaction."""
    GIVE_UP = auto()
    """Retrying does not help."""


class TransactionAborted(Exception):  # noqa: N818  # a turn of events that callers plan for
    """The transaction was aborted; its records can be sent again."""

    def __init__(self, error: str, detail: str) -> None:
        super().__init__(f"{error}: {detail}")
        self.error = error
        """librdkafka's name of the error, for metrics."""


class TransactionLost(Exception):  # noqa: N818  # as above
    """The outcome is unknown, or this producer was fenced; look up what is committed."""

    def __init__(self, error: str, detail: str) -> None:
        super().__init__(f"{error}: {detail}")
        self.error = error
        """librdkafka's name of the error, for metrics."""


# Codes of the client library itself start with an underscore.
FENCED = frozenset({KafkaError._FENCED, KafkaError.PRODUCER_FENCED, KafkaError.INVALID_PRODUCER_EPOCH})  # noqa: SLF001  # as above
"""Another producer has this transactional id, or the broker ended a slow transaction: both look the same."""

GENERAL = frozenset({KafkaError._FATAL, KafkaError._STATE})  # noqa: SLF001  # as above
"""The producer or its transaction had failed before this call: the reason is another error."""

NOT_WRITTEN = KafkaError(KafkaError._MSG_TIMED_OUT).name()  # noqa: SLF001  # as above
"""The name of an abort because records were not written in time: their partition may have no leader."""

PURGED = frozenset({KafkaError._PURGE_QUEUE, KafkaError._PURGE_INFLIGHT})  # noqa: SLF001  # as above
"""Codes of messages purged by an abort; not failures."""

MOVED_ON = frozenset(
    {
        KafkaError.ILLEGAL_GENERATION,
        KafkaError.UNKNOWN_MEMBER_ID,
        KafkaError.REBALANCE_IN_PROGRESS,
        KafkaError.STALE_MEMBER_EPOCH,
        KafkaError.FENCED_MEMBER_EPOCH,
    }
)
"""The group changed during the transaction; its records and its producer are fine."""


def outcome_of(error: KafkaError) -> Outcome:
    """The outcome of an error of any transactional call.

    The client library marks errors as retriable, abortable or fatal. An error without a mark has an unknown outcome and
    counts as a loss.
    """
    code = error.code()
    if code in FORBIDDEN or code in TOO_OLD:
        return Outcome.GIVE_UP
    if error.fatal() or code in FENCED:  # which the client library marks as abortable in one place
        return Outcome.LOST
    if error.retriable():
        return Outcome.RETRY
    if error.txn_requires_abort():
        return Outcome.ABORT
    return Outcome.LOST


def outcome_of_record(error: KafkaError) -> Outcome:
    """The outcome of a record that was refused by produce or by its delivery report; these errors have no marks."""
    code = error.code()
    if code in FORBIDDEN:
        return Outcome.GIVE_UP
    # Otherwise the transaction is still open or failed; if not, the abort reports it.
    return Outcome.LOST if code in FENCED or code == KafkaError._FATAL or error.fatal() else Outcome.ABORT  # noqa: SLF001  # as above
