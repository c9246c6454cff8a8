"""What a deployment does while brokers do not answer; no broker is needed."""

from collections.abc import Iterator, Mapping
from itertools import chain, repeat
from typing import cast

from confluent_kafka import KafkaError, KafkaException

from tests.chaos.counting import COUNTINGS
from tests.chaos.deployment import Deployment
from tests.chaos.producer import Flow
from tests.chaos.reader import Reader
from tests.end_to_end.stage import Stage

NO_ANSWER = KafkaException(KafkaError(KafkaError._TIMED_OUT))
WRITTEN = {0: 5, 1: 7}


class SlowStage:
    """Its brokers answer each question late."""

    def __init__(self) -> None:
        self._ends = _answers({}, WRITTEN)
        self._committed = _answers({}, {0: 5}, WRITTEN)

    def ends(self) -> Mapping[int, int]:
        return _next(self._ends)

    def committed_so_far(self) -> Mapping[int, int]:
        return _next(self._committed)


class Silent:
    def stop(self) -> None:
        pass


def _answers(*answers: Mapping[int, int]) -> Iterator[Mapping[int, int]]:
    return chain(answers, repeat(answers[-1]))


def _next(answers: Iterator[Mapping[int, int]]) -> Mapping[int, int]:
    answer = next(answers)
    if not answer:
        raise NO_ANSWER
    return answer


class Finished(Deployment):
    def _no_jump_is_pending(self) -> bool:
        return True


def test_it_settles_though_brokers_do_not_answer_at_first() -> None:
    kafka = SlowStage()
    deployed = Finished(
        cast("Stage", kafka), COUNTINGS["events"], cast("Flow", Silent()), cast("Reader", Silent()), [], []
    )
    deployed.settle(within_s=30)
    assert kafka.committed_so_far() == WRITTEN
