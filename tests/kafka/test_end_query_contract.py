"""What every query for end offsets keeps to: the real one on real Kafka, and the fake that other tests build on."""

from collections.abc import Mapping

from consumer.kafka.protocols import EndQuery
from tests.kafka.stage import PARTITIONS, Stage
from tests.support.waiting import until


def answer(query: EndQuery) -> Mapping[int, int]:
    """What the newest question is answered with."""
    taken: list[Mapping[int, int]] = []

    def has_come() -> bool:
        ends = query.answers()
        if ends is not None:
            taken.append(ends)
        return bool(taken)

    until(has_come, "there is an answer")
    return taken[0]


def test_who_has_not_asked_gets_no_answer_and_nothing_failed(stage: Stage) -> None:
    query = stage.end_query()
    assert query.answers() is None
    assert not query.failed()


def test_an_answer_has_the_ends_of_what_was_asked_and_is_given_once(stage: Stage) -> None:
    stage.write(0, b"a", b"b")
    stage.write(1, b"c")
    query = stage.end_query()
    assert query.ask([0, 1])
    assert answer(query) == {0: 2, 1: 1}
    assert query.answers() is None
    assert not query.failed()


def test_each_answer_is_of_its_own_question(stage: Stage) -> None:
    query = stage.end_query()
    query.ask([0, 1])
    assert answer(query) == {0: 0, 1: 0}
    stage.write(1, b"a")
    query.ask([1])
    assert answer(query) == {1: 1}


def test_while_an_answer_waits_to_be_taken_nothing_else_is_asked(stage: Stage) -> None:
    query = stage.end_query()
    assert query.ask([1])
    assert not query.ask([0])
    assert answer(query) == {1: 0}
    assert query.ask([0])


def test_nothing_is_asked_for_no_partitions(stage: Stage) -> None:
    query = stage.end_query()
    assert not query.ask([])
    assert query.ask([0])


def test_an_error_of_one_partition_leaves_the_answers_of_the_others(stage: Stage) -> None:
    query = stage.end_query()

    def is_answered() -> bool:
        query.ask([0, PARTITIONS + 7])  # does nothing while an answer is awaited
        return query.answers() == {0: 0}

    for _ in range(3):
        until(is_answered, "the other is answered")


def test_a_question_without_any_answer_has_failed_which_is_said_once(stage: Stage) -> None:
    query = stage.end_query()
    query.ask([PARTITIONS + 7])
    until(lambda: query.answers() is None and query.failed(), "the question fails")
    assert not query.failed()
    assert query.ask([0])
    assert answer(query) == {0: 0}
    assert not query.failed()
