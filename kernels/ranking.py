"""The largest values of an array, the same on every machine."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def largest(values: NDArray, n: int) -> NDArray[np.int64]:
    """Places of the n largest of `values` (size,), largest first, earlier places first among equals; (n or size,)."""
    n = min(n, values.size)
    if n == 0:
        return np.zeros(0, np.int64)
    least = np.partition(values, values.size - n)[values.size - n]
    candidates = np.flatnonzero(values >= least)
    return candidates[np.argsort(-values[candidates], kind="stable")][:n]
