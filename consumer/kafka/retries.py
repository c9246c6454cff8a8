"""Repeat a call of the client library until it succeeds, must not be repeated, or a deadline has passed."""

from collections.abc import Callable
from typing import TypeVar

from confluent_kafka import KafkaError, KafkaException

from consumer.kafka.clients import FORBIDDEN, kafka_error
from consumer.kafka.deadline import Deadline

T = TypeVar("T")

NOT_FOUND_OR_DENIED = FORBIDDEN | {
    KafkaError.UNKNOWN_TOPIC_OR_PART,
    KafkaError._UNKNOWN_TOPIC,  # noqa: SLF001  # the library's names
    KafkaError._UNKNOWN_PARTITION,  # noqa: SLF001  # as above
    KafkaError._AUTO_OFFSET_RESET,  # noqa: SLF001  # as above
}
"""Errors of a partition that retrying a read does not resolve."""


def is_worth_a_retry(error: KafkaError) -> bool:
    """Whether time can heal an error."""
    return not error.fatal() and error.code() not in FORBIDDEN


def call_until(
    deadline: Deadline,
    call: Callable[[], T],
    pause: Callable[[], object],
    is_retriable: Callable[[KafkaError], bool] = is_worth_a_retry,
) -> T:
    """Call at least once, and again after a pause while errors are retriable and the deadline has not passed.

    Args:
        deadline: of all attempts.
        call: one attempt; may also raise TimeoutError, as futures do.
        pause: waits between attempts; may raise to give up.
        is_retriable: decides which errors are repeated.

    Raises:
        KafkaException: the last attempt's error.
    """
    while True:
        try:
            return call()
        except (KafkaException, TimeoutError) as raised:
            error = kafka_error(raised)
        if deadline.passed or not is_retriable(error):
            raise KafkaException(error) from None
        pause()
