"""What becomes of records that are sent again, foretold from stored state: against the judge, and case by case."""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.errors import ViewerConsumerError
from consumer.intake.intake import Intake
from consumer.intake.schemas.cache import SchemaCache
from consumer.intake.schemas.lookups import SchemaLookups
from consumer.intake.schemas.registry import RegisteredSchema
from consumer.kafka.record import OutgoingRecord
from consumer.retry.preview import CLOSED, COUNTED, IS_IGNORED, Preview
from consumer.runtime.clocks import Clocks
from consumer.settings.model import Settings, load_settings
from consumer.settings.window_rules import window_rules
from consumer.state.checkpoint import RULES_VERSION, Checkpoint, Identity
from consumer.state.contents import Contents
from consumer.state.journal import Journal, Step
from consumer.state.keys import CHECKPOINT, JOURNAL
from consumer.state.result_settings import result_settings_of
from consumer.windows.partition import PartitionWindows
from consumer.windows.storage.checksum import Checksum
from tests.end_to_end.events import SCHEMA_ID, SCHEMA_PATH, encoded
from tests.reference.events_counting import Event, Reference, Rules
from tests.windows.columns import columns

KEY = (1, 2)
IDENTITY = Identity("cluster", "topic", "viewer-consumer")
RULES = Rules(window_duration_ms=5_000, bucket_ms=1_000, grace_ms=0, stream_idle_ms=10_000)
NOW_MS = 1_000_000


class OneSchema:
    """A registry that knows the schema of the events."""

    address = "http://localhost:1"

    def schema_by_id(self, _schema_id: int, _timeout_s: float) -> RegisteredSchema:
        return RegisteredSchema(SCHEMA_PATH.read_text(encoding="utf-8"), ())


def settings_of(rules: Rules = RULES, *more: str) -> Settings:
    windows = [f"windows.{key}={value}" for key, value in vars(rules).items()]
    return load_settings(None, [*windows, "windows.counting=events", f"input.ids.{SCHEMA_ID}={SCHEMA_PATH}", *more], {})


def stored(events: Sequence[Event], counted_with: Settings, **changed: Any) -> Contents:
    """Return the state of a partition that has counted these events."""
    windows = PartitionWindows(window_rules(counted_with.windows), KEY)
    windows.apply(columns(events), 0, len(events), np.arange(len(events)))
    rows = windows.changed_rows()
    made = {
        "number": 3,
        "next_offset": len(events),
        "times": windows.times(),
        "hash_key": KEY,
        "rows": rows.all_rows,
        "settings": result_settings_of(counted_with),
        "rules_version": RULES_VERSION,
        "identity": IDENTITY,
        "written_ms": NOW_MS - 12_000,
    }
    contents = Contents()
    contents.add([*rows.records, (CHECKPOINT, Checkpoint(**{**made, **changed}).encoded())])
    return contents


def preview(contents: Contents, settings: Settings) -> Preview:
    intake = Intake(settings.input, SchemaCache(settings.input))
    return Preview(lambda _: contents, IDENTITY, settings, intake, Clocks(wall_s=lambda: NOW_MS / 1000))


def record(event: Event, timestamp_ms: int | None = None) -> OutgoingRecord:
    return OutgoingRecord(0, timestamp_ms or event.timestamp_ms, b"k", encoded(event), [])


def outcomes(contents: Contents, events: Sequence[Event], settings: Settings | None = None) -> list[str]:
    found = preview(contents, settings or settings_of())
    return found.outcomes(0, [record(event) for event in events])


EVENTS = st.lists(
    st.builds(Event, st.sampled_from("abc"), st.sampled_from("JL"), st.integers(1, 40).map(lambda half: half * 500)),
    max_size=12,
)


@given(EVENTS, EVENTS, st.sampled_from([0, 1_000]), st.sampled_from([0, 5_000, 60_000]))
def test_a_bucket_is_closed_where_the_judge_says_so(
    before: list[Event], after: list[Event], grace_ms: int, stream_idle_ms: int
) -> None:
    rules = Rules(5_000, 1_000, grace_ms, stream_idle_ms)
    judge = Reference(rules)
    for event in before:
        judge.apply(event)
    expected = [COUNTED if judge.apply(event) == "accepted" else CLOSED for event in after]
    settings = settings_of(rules)
    assert outcomes(stored(before, settings), after, settings) == expected


def test_without_state_nothing_is_closed() -> None:
    found = preview(Contents(), settings_of())
    assert found.outcomes(0, [record(Event("s", "J", 1_000))]) == [COUNTED]
    assert found.oldest_s() is None


def test_steps_of_the_clock_since_the_checkpoint_count() -> None:
    contents = stored([Event("s", "J", 1_000)], settings_of())
    late = [Event("new", "J", 1_000)]
    assert outcomes(contents, late) == [COUNTED]
    journal = Journal([Step(1, 15_000), Step(1, 30_000)])
    contents.add([(JOURNAL, journal.encoded(3, 1, Checksum(0, 0)))])
    assert outcomes(contents, late) == [CLOSED]
    contents.add([(JOURNAL, journal.encoded(2, 1, Checksum(0, 0)))])  # of the checkpoint before
    assert outcomes(contents, late) == [COUNTED]


def test_a_jump_of_time_that_was_cut_at_the_checkpoint_is_finished() -> None:
    settings = settings_of()
    windows = PartitionWindows(window_rules(settings.windows), KEY)
    windows.limit_closed(1)
    events = [*(Event(f"s{number}", "J", 1_000) for number in range(5)), Event("late", "J", 60_000)]
    windows.apply(columns(events), 0, len(events), np.arange(len(events)))
    assert windows.jump is not None
    rows = windows.changed_rows()
    contents = stored([], settings, times=windows.times(), rows=rows.all_rows, jump=windows.jump)
    contents.add(rows.records)
    found = outcomes(contents, [Event("s4", "J", 1_000), Event("new", "J", 1_000), Event("late", "J", 60_001)])
    assert found == [CLOSED, CLOSED, COUNTED]


def test_schemas_are_waited_for_while_they_are_looked_up() -> None:
    settings = load_settings(None, ["input.schema_registry_url=http://localhost:1"], {})
    runs: list[Callable[[], None]] = []
    schemas = SchemaLookups(OneSchema(), 0.0, start=runs.append)  # type: ignore[arg-type]  # the two calls that it gets
    intake = Intake(settings.input, SchemaCache(settings.input, schemas))
    ticks = itertools.count()

    def now_s() -> float:
        if runs and next(ticks) == 2:
            runs.pop()()
        return 0.0

    found = Preview(lambda _: Contents(), IDENTITY, settings, intake, Clocks(now_s, lambda: NOW_MS / 1000))
    assert found.outcomes(0, [record(Event("s", "J", 1_000))]) == [COUNTED]


def test_a_registry_that_does_not_answer_ends_it_in_time() -> None:
    settings = load_settings(None, ["input.schema_registry_url=http://localhost:1"], {})
    schemas = SchemaLookups(OneSchema(), 0.0, start=lambda _: None)  # type: ignore[arg-type]  # as above
    intake = Intake(settings.input, SchemaCache(settings.input, schemas))
    ticks = itertools.count(step=5)
    clocks = Clocks(lambda: float(next(ticks)), lambda: NOW_MS / 1000)
    found = Preview(lambda _: Contents(), IDENTITY, settings, intake, clocks)
    with pytest.raises(ViewerConsumerError, match="the schema registry has not answered in time; --force sends"):
        found.outcomes(0, [record(Event("s", "J", 1_000))])


def test_changed_settings_are_those_of_the_worker_to_come() -> None:
    events = [Event("s", "J", 1_000), Event("s", "J", 5_000)]
    contents = stored(events, settings_of(Rules(5_000, 1_000, 10_000, 10_000)))
    assert outcomes(contents, [Event("s", "J", 2_000)], settings_of()) == [CLOSED]


def test_each_other_outcome_has_its_words() -> None:
    settings = settings_of(RULES, "input.events.leave=[]", 'input.events.ignore=["ViewerLeave"]')
    good = encoded(Event("s", "J", 1_000))
    records = [
        OutgoingRecord(0, 1_000, None, good + b"\0", []),
        OutgoingRecord(0, 1_000, None, None, []),
        record(Event("s", "L", 1_000)),
        record(Event("s", "J", 100_000), 1_000),
        record(Event("s", "J", 1_000)),
    ]
    assert preview(Contents(), settings).outcomes(0, records) == [
        "rejected again by these settings: trailing_bytes",
        "rejected again by these settings: null_value",
        IS_IGNORED,
        "rejected again by these settings: future",
        COUNTED,
    ]
    full = settings_of(Rules(5_000, 1_000, 0, 10_000, max_streams=1))
    assert outcomes(Contents(), [Event("a", "J", 1), Event("b", "J", 2)], full) == [
        COUNTED,
        "rejected again by these settings: stream_limit",
    ]


def test_a_record_without_a_time_is_taken_at_the_time_of_now() -> None:
    found = preview(Contents(), settings_of())
    ahead = OutgoingRecord(0, None, None, encoded(Event("s", "J", NOW_MS + 61_000)), [])
    in_time = ahead._replace(value=encoded(Event("s", "J", NOW_MS)))
    assert found.outcomes(0, [ahead, in_time]) == ["rejected again by these settings: future", COUNTED]


def test_it_says_how_old_the_checkpoint_is() -> None:
    found = preview(stored([Event("s", "J", 1_000)], settings_of()), settings_of())
    found.outcomes(0, [record(Event("s", "J", 1_000))])
    assert found.oldest_s() == 12


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        (
            {"identity": Identity("cluster", "another", "viewer-consumer")},
            "the input topic was deleted and created again",
        ),
        ({"settings": result_settings_of(settings_of(Rules(4_000, 2_000, 0)))}, "can't change while there is state"),
    ],
)
def test_state_that_cannot_be_used_is_an_error_with_a_command(changed: dict[str, Any], sentence: str) -> None:
    contents = stored([Event("s", "J", 1_000)], settings_of(), **changed)
    with pytest.raises(ViewerConsumerError) as error:
        outcomes(contents, [Event("s", "J", 1_000)])
    assert sentence in str(error.value)
    assert "viewer-consumer state " in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("changed", [{"checkpoint": b"{}"}, {"rows": {b"r\0\0s": b"\xff"}}])
def test_state_that_cannot_be_read_is_an_error_with_a_command(changed: dict[str, Any]) -> None:
    contents = stored([Event("s", "J", 1_000)], settings_of())
    with pytest.raises(ViewerConsumerError, match=r"^partition 0: .* look at it with: viewer-consumer state check"):
        outcomes(replace(contents, **changed), [Event("s", "J", 1_000)])
