"""Who of a stream is present where its open buckets begin: a list, the longest silent first.

Viewers are put at its end when a bucket with a sign of theirs closes, and buckets close in order; so the list is
ordered by the bucket of the last sign, though not within a bucket.
"""

from consumer.runtime.jit import inlined
from consumer.windows.layout import NONE
from consumer.windows.viewers.layout import Audience


@inlined
def enter(audience: Audience, row: int, viewer: int) -> None:
    """Put a viewer who is not in the list at its end."""
    crowd, viewers = audience.crowds[row], audience.viewers
    freshest = int(crowd["freshest"])
    viewers[viewer]["quieter"] = freshest
    viewers[viewer]["fresher"] = NONE
    if freshest == NONE:
        crowd["quietest"] = viewer
    else:
        viewers[freshest]["fresher"] = viewer
    crowd["freshest"] = viewer
    crowd["carried"] += 1


@inlined
def quit_crowd(audience: Audience, row: int, viewer: int) -> None:
    """Take a viewer out of the list."""
    crowd, viewers = audience.crowds[row], audience.viewers
    quieter, fresher = int(viewers[viewer]["quieter"]), int(viewers[viewer]["fresher"])
    if quieter == NONE:
        crowd["quietest"] = fresher
    else:
        viewers[quieter]["fresher"] = fresher
    if fresher == NONE:
        crowd["freshest"] = quieter
    else:
        viewers[fresher]["quieter"] = quieter
    crowd["carried"] -= 1
