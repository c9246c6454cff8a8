"""Look-ups in the background: once for all who ask, with pauses after failures, inside limits, and never waited for."""

import gc
import threading
import time
from collections.abc import Callable, Iterator

import numpy as np
import pytest

from consumer.intake.compiler.schema_json import ParsedSchema
from consumer.intake.intake import Decoded, Intake
from consumer.intake.intakes import Intakes
from consumer.intake.schemas import lookups as module
from consumer.intake.schemas.builtin import builtin_schema_text
from consumer.intake.schemas.lookups import (
    ASK_AGAIN_S,
    FAILED_LAST_S,
    LONGEST_PAUSE_S,
    MAX_PENDING,
    MAX_UNKNOWN,
    REPORT_AFTER_S,
    SchemaLookups,
)
from consumer.intake.schemas.registry import RegisteredSchema, Registry, RegistryUnavailable
from consumer.runtime.joined import joined
from consumer.settings.model import InputSettings
from tests.intake.payloads import NO_CLOCK_MS, confluent, join
from tests.support.waiting import until

OURS = RegisteredSchema(builtin_schema_text("viewer_event"), ())
JOINS_ONLY = InputSettings.model_validate({"events": {"ignore": ["ViewerLeave"], "leave": ["Goodbye"]}})
WITHIN_S = 10.0


class FakeRegistry(Registry):
    """Answers as a test says; notes who asked for what."""

    def __init__(self) -> None:
        self.address = "http://registry"
        self.answer: Callable[[int], RegisteredSchema | None] = lambda _: OURS
        self.asked: list[int] = []
        self.threads: set[int] = set()
        self.open = threading.Event()
        """While it is not set, no answer is given."""
        self.open.set()

    def schema_by_id(self, schema_id: int, budget_s: float) -> RegisteredSchema | None:
        self.asked.append(schema_id)
        self.threads.add(threading.get_ident())
        assert self.open.wait(WITHIN_S) or budget_s
        return self.answer(schema_id)


class Clock:
    """A monotonic clock that only tests move."""

    def __init__(self) -> None:
        self.now_s = 1_000.0

    def __call__(self) -> float:
        return self.now_s


def down(_: int) -> RegisteredSchema | None:
    raise RegistryUnavailable("the schema registry at http://registry gives no answer (timed out)")


@pytest.fixture
def registry() -> Iterator[FakeRegistry]:
    registry = FakeRegistry()
    yield registry
    registry.open.set()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def lookups(registry: FakeRegistry, clock: Clock) -> SchemaLookups:
    """In a thread."""
    return SchemaLookups(registry, 30.0, clock)


@pytest.fixture
def in_place(registry: FakeRegistry, clock: Clock) -> SchemaLookups:
    """Without a thread."""
    return SchemaLookups(registry, 30.0, clock, start=lambda run: run())


def decode(intake: Intake, *ids: int) -> Decoded:
    return intake.decode(joined([confluent(join(), each) for each in ids]), np.full(len(ids), -1), NO_CLOCK_MS)


def test_a_schema_is_asked_for_once_in_the_background_whoever_waits_for_it(
    registry: FakeRegistry, lookups: SchemaLookups
) -> None:
    intakes = Intakes(lookups)
    readers = [intakes.make(source) for source in (InputSettings(), InputSettings(), JOINS_ONLY)]
    registry.open.clear()
    for _ in range(20):
        assert [decode(each, 7, 7).waiting for each in readers] == [0, 0, 0]
    registry.open.set()
    until(lambda: lookups.answered == 1, "it is answered", WITHIN_S)
    assert [decode(each, 7, 7).waiting for each in readers] == [2, 2, 2]
    assert registry.asked == [7]
    assert threading.get_ident() not in registry.threads


def test_intakes_share_programs_where_their_mapping_is_the_same(
    registry: FakeRegistry, in_place: SchemaLookups
) -> None:
    intakes = Intakes(in_place)
    source = InputSettings()
    live = intakes.make(source)
    same = intakes.make(source.model_copy(update={"max_payload_bytes": 10, "unknown_schema_wait_ms": 1}))
    other = intakes.make(JOINS_ONLY)
    schemas = [decode(each, 7).schemas for each in (live, same, other)]
    assert schemas[0] is schemas[1]
    assert schemas[0] is not schemas[2]
    del other, schemas
    gc.collect()
    assert len(intakes._caches) == 1, "one that nobody uses is gone"
    assert registry.asked == [7]


def test_a_failure_pauses_all_look_ups_and_the_pause_doubles(
    registry: FakeRegistry, in_place: SchemaLookups, clock: Clock
) -> None:
    registry.answer = down
    pauses = []
    for _ in range(8):
        began_s, before = clock.now_s, len(registry.asked)
        while len(registry.asked) == before:
            in_place.request([7, 8, 9])
            clock.now_s += 0.01
        assert len(registry.asked) == before + 1, "one of the three, for all of them"
        pauses.append(clock.now_s - began_s)
    assert len(set(registry.asked)) == 3, "in turns"
    assert pauses[1] <= ASK_AGAIN_S + FAILED_LAST_S + 0.1
    assert max(pauses) <= LONGEST_PAUSE_S + FAILED_LAST_S + 0.1
    assert pauses[-1] > LONGEST_PAUSE_S / 2 - 0.1
    assert "gives no answer" in in_place.reason(10), "whatever it would be asked"
    registry.answer = lambda _: OURS
    clock.now_s += LONGEST_PAUSE_S + FAILED_LAST_S
    in_place.request([7, 8, 9])
    assert isinstance(in_place.answer(9), ParsedSchema)
    assert in_place.reason(10) == ""


def test_one_schema_that_always_fails_does_not_hold_up_others(
    registry: FakeRegistry, in_place: SchemaLookups, clock: Clock
) -> None:
    registry.answer = lambda schema_id: down(schema_id) if schema_id == 6 else OURS
    for _ in range(20):
        in_place.request([6, 7])
        clock.now_s += 0.25
    assert isinstance(in_place.answer(7), ParsedSchema)
    assert "gives no answer" in in_place.reason(6)


def test_an_error_of_ours_in_a_look_up_is_a_reason_and_another_attempt(
    registry: FakeRegistry, in_place: SchemaLookups, clock: Clock
) -> None:
    def broken(_: int) -> RegisteredSchema | None:
        raise KeyError("x")

    registry.answer = broken
    in_place.request([7])
    assert in_place.reason(7) == "the look-up of id 7 failed: KeyError: 'x'"
    registry.answer = lambda _: OURS
    clock.now_s += ASK_AGAIN_S + FAILED_LAST_S
    in_place.request([7])
    assert isinstance(in_place.answer(7), ParsedSchema)


def test_a_look_up_is_a_reason_to_report_when_it_takes_long(
    registry: FakeRegistry, lookups: SchemaLookups, clock: Clock
) -> None:
    registry.open.clear()
    lookups.request([7])
    assert lookups.reason(7) == ""
    clock.now_s += REPORT_AFTER_S
    assert lookups.reason(7) == "the schema registry at http://registry has not answered about id 7 yet"


def test_closing_waits_for_nothing_and_nothing_more_is_asked(registry: FakeRegistry, lookups: SchemaLookups) -> None:
    registry.open.clear()
    lookups.request([7, 8, 9])
    until(lambda: registry.asked == [7], "the first is asked for", WITHIN_S)
    began_s = time.monotonic()
    lookups.close()
    lookups.request([10])
    assert time.monotonic() - began_s < WITHIN_S
    registry.open.set()
    until(lambda: lookups.answered == 1 and not lookups._running, "the thread ends", WITHIN_S)
    assert registry.asked == [7]


def test_a_thread_runs_only_while_something_is_asked_for(registry: FakeRegistry, lookups: SchemaLookups) -> None:
    for schema_id in (7, 8):
        lookups.request([schema_id])
        until(lambda: not lookups._running, "the thread ends", WITHIN_S)
    assert registry.asked == [7, 8]


def test_what_is_pending_failed_unknown_and_found_is_bounded(
    registry: FakeRegistry, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    waiting = SchemaLookups(registry, 30.0, clock, start=lambda _: None)
    waiting.request(range(2 * MAX_PENDING))
    assert len(waiting._pending) == MAX_PENDING
    in_place = SchemaLookups(registry, 30.0, clock, start=lambda run: run())
    registry.answer = lambda _: None
    for begin in range(0, MAX_UNKNOWN + MAX_PENDING, MAX_PENDING):
        in_place.request(range(begin, begin + MAX_PENDING))
    assert len(in_place._unknown) == MAX_UNKNOWN
    registry.answer = down
    for schema_id in range(MAX_PENDING + 10):
        clock.now_s += 2 * LONGEST_PAUSE_S
        in_place.request([schema_id])
    assert len(in_place._failed) == MAX_PENDING
    registry.answer = lambda _: OURS
    clock.now_s += 2 * LONGEST_PAUSE_S
    monkeypatch.setattr(module, "MAX_SCHEMA_CHARS", 3 * len(OURS.text))
    in_place.request(range(20_000, 20_010))
    assert list(in_place._found) == [20_007, 20_008, 20_009], "the newest"
