"""Looking ahead: what the next events need is read now, many at a time, so that the processor waits for it once.

An audience is larger than the caches, and each event needs places all over it: waiting for one after the other takes
most of the time. The loops here are so short that the processor has several reads on their way. What they find is
dropped: it is at hand when the walk asks for it.
"""

from consumer.compiled import inlined
from consumer.windows.audience import CHUNK
from consumer.windows.events import EventColumns
from consumer.windows.hashing import siphash13, siphash24_128
from consumer.windows.rules import WindowRules
from consumer.windows.state import State
from consumer.windows.viewers import home_of, tag_of


@inlined
def look_ahead(rules: WindowRules, state: State, events: EventColumns, begin: int, end: int) -> None:
    """Leave the hashes of rows `begin` to `end` in `state.ahead`, from its front."""
    key0, key1, ahead = state.head[0]["hash_key0"], state.head[0]["hash_key1"], state.ahead
    for i in range(begin, end):
        if events.reject[i] == 0:
            stream = siphash13(key0, key1, events.text, events.stream_start[i], events.stream_size[i])
            ahead[i - begin]["stream"] = stream
    if not rules.sessions:
        return
    for i in range(begin, end):
        if events.reject[i] == 0:
            low, high = siphash24_128(key0, key1, events.text, events.viewer_start[i], events.viewer_size[i])
            ahead[i - begin]["low"] = low
            ahead[i - begin]["high"] = high
    _read_viewers(state, end - begin)


@inlined
def _read_viewers(state: State, size: int) -> None:
    """The viewers' places in the table, their rows, their newest signs."""
    ahead, slots = state.ahead, state.audience.slots
    viewers, kept = state.audience.viewers, state.audience.kept
    for i in range(size):
        ahead[i]["hint"] = slots[home_of(tag_of(ahead[i]["stream"], ahead[i]["low"]), len(slots))]["viewer"]
    for i in range(size):
        ahead[i]["hint"] = viewers[max(ahead[i]["hint"], 0)]["kept"]
    for i in range(size):
        # What row 0 says before anybody has it is not to be relied on.
        node = min(max(ahead[i]["hint"], 0), len(kept) - 1)
        ahead[i]["hint"] = kept[node]["sign"]


@inlined
def read_signs(state: State, chunk: int, size: int) -> None:
    """Have at hand the viewers of a chunk of signs, and their neighbours among those present."""
    ahead, viewers, kept = state.ahead, state.audience.viewers, state.audience.kept
    # Hashes stay as they are: a bucket is settled while the events that were looked at are yet to be taken.
    for i in range(size):
        ahead[i]["hint"] = viewers[kept[chunk * CHUNK + i]["viewer"]]["kept"]
    for i in range(size):
        viewer = viewers[kept[chunk * CHUNK + i]["viewer"]]
        quieter, fresher = max(viewer["quieter"], 0), max(viewer["fresher"], 0)
        ahead[i]["hint"] = viewers[quieter]["fresher"] + viewers[fresher]["quieter"]


@inlined
def read_slots(state: State, row: int, begin: int, end: int) -> None:
    """Have at hand the places in the table of some who have gone, all of one stream."""
    ahead, audience = state.ahead, state.audience
    slots, viewers = audience.slots, audience.viewers
    for i in range(begin, end):
        tag = tag_of(state.streams[row]["hash"], viewers[audience.gone[i]]["hash_low"])
        ahead[i - begin]["hint"] = slots[home_of(tag, len(slots))]["viewer"]
