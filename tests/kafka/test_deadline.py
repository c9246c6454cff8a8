import math
import threading
import time

import pytest

from consumer.kafka.deadline import CallTimedOutError, Deadline, call_within


def test_a_deadline_is_shared_by_all_waits_and_never_negative() -> None:
    now = [100.0]
    deadline = Deadline.after(5, lambda: now[0])
    assert (deadline.left_s(), deadline.passed) == (5.0, False)
    now[0] = 104.5
    assert (deadline.left_s(), deadline.passed) == (0.5, False)
    now[0] = 106.0
    assert (deadline.left_s(), deadline.passed) == (0.0, True)


def test_a_deadline_ends_with_what_limits_it() -> None:
    left = [math.inf]
    deadline = Deadline.after(5, lambda: 100.0, lambda: left[0])
    assert deadline.left_s() == 5.0
    left[0] = 2.0
    assert deadline.left_s() == 2.0
    left[0] = -1.0
    assert deadline.passed


def test_a_call_in_time_returns_its_result() -> None:
    assert call_within(Deadline.after(10), lambda: threading.current_thread() is threading.main_thread()) is False


def test_an_exception_of_a_call_is_raised_in_the_caller() -> None:
    with pytest.raises(ZeroDivisionError):
        call_within(Deadline.after(10), lambda: 1 // 0)


def test_a_call_that_hangs_is_abandoned() -> None:
    release = threading.Event()
    began = time.monotonic()
    with pytest.raises(CallTimedOutError):
        call_within(Deadline.after(0.05), lambda: release.wait(30))
    assert time.monotonic() - began < 5
    release.set()
