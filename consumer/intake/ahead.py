"""Compare records with this machine's clock.

Nothing is rejected here: where the clock itself is wrong, all records are ahead of it.
"""

import numpy as np
import numpy.typing as npt

from consumer.intake.vm.interpreter import NO_KAFKA_TIMESTAMP
from consumer.runtime.jit import compiled, inlined

IN_TIME = 0
AHEAD = 1
UNDECIDED = 2
"""Says nothing about the clock: within the limit but not clearly, or without Kafka timestamp and not a valid event."""

Ints = npt.NDArray[np.int64]
Bytes = npt.NDArray[np.uint8]


@inlined
def _all_in_time(kafka_timestamps: Ints, latest_ms: int) -> bool:
    """The usual case, without a branch for each record."""
    others = 0
    for row in range(len(kafka_timestamps)):
        others += (kafka_timestamps[row] > latest_ms) | (kafka_timestamps[row] == NO_KAFKA_TIMESTAMP)
    return others == 0


@compiled
def compare_with_clock(
    kafka_timestamps: Ints, timestamp_ms: Ints, reject: Bytes, wall_clock_ms: int, max_future_ms: int, found: Bytes
) -> int:
    """Write a code for each record to `found`; return how many are ahead.

    A record is ahead if its Kafka timestamp, or its event's time where it has none, is more than `max_future_ms` ahead
    of the clock. It is clearly in time up to half of that.
    """
    if _all_in_time(kafka_timestamps, wall_clock_ms + max_future_ms // 2):
        found[:] = IN_TIME
        return 0
    ahead = 0
    for row in range(len(reject)):
        time_ms = kafka_timestamps[row]
        if time_ms == NO_KAFKA_TIMESTAMP:
            if reject[row] != 0:
                found[row] = UNDECIDED
                continue
            time_ms = timestamp_ms[row]
        if time_ms > wall_clock_ms + max_future_ms:
            found[row] = AHEAD
            ahead += 1
        else:
            found[row] = IN_TIME if time_ms <= wall_clock_ms + max_future_ms // 2 else UNDECIDED
    return ahead
