"""Waiting for conditions: a question that takes longer than the time-out is asked once more."""

import itertools
import time

import pytest

from tests.support.waiting import until


def test_a_condition_that_holds_when_the_first_question_is_answered_too_late_counts() -> None:
    answers = iter([False, True])

    def slow() -> bool:
        deadline = time.monotonic() + 0.02
        while time.monotonic() < deadline:
            pass
        return next(answers)

    until(slow, "it holds", within_s=0.01)


def test_a_condition_that_never_holds_fails_with_what_was_waited_for() -> None:
    asked = itertools.count()
    with pytest.raises(AssertionError, match=r"not within 0 s: the moon is square"):
        until(lambda: next(asked) < 0, "the moon is square", within_s=0.02)
    assert next(asked) > 1
