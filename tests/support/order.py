"""The order in which several processes run the tests."""

from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")


def slow_first(tests: Sequence[T], slow: Sequence[bool], processes: int) -> list[T]:
    """Return the tests in an order in which half of the processes begin with the slow ones.

    Of a list of tests each process is given a run of neighbours, as `--dist worksteal` cuts it, and one that has ended
    its own takes from the end of another's. Slow tests mostly wait; meanwhile the other half needs the processors.

    Args:
        tests: in any order, which is kept among the slow ones and among the others.
        slow: of each, whether it is slow.
        processes: their number.
    """
    chosen = [test for test, is_slow in zip(tests, slow, strict=True) if is_slow]
    others = [test for test, is_slow in zip(tests, slow, strict=True) if not is_slow]
    beginning = max(1, processes // 2)
    ordered: list[T] = []
    for process in range(processes):
        end = len(tests) * (process + 1) // processes
        first = chosen[process::beginning] if process < beginning else []
        ordered += first
        count = max(0, end - len(ordered))
        ordered += others[:count]
        del others[:count]
    return ordered + others
