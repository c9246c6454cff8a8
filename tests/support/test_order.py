"""Slow tests begin first, on half of the processes, and nothing is lost or doubled."""

import random

import pytest

from tests.support.order import slow_first


@pytest.mark.parametrize(
    ("processes", "expected"),
    [
        (1, "ABC123456789"),
        (2, "ABC123" + "456789"),
        (4, "AC1" + "B23" + "456" + "789"),
    ],
    ids=["one", "two", "four"],
)
def test_the_first_half_of_the_processes_begins_with_slow_tests(processes: int, expected: str) -> None:
    tests = "1A234B567C89"
    assert "".join(slow_first(tests, [test.isalpha() for test in tests], processes)) == expected


def test_every_test_is_there_once() -> None:
    chance = random.Random(7)
    for _ in range(500):
        tests = list(range(chance.randrange(40)))
        slow = [chance.random() < chance.choice([0.0, 0.1, 0.9, 1.0]) for _ in tests]
        ordered = slow_first(tests, slow, chance.randrange(1, 9))
        assert sorted(ordered) == tests
        assert [each for each in ordered if not slow[each]] == [each for each in tests if not slow[each]]
