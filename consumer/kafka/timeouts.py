"""The time-outs of this package in one object, so that a caller can pass shorter ones."""

from typing import NamedTuple


class Timeouts(NamedTuple):
    """Time-outs in seconds."""

    cluster_s: float = 8.0
    """Until the cluster answers at the start; after it the address counts as wrong."""
    call_s: float = 5.0
    """One call of the client library that is retried until a longer deadline."""
    retry_pause_s: float = 0.1
    """Between two attempts of a retried call."""
    state_s: float = 60.0
    """Reading stored state: longer than a dead worker's open transaction can block the group's offsets."""
    dead_letters_s: float = 15.0
    """Metadata of the dead-letter topic, and between two of its records."""
    send_s: float = 30.0
    """Until brokers have acknowledged records that are sent to the input again."""
    join_s: float = 60.0
    """Joining the group alone: partitions of killed members are reassigned only after their session time-out."""
    end_offsets_s: float = 5.0
    """An end-offset query; older answers are outdated and dropped."""
    close_s: float = 10.0
    """Leaving the group."""
    look_up_close_s: float = 5.0
    """Closing the clients of restores, look-ups under way included."""
    embedded_s: float = 10.0
    """Metadata of the broker in this process."""


TIMEOUTS = Timeouts()
"""The values in use unless others are passed."""
