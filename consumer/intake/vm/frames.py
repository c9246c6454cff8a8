"""Where the records of a batch are."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]

NO_KEY = -1
UNREADABLE_KEY = -2
"""Instead of the size of a record's key."""


class Frames(NamedTuple):
    """Positions of the records of a batch, one entry per record."""

    begins: Ints
    ends: Ints
    references: Ints
    entries: Ints
    kafka_timestamps_ms: Ints
    key_begins: Ints
    key_sizes: Ints
    """`NO_KEY` for records without a key, or where keys are not read."""
