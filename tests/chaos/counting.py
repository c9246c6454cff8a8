"""The ways of counting that a run may be about: the settings of each, and its plain-Python reference."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from confluent_kafka import Message

from tests.end_to_end import events, viewings
from tests.reference import events_counting, sessions_counting

RULES = events_counting.Rules(window_duration_ms=3_000, bucket_ms=1_000, grace_ms=1_000, stream_idle_ms=3_000)
"""What both have."""

BY_VIEWER: Mapping[str, int] = {"viewer_timeout_ms": 2_000, "max_viewers": 24, "max_events_per_viewer_bucket": 3}
"""Limits so low that they are met: what is past them must not depend on where a worker was killed."""

Summary = dict[str, Any]

Expect = Callable[[Iterable[Message], str, int], Iterator[Summary]]
"""The summaries of one partition's good records, given its topic and number."""


class Counting(NamedTuple):
    """One way of counting."""

    by_viewer: Mapping[str, int]
    """The settings that it has besides `RULES`."""
    expect: Expect


def _by_joins_and_leaves(records: Iterable[Message], topic: str, partition: int) -> Iterator[Summary]:
    for closed in events.judged(records, RULES).closed:
        yield events.summary_of(closed, RULES, topic, partition)


def _by_viewer(records: Iterable[Message], topic: str, partition: int) -> Iterator[Summary]:
    rules = sessions_counting.Rules(**vars(RULES), **BY_VIEWER)
    for closed in viewings.judged(records, rules).closed:
        yield viewings.summary_of(closed, rules, topic, partition)


COUNTINGS: Mapping[str, Counting] = {
    "sessions": Counting(BY_VIEWER, _by_viewer),
    "events": Counting({}, _by_joins_and_leaves),
}
"""By the name that the setting has."""
