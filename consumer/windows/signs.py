"""Signs of viewers: packed into one word, kept in their bucket until it closes, and chained by viewer, newest first.

A sign's order is its time, a leave behind all else at the same time. Which signs are kept, and in which order, does
not depend on when they come, except past the limits.
"""

from consumer.compiled import inlined
from consumer.windows.audience import CHUNK, Audience
from consumer.windows.events import JOIN, LEAVE
from consumer.windows.rules import WindowRules
from consumer.windows.state import NO_TIME_MS, NONE, State

_RANKS = 256
"""A sign knows how many signs of its viewer and bucket come before it, so that none are counted when one arrives."""


@inlined
def _packed(order: int, joined: bool, rank: int) -> int:
    return (order * 2 + joined) * _RANKS + rank


@inlined
def _order(sign: int) -> int:
    return sign >> 9


@inlined
def time_of(sign: int) -> int:
    """When it was."""
    return sign >> 10


@inlined
def latest_at(time_ms: int) -> int:
    """No sign of that time is larger."""
    return (time_ms + 1) * 4 * _RANKS - 1


@inlined
def is_leave(sign: int) -> bool:
    """Gone, else there."""
    return sign & 512 != 0


@inlined
def is_joined(sign: int) -> bool:
    """Whether a join was among the events that gave it."""
    return sign & _RANKS != 0


@inlined
def _rank(sign: int) -> int:
    return sign & (_RANKS - 1)


@inlined
def keep_sign(rules: WindowRules, state: State, row: int, slot: int, viewer: int, timestamp_ms: int, kind: int) -> bool:
    """Keep what an event in an open bucket says of a viewer, unless that is known; False past the limit."""
    audience, start_ms = state.audience, state.buckets[slot]["start_ms"]
    viewers, kept = audience.viewers, audience.kept
    order = timestamp_ms * 2 + (kind == LEAVE)
    later, top, at = NONE, NONE, int(viewers[viewer]["kept"])
    while at != NONE and _order(kept[at]["sign"]) > order:
        if top == NONE and time_of(kept[at]["sign"]) < start_ms + rules.bucket_ms:
            top = at  # the newest of this bucket
        later, at = at, int(kept[at]["earlier"])
    rank = 0
    if at != NONE and time_of(kept[at]["sign"]) >= start_ms:
        if _order(kept[at]["sign"]) == order:
            if kind == JOIN:
                kept[at]["sign"] |= _RANKS
            return True
        rank = _rank(kept[at]["sign"]) + 1
    if (rank if top == NONE else _rank(kept[top]["sign"]) + 1) >= rules.max_events_per_viewer_bucket:
        return False
    node = new_node(audience, slot)
    kept[node]["sign"] = _packed(order, kind == JOIN, rank)
    kept[node]["viewer"] = viewer
    kept[node]["earlier"] = at
    if later != NONE:
        kept[later]["earlier"] = node
        _raise_ranks(audience, top, node)
        return True
    viewers[viewer]["kept"] = node
    was_there = viewers[viewer]["seen_ms"] != NO_TIME_MS if at == NONE else not is_leave(kept[at]["sign"])
    state.streams[row]["viewers"] += int(kind != LEAVE) - int(was_there)
    return True


@inlined
def _raise_ranks(audience: Audience, top: int, node: int) -> None:
    """Of a bucket's signs from `top` down to `node`, which comes before them."""
    while top not in (NONE, node):
        audience.kept[top]["sign"] += 1
        top = int(audience.kept[top]["earlier"])


@inlined
def new_node(audience: Audience, slot: int) -> int:
    """Room for one more sign of a bucket."""
    tally, presence, chunks = audience.tally[0], audience.presence[slot], audience.chunks
    inside = int(presence["kept"]) & (CHUNK - 1)
    presence["kept"] += 1
    tally["kept_live"] += 1
    if inside != 0:
        return int(presence["last_chunk"]) * CHUNK + inside
    chunk = int(tally["chunks_free"])
    if chunk == NONE:
        chunk = int(tally["chunks_used"])
        tally["chunks_used"] += 1
    else:
        tally["chunks_free"] = chunks[chunk]
    tally["chunks_live"] += 1
    if presence["last_chunk"] == NONE:
        presence["first_chunk"] = chunk
    else:
        chunks[presence["last_chunk"]] = chunk
    chunks[chunk] = NONE
    presence["last_chunk"] = chunk
    return chunk * CHUNK


@inlined
def drop_signs(audience: Audience, slot: int) -> None:
    """Free the chunks of a bucket that is settled: no chain has its signs any more."""
    tally, presence = audience.tally[0], audience.presence[slot]
    if presence["kept"] == 0:
        return
    tally["kept_live"] -= presence["kept"]
    tally["chunks_live"] -= (presence["kept"] + CHUNK - 1) // CHUNK
    audience.chunks[presence["last_chunk"]] = tally["chunks_free"]
    tally["chunks_free"] = presence["first_chunk"]
    presence["kept"] = 0
    presence["first_chunk"] = NONE
    presence["last_chunk"] = NONE


@inlined
def cut_chain(audience: Audience, viewer: int, end_ms: int) -> int:
    """Take a viewer's signs before that time off the chain and turn them round; the earliest, whose `earlier` is later.

    NONE where there are none: they were taken before.
    """
    viewers, kept = audience.viewers, audience.kept
    later, at = NONE, int(viewers[viewer]["kept"])
    while at != NONE and time_of(kept[at]["sign"]) >= end_ms:
        later, at = at, int(kept[at]["earlier"])
    if later == NONE:
        viewers[viewer]["kept"] = NONE
    else:
        kept[later]["earlier"] = NONE
    turned = NONE
    while at != NONE:
        earlier = int(kept[at]["earlier"])
        kept[at]["earlier"] = turned
        turned, at = at, earlier
    return turned
