"""What must have been published, by the plain-Python references, against what committed records say."""

import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from consumer.settings.model import Settings
from consumer.state.journal import Step
from tests.end_to_end import events, viewings
from tests.reference import events_counting, sessions_counting
from tests.simulation.brokers import Brokers
from tests.simulation.feed import event_of, without_viewer

Summary = dict[str, Any]


class Wrong(Exception):  # noqa: N818  # a finding
    """Something is lost, doubled, wrong or out of order."""


def judge(brokers: Brokers, settings: Settings, steps: Mapping[int, Sequence[Step]]) -> int:
    """Compare everything; return the number of summaries.

    Raises:
        Wrong: says what differs.
    """
    kafka = settings.kafka
    number = 0
    expected_letters: Counter[tuple[int, int]] = Counter()
    for log in brokers.logs[kafka.input_topic]:
        if brokers.offsets.committed.get(log.partition, 0) != log.end:
            raise Wrong(f"partition {log.partition} ends at {log.end}, but {brokers.offsets.committed} is committed")
        records = [(each.offset() or 0, event_of(each)) for each in log.committed(0)[0]]
        expected_letters.update((log.partition, offset) for offset, event in records if event is None)
        good = [(offset, event) for offset, event in records if event is not None]
        number += _compare(
            log.partition,
            list(_expected(good, settings, steps.get(log.partition, ()), log.partition)),
            _published(brokers, kafka.output_topic, log.partition),
        )
    letters = Counter(_letters(brokers, kafka.dead_letter_topic))
    if letters != expected_letters:
        raise Wrong(f"dead letters: {letters - expected_letters} too many, {expected_letters - letters} missing")
    return number


def _expected(
    records: Sequence[tuple[int, sessions_counting.Event]], settings: Settings, steps: Sequence[Step], partition: int
) -> Iterator[Summary]:
    windows, topic = settings.windows, settings.kafka.input_topic
    times = (windows.window_duration_ms, windows.bucket_ms, windows.grace_ms)
    if windows.counting == "events":
        rules = events_counting.Rules(*times, stream_idle_ms=windows.stream_idle_ms)
        reference = events_counting.Reference(rules)
        _apply(reference, [(offset, without_viewer(event)) for offset, event in records], steps)
        return (events.summary_of(each, rules, topic, partition) for each in reference.closed)
    by_viewer = sessions_counting.Rules(
        *times, viewer_timeout_ms=windows.viewer_timeout_ms, stream_idle_ms=windows.stream_idle_ms
    )
    viewers = sessions_counting.Reference(by_viewer)
    _apply(viewers, records, steps)
    return (viewings.summary_of(each, by_viewer, topic, partition) for each in viewers.closed)


def _apply(reference: Any, records: Sequence[tuple[int, Any]], steps: Sequence[Step]) -> None:
    """In the order of offsets, each step before the record that it came before."""
    left = list(steps)
    for offset, event in records:
        while left and left[0].before_offset <= offset:
            step = left.pop(0)
            reference.step(step.to_ms, step.before_offset)
        reference.apply(event, offset)
    for step in left:
        reference.step(step.to_ms, step.before_offset)


def _published(brokers: Brokers, topic: str, partition: int) -> list[Summary]:
    summaries = [json.loads(each.value() or b"") for log in brokers.logs[topic] for each in log.committed(0)[0]]
    return [summary for summary in summaries if summary["partition"] == partition]


def _compare(partition: int, expected: Sequence[Summary], got: Sequence[Summary]) -> int:
    wanted, there = _by_stream(expected), _by_stream(got)
    for stream_id in sorted(wanted.keys() | there.keys()):
        ours, theirs = there[stream_id], wanted[stream_id]
        if ours != theirs:
            at = next((at for at, pair in enumerate(zip(ours, theirs, strict=False)) if pair[0] != pair[1]), None)
            at = min(len(ours), len(theirs)) if at is None else at
            raise Wrong(
                f"partition {partition}, stream {stream_id}: {len(ours)} summaries instead of {len(theirs)}; number "
                f"{at} is {ours[at : at + 1]} instead of {theirs[at : at + 1]}"
            )
    return len(got)


def _by_stream(summaries: Sequence[Summary]) -> defaultdict[str, list[Summary]]:
    grouped: defaultdict[str, list[Summary]] = defaultdict(list)
    for summary in summaries:
        grouped[summary["stream_id"]].append(summary)
    return grouped


def _letters(brokers: Brokers, topic: str) -> Iterator[tuple[int, int]]:
    for log in brokers.logs[topic]:
        for each in log.committed(0)[0]:
            headers: Any = dict(each.headers() or ())
            yield int(headers["__streams.errors.partition"]), int(headers["__streams.errors.offset"])
