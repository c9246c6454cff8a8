"""Whether the loop is alive and the worker ready, from the snapshot and from what the loop does at this moment."""

from dataclasses import replace

from consumer.observe.snapshot import Health, SnapshotBoard

STUCK_AFTER_S = 30.0
"""A loop that has run its own code for so long is stuck."""

ACTIVITY_MARGIN_S = 15.0
"""A bounded activity may take so much longer than its limit on a busy machine."""

ANSWER_WITHIN_S = 10.0
"""A call to Kafka that takes longer makes the worker unready."""


def stuck_reason(board: SnapshotBoard, now_s: float) -> str:
    """Why the loop counts as stuck; empty if it is alive.

    Waiting for Kafka in a bounded call, or compiling, is not stuck: a restart would not help.
    """
    activity, silent_s = board.activity, now_s - board.last_tick_s
    if activity is not None:
        took_s = now_s - activity.since_s
        if took_s <= activity.limit_s + ACTIVITY_MARGIN_S:
            return ""
        return f"the loop is in {activity.what} since {took_s:.1f} s (limit {activity.limit_s:g} s)"
    if silent_s <= STUCK_AFTER_S:
        return ""
    return f"the loop has not ticked for {silent_s:.1f} s (limit {STUCK_AFTER_S:g} s)"


def current_health(board: SnapshotBoard, now_s: float) -> Health:
    """The health of the newest snapshot, and what has gone wrong since: the loop publishes none while it waits."""
    health, activity = board.latest().health, board.activity
    if activity is not None and now_s - activity.since_s > ANSWER_WITHIN_S:
        reason = f"{activity.what} has taken {now_s - activity.since_s:.0f} s"
        return replace(health, kafka_answers=False, reason=_joined(reason, health.reason))
    stuck = stuck_reason(board, now_s)
    if stuck:
        return replace(health, loop_turns=False, reason=_joined(stuck, health.reason))
    return health


def _joined(first: str, then: str) -> str:
    return f"{first}; {then}" if then else first
