"""The contract of end-offset queries, on real Kafka and on the fake that other tests use."""

from collections.abc import Mapping

from consumer.kafka.protocols import EndQuery
from tests.kafka.stage import PARTITIONS, Stage
from tests.support.waiting import until


def answer(query: EndQuery) -> Mapping[int, int]:
    """Return the answer to the newest query."""
    taken: list[Mapping[int, int]] = []

    def has_come() -> bool:
        ends = query.answers()
        if ends is not None:
            taken.append(ends)
        return bool(taken)

    until(has_come, "there is an answer")
    return taken[0]


def test_without_a_query_there_is_no_answer_and_no_failure(stage: Stage) -> None:
    query = stage.end_query()
    assert query.answers() is None
    assert not query.failed()


def test_an_answer_has_the_requested_ends_and_is_returned_once(stage: Stage) -> None:
    stage.write(0, b"a", b"b")
    stage.write(1, b"c")
    query = stage.end_query()
    assert query.ask([0, 1])
    assert answer(query) == {0: 2, 1: 1}
    assert query.answers() is None
    assert not query.failed()


def test_each_answer_belongs_to_its_own_query(stage: Stage) -> None:
    query = stage.end_query()
    query.ask([0, 1])
    assert answer(query) == {0: 0, 1: 0}
    stage.write(1, b"a")
    query.ask([1])
    assert answer(query) == {1: 1}


def test_no_query_starts_while_an_answer_is_not_collected(stage: Stage) -> None:
    query = stage.end_query()
    assert query.ask([1])
    assert not query.ask([0])
    assert answer(query) == {1: 0}
    assert query.ask([0])


def test_a_query_for_no_partitions_asks_nothing(stage: Stage) -> None:
    query = stage.end_query()
    assert not query.ask([])
    assert query.ask([0])


def test_an_error_of_one_partition_keeps_the_answers_of_the_others(stage: Stage) -> None:
    query = stage.end_query()

    def is_answered() -> bool:
        query.ask([0, PARTITIONS + 7])  # does nothing while an answer is awaited
        return query.answers() == {0: 0}

    for _ in range(3):
        until(is_answered, "the other partition is answered")


def test_a_query_without_any_answer_fails_and_reports_it_once(stage: Stage) -> None:
    query = stage.end_query()
    query.ask([PARTITIONS + 7])
    until(lambda: query.answers() is None and query.failed(), "the query fails")
    assert not query.failed()

    def is_answered() -> bool:
        query.ask([0])  # a broker that is busy may not know the leaders at once
        return query.answers() == {0: 0}

    until(is_answered, "another partition is answered")
    assert not query.failed()
