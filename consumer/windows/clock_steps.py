"""What closes buckets without a record: clock steps of a quiet partition, the rest of a cut jump, changed rules."""

from consumer.runtime.jit import compiled, inlined
from consumer.windows.buckets import drop_outside_window, first_open_ms
from consumer.windows.closing import (
    PARTITION_IDLE,
    SETTINGS,
    Closed,
    advance_partition,
    close_quiet_streams,
    close_until,
    due_watermark_ms,
    schedule,
)
from consumer.windows.layout import NEVER_MS, NO_TIME_MS, NONE, State
from consumer.windows.rules import WindowRules
from consumer.windows.streams import remove_stream


@compiled
def step_partition(rules: WindowRules, state: State, to_ms: int, offset: int, closed: Closed) -> None:
    """Advance partition time as a record of no stream would."""
    advance_partition(rules, state, to_ms, PARTITION_IDLE, offset, closed)


@compiled
def continue_jump(rules: WindowRules, state: State, closed: Closed) -> None:
    """Close more of the quiet streams of a jump that was cut."""
    close_quiet_streams(rules, state, closed)


@compiled
def apply_rules(
    before: WindowRules, rules: WindowRules, state: State, first_row: int, offset: int, closed: Closed
) -> int:
    """Close what the new rules close in every stream, and rebuild the heap; the idle watermark does not change.

    Returns the row to continue from if `closed_limit` was reached, else NONE. The first call starts at row 0.
    """
    head = state.head[0]
    if first_row == 0:
        idle_watermark_ms = int(head["idle_watermark_ms"])
        if rules.grace_ms > before.grace_ms and idle_watermark_ms != NO_TIME_MS:
            head["closed_below_ms"] = max(int(head["closed_below_ms"]), first_open_ms(before, idle_watermark_ms))
        head["due_size"] = 0
    for row in range(first_row, head["streams_used"]):
        if head["closed_size"] >= head["closed_limit"]:
            return row
        if state.streams[row]["id_size"] >= 0:
            _apply_to_stream(before, rules, state, row, offset, closed)
    return NONE


@inlined
def _apply_to_stream(
    before: WindowRules, rules: WindowRules, state: State, row: int, offset: int, closed: Closed
) -> None:
    stream, idle_watermark_ms = state.streams[row], int(state.head[0]["idle_watermark_ms"])
    own_ms = int(stream["time_ms"])
    if rules.grace_ms > before.grace_ms:
        # What has closed stays closed: with more grace its late events would open it again.
        stream["closed_below_ms"] = max(int(stream["closed_below_ms"]), first_open_ms(before, own_ms))
        stream["changed"] = True
    time_ms = max(own_ms, idle_watermark_ms)
    close_until(rules, state, row, time_ms, SETTINGS, offset, closed)
    # A longer window must not take back buckets that left the old one, those that close only now included.
    drop_outside_window(before, state, row, time_ms)
    drop_outside_window(rules, state, row, time_ms)
    stream["scheduled_ms"] = NEVER_MS
    if due_watermark_ms(rules, state, row) <= idle_watermark_ms:
        remove_stream(state, row)
    else:
        schedule(rules, state, row)
