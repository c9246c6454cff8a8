"""The breaker against a judge that counts one record at a time, and drawn cases at its limits."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.worker.circuit_breaker import LIMITS, CircuitBreaker, Limit

IN_A_ROW, RATIO = LIMITS
SMALL = (Limit(most=2, among=3), Limit(most=4, among=8))


def opens_at(history: str, limits: tuple[Limit, ...] = SMALL) -> int | None:
    """Return the record at which a breaker opens if it gets the history in one batch; `x` is a reject."""
    return CircuitBreaker(limits).observe(flags(history))


def flags(history: str) -> "np.ndarray[tuple[int], np.dtype[np.bool_]]":
    return np.array([each == "x" for each in history], np.bool_)


def judged(history: str, limits: tuple[Limit, ...]) -> int | None:
    """Count what precedes each record, one record at a time."""
    for i in range(len(history)):
        for limit in limits:
            if history[max(0, i - limit.among + 1) : i + 1].count("x") > limit.most:
                return i
    return None


@pytest.mark.parametrize(
    ("history", "at"),
    [
        #     0         1
        #     0123456789012345
        *(("", None), ("................", None)),
        ("xx.xx....xx.xx..", None),  # never three in a row, never five of eight
        ("..xxx...........", 4),  # the third in a row
        ("xx..xx.x.xx.....", 7),  # the fifth of eight
        ("xx..x...xx......", None),  # the first has left the window when the fifth comes
        (".xx.x.xx........", 7),  # five of the first eight: earlier records count as valid
    ],
)
def test_when_it_opens(history: str, at: int | None) -> None:
    assert opens_at(history) == at == judged(history, SMALL)


@given(
    history=st.text("x..", max_size=60) | st.text("xxx.", max_size=60),
    cuts=st.lists(st.integers(0, 60), max_size=8),
    limits=st.lists(
        st.tuples(st.integers(1, 8), st.integers(1, 8)).map(lambda two: Limit(two[0], two[0] + two[1])),
        min_size=1,
        max_size=3,
    ).map(tuple),
)
def test_any_history_in_any_batches_opens_it_where_the_judge_does(
    history: str, cuts: list[int], limits: tuple[Limit, ...]
) -> None:
    breaker, found = CircuitBreaker(limits), None
    edges = sorted({0, *(min(cut, len(history)) for cut in cuts), len(history)})
    for begin, end in zip(edges, [*edges[1:], len(history)], strict=True):
        part = history[begin:end]
        if "x" not in part:
            breaker.pass_over(len(part))
            continue
        row = breaker.observe(flags(part))
        if row is not None:
            assert found is None, "it opens once"
            found = begin + row
    assert found == judged(history, limits)
    assert (breaker.passed is not None) == (found is not None)


def test_the_limits_of_a_worker() -> None:
    assert opens_at("x" * 999 + "." + "x" * 999, LIMITS) is None
    assert opens_at("." + "x" * 1_000, LIMITS) == 1_000
    assert opens_at("xxx." * 2_500, LIMITS) is None, "three quarters are not more than three quarters"
    assert opens_at("xxx." * 2_499 + "xxxx." * 2, LIMITS) == 9_999
    assert opens_at("x." * 50_000, LIMITS) is None


def test_it_keeps_a_bounded_number_of_positions() -> None:
    breaker = CircuitBreaker()
    for _ in range(100):
        breaker.observe(flags("xx." * 1_000))
    assert len(breaker._rejected_at) == RATIO.most


def test_the_reason_says_what_has_happened() -> None:
    assert IN_A_ROW.sentence == "1,000 records in a row are rejects"
    assert RATIO.sentence == "more than 7,500 of the last 10,000 records are rejects"
