"""Pseudo-random numbers that depend only on their index: no result depends on the size of slices."""

import numpy as np
import numpy.typing as npt

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)


def scatter(index: npt.NDArray[np.int64], salt: int) -> npt.NDArray[np.uint64]:
    """Return Splitmix64's output for these indexes: with one salt, different indexes never give the same number."""
    mixed = index.astype(np.uint64) * _GOLDEN + np.uint64(salt % 2**64)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * _MIX_1
    mixed = (mixed ^ (mixed >> np.uint64(27))) * _MIX_2
    return mixed ^ (mixed >> np.uint64(31))


def uniform(index: npt.NDArray[np.int64], salt: int) -> npt.NDArray[np.float64]:
    """Return evenly distributed numbers in [0, 1), one per index."""
    return (scatter(index, salt) >> np.uint64(11)).astype(np.float64) * 2.0**-53


def salt(seed: int, purpose: int) -> int:
    """Return a salt for one purpose under one seed; purposes of one seed share no sequence."""
    return int(scatter(np.array([purpose], np.int64), int(scatter(np.array([seed], np.int64), 0)[0]))[0])
