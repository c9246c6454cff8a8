"""Waiting for brokers that may be away meanwhile."""

from collections.abc import Callable
from typing import TypeVar

from confluent_kafka import KafkaException

from tests.support.waiting import until

T = TypeVar("T")

LIMIT_S = 400.0
"""Longer than several faults of other lanes that meet on a busy machine; what takes longer is a failure."""


def until_kafka(condition: Callable[[], bool], what: str, within_s: float = LIMIT_S) -> None:
    """Ask again until it holds; brokers that do not answer count as no.

    Raises:
        AssertionError: it did not hold in time.
    """
    until(lambda: _answered(condition), what, within_s)


def answer_of(ask: Callable[[], T]) -> T:
    """Ask until brokers answer.

    Raises:
        AssertionError: they did not in time.
    """
    answers: list[T] = []

    def have_answered() -> bool:
        answers.append(ask())
        return True

    until_kafka(have_answered, "brokers answer")
    return answers[0]


def _answered(condition: Callable[[], bool]) -> bool:
    try:
        return condition()
    except KafkaException:
        return False
