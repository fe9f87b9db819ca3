"""Random numbers that are functions of where they are used: no state, so nothing depends on what was drawn before.

A key is mixed from a few integers (seed, epoch, image ...) by splitmix64 (Steele, Lea and Flood 2014, "Fast splittable
pseudorandom number generators", figure 13), and so are the draws that belong to it. Any process can compute those of
any image, in any order: a run that is resumed, or shared out otherwise, sees the same.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_FIRST, _SECOND = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_MASK = (1 << 64) - 1


def mixed(words: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """splitmix64's output function of each word: a bijection of 64 bits. words, returns : any shape, uint64."""
    words = (words ^ (words >> np.uint64(30))) * _FIRST
    words = (words ^ (words >> np.uint64(27))) * _SECOND
    return words ^ (words >> np.uint64(31))


def keys(parts: tuple[int, ...], indices: NDArray[np.int64]) -> NDArray[np.uint64]:
    """One key for each of the indices, (n,) uint64. parts : seed, epoch, purpose ...; indices : (n,) int64 >= 0."""
    key = np.zeros(1, np.uint64)
    for part in parts:
        key = mixed((key ^ np.uint64(part & _MASK)) + _GOLDEN)
    return mixed((key ^ indices.astype(np.uint64)) + _GOLDEN)


def words(keys_n: NDArray[np.uint64], n_draws: int) -> NDArray[np.uint64]:
    """Draws of every key, (n, n_draws) uint64, uniform in 64 bits. keys_n : (n,) uint64."""
    return mixed(keys_n[:, None] + np.arange(1, n_draws + 1, dtype=np.uint64) * _GOLDEN)


def uniforms(keys_n: NDArray[np.uint64], n_draws: int) -> NDArray[np.float64]:
    """The same in [0, 1), (n, n_draws) float64, from their upper 53 bits."""
    return (words(keys_n, n_draws) >> np.uint64(11)).astype(np.float64) * 2.0**-53
