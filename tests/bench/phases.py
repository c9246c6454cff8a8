"""Decoding and windows alone, in this process: nanoseconds per event, best of several rounds."""

import time
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from consumer.intake.intake import Intake
from consumer.intake.schemas.cache import SchemaCache
from consumer.runtime.joined import joined
from consumer.settings.model import load_settings
from consumer.settings.window_rules import window_rules
from consumer.windows.events import EventColumns
from consumer.windows.partition import PartitionWindows
from tests.bench.load import Load
from tests.bench.pinned import SCHEMA

ROUNDS = 5


class PhaseCosts(NamedTuple):
    """Nanoseconds per event."""

    decode_ns: float
    windows_ns: float


def measure_phases(load: Load, batch: int, counting: str) -> PhaseCosts:
    """Run the load through the intake, and its columns through the windows, in batches of this size."""
    source = load_settings(None, [f'input.ids={{1 = "{SCHEMA}"}}', f"windows.counting={counting}"], {})
    intake = Intake(source.input, SchemaCache(source.input))
    values = [value for _, more, _ in load.batches() for value in more]
    slices = [values[begin : begin + batch] for begin in range(0, len(values), batch)]
    now_ms = load.start_ms + load.duration_ms
    stamps, offsets = np.full(batch, now_ms, np.int64), np.arange(batch, dtype=np.int64)

    def decode() -> None:
        for some in slices:
            intake.decode(joined(some), stamps[: len(some)], now_ms)

    columns = [_copied(intake.decode(joined(some), stamps[: len(some)], now_ms).events) for some in slices]

    def process_events() -> None:
        partition = PartitionWindows(window_rules(source.windows), (1, 2))
        for events in columns:
            partition.apply(events, 0, len(events.facts), offsets)
            partition.pop_closed()

    return PhaseCosts(_best_ns(decode, len(values)), _best_ns(process_events, len(values)))


def state_bytes_per_stream(load: Load, counting: str) -> float:
    """Return the memory of a stream with a full window, at the default window settings."""
    source = load_settings(None, [f'input.ids={{1 = "{SCHEMA}"}}', f"windows.counting={counting}"], {})
    intake = Intake(source.input, SchemaCache(source.input))
    partition = PartitionWindows(window_rules(source.windows), (1, 2))
    for _, values, stamps in load.batches():
        events = intake.decode(joined(values), stamps, load.start_ms + load.duration_ms).events
        partition.apply(events, 0, len(values), np.arange(len(values)))
        partition.pop_closed()
    stats = partition.stats()
    return stats.state_bytes / stats.streams


def _copied(events: EventColumns) -> EventColumns:
    text = np.frombuffer(bytearray(events.text), np.uint8)
    return events._replace(
        text=text, **{name: column.copy() for name, column in events._asdict().items() if name != "text"}
    )


def _best_ns(run: Callable[[], None], events: int) -> float:
    run()
    best = float("inf")
    for _ in range(ROUNDS):
        began = time.perf_counter_ns()
        run()
        best = min(best, (time.perf_counter_ns() - began) / events)
    return best
