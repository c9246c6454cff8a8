"""Partitions that must stop: resolved as an operator does it, with the command that the reason names."""

import re
import shlex

from tests.chaos.crew import Crew
from tests.chaos.deployment import Deployment
from tests.chaos.judge import Stop
from tests.chaos.waits import LIMIT_S, answer_of, until_kafka
from tests.cli.command import Ran

PROGRESS = 20
"""Offsets that the other partitions must commit while one is stopped."""

_COMMAND = re.compile(r"viewer-consumer (state reset [^;]*)")
_CONTINUES = re.compile(r"continues at offset (\d+)")


class Resolver:
    """Waits until a partition has stopped, and resets it.

    Args:
        deployment: the partition's.
        crew: all workers of it.
        others: the partitions that have to make progress meanwhile.
    """

    def __init__(self, deployment: Deployment, crew: Crew, others: frozenset[int]) -> None:
        self._deployment = deployment
        self._crew = crew
        self._others = others

    def resolve(self, stop: Stop, since: list[int]) -> int:
        """Wait for the stop; see that the others make progress; reset; return the offset where it continues.

        Args:
            stop: that must come.
            since: where the workers' logs were before it could.

        Raises:
            AssertionError: one of these did not happen in time.
        """
        reason = self._crew.wait_for_stop(stop, since)
        stood_at = self._committed(stop.partition)
        self._deployment.wait_for_commits(self._others - {stop.partition}, PROGRESS, LIMIT_S)
        with self._crew.stopped(dirty=False):
            now_at = self._committed(stop.partition)
            assert now_at == stood_at, f"partition {stop.partition} is stopped, and went from {stood_at} to {now_at}"
            return self._run(command_in(reason))

    def _committed(self, partition: int) -> int:
        return answer_of(lambda: self._deployment.kafka.committed()[partition])

    def _run(self, arguments: list[str]) -> int:
        """Run the command; workers that were named stay members of the group until their session has ended."""
        ran: list[Ran] = []

        def has_worked() -> bool:
            ran.append(self._deployment.command(*arguments, "--yes"))
            return ran[-1].code == 0

        try:
            until_kafka(has_worked, "the partition is reset")
        except AssertionError:
            raise AssertionError(f"{shlex.join(arguments)} failed: {ran[-1].err}") from None
        return continued_at(ran[-1].out)


def command_in(reason: str) -> list[str]:
    """The arguments of the command that a reason names.

    Raises:
        AssertionError: it names none.
    """
    named = _COMMAND.search(reason)
    assert named is not None, f"no command in: {reason}"
    return shlex.split(named[1])


def continued_at(output: str) -> int:
    """The offset that a reset says the partition continues at.

    Raises:
        AssertionError: it says none.
    """
    found = _CONTINUES.search(output)
    assert found is not None, f"no offset in: {output}"
    return int(found[1])
