"""What an event of the judges says: the letters of its kind, and the samples that belong to them.

J join, L leave, B bitrate, S buffer event (a stall), H heartbeat; several letters say several things at once. A small b
or s is a sample that is no number: nothing is counted of it, but its event is.
"""

from typing import NamedTuple, Protocol

NO_NUMBER = -1


class Telling(Protocol):
    @property
    def kind(self) -> str: ...

    @property
    def value(self) -> int: ...

    @property
    def stall_ms(self) -> int: ...


class Samples(NamedTuple):
    bitrates: list[int]
    stalls_ms: list[int]


def samples_of(event: Telling) -> Samples:
    """An event's samples; its one value is a bitrate or a stall, and with a bitrate a stall has a value of its own."""
    bitrates = [event.value] if "B" in event.kind else []
    stalls_ms = [event.stall_ms if "B" in event.kind else event.value] if "S" in event.kind else []
    return Samples(bitrates, stalls_ms)


def numbers_of(event: Telling) -> dict[str, int]:
    """An event's samples by the names of their fields; one that is no number is below 0."""
    bitrates, stalls_ms = samples_of(event)
    bitrates += [NO_NUMBER] * event.kind.count("b")
    stalls_ms += [NO_NUMBER] * event.kind.count("s")
    return dict([*(("bitrate_bps", each) for each in bitrates), *(("duration_ms", each) for each in stalls_ms)])
