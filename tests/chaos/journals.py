"""Journals that somebody has replaced: the partition must stop, and continue once it was reset."""

import json
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from consumer.state.keys import JOURNAL
from tests.chaos.crew import Crew
from tests.chaos.deployment import Deployment
from tests.chaos.faults import Fault
from tests.chaos.judge import Stop
from tests.chaos.resets import Resolver
from tests.chaos.stored import stored_state
from tests.chaos.waits import LIMIT_S, answer_of
from tests.support.topics import produce

ATTEMPTS = 5
"""To find the partition without a pending jump of time, whose rest a reset would drop."""


class Poison(NamedTuple):
    """A journal that no worker would write."""

    change: Callable[[dict[str, Any]], bytes]
    reason: str
    """A part of what the worker says of it."""


def _encoded(journal: Mapping[str, Any]) -> bytes:
    return json.dumps(journal).encode()


POISONS: Mapping[str, Poison] = {
    "another digest": Poison(
        lambda journal: _encoded(journal | {"summaries_digest": f"{int(journal['summaries_digest'], 16) ^ 1:016x}"}),
        "the replay does not give what was published before: ",
    ),
    "a record too many": Poison(
        lambda journal: _encoded(journal | {"records": journal["records"] + 1}), "the others were deleted or compacted"
    ),
    "an earlier offset": Poison(
        lambda journal: _encoded(journal | {"next_offset": journal["next_offset"] - 1}),
        "the group has committed offset",
    ),
    "no JSON": Poison(lambda _journal: b"not a journal", "the journal is not JSON"),
}


class JournalLane:
    """Does the faults of journals."""

    def __init__(self, deployment: Deployment, crew: Crew, resolver: Resolver) -> None:
        self._deployment = deployment
        self._crew = crew
        self._resolver = resolver

    def do(self, fault: Fault) -> str:
        """Replace the journal while no worker runs; wait until the partition stops; reset it; wait until it continues.

        Raises:
            AssertionError: one of these did not happen in time.
        """
        partition = fault.partition or 0
        stop = Stop(partition, POISONS[fault.poison].reason)
        for _ in range(ATTEMPTS):
            with self._crew.stopped(dirty=fault.dirty):
                since = self._crew.place()
                if self._replace(stop, fault.poison):
                    break
            self._deployment.wait_for_commits([partition], 1, LIMIT_S)
        else:
            return "there was a jump of time each time; nothing was done"
        offset = self._resolver.resolve(stop, since)
        assert offset == self._deployment.interventions.resets[partition][-1], f"it continues at {offset}"
        self._deployment.wait_for_commits([partition], 1, LIMIT_S)
        return f"it stopped, was reset, and continues from offset {offset}"

    def _replace(self, stop: Stop, poison: str) -> bool:
        """Write the other journal; not where a jump is pending."""
        kafka = self._deployment.kafka.kafka
        checkpoint, journal = answer_of(lambda: stored_state(self._deployment, stop.partition))
        if checkpoint["jump"] is not None:
            return False
        self._deployment.interventions.stops.append(stop)
        # What the reset will continue from: nobody commits in between.
        self._deployment.interventions.resets[stop.partition].append(journal["next_offset"])
        value = POISONS[poison].change(journal)
        produce(kafka.bootstrap_servers, kafka.state_topic, [(stop.partition, JOURNAL, value)], LIMIT_S)
        return True
