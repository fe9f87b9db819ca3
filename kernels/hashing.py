"""Seeded families of hash functions: where an index goes, and with which sign.

A k-wise independent family is the polynomials of degree k - 1 over the integers modulo the prime P = 2^61 - 1
(Carter and Wegman 1981, "New hash functions and their use in authentication and set equality"): with uniformly drawn
coefficients, the values at any k different indices are independent and uniform. Taking them modulo L moves no
probability by more than L / P, which is below 1e-12 for every length in use.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray

#: The Mersenne prime 2^61 - 1.
PRIME = (1 << 61) - 1
#: Indices must stay below this, so that products fit in 64 bits.
MAX_SIZE = 1 << 31
_LOW, _P = np.uint64(0xFFFFFFFF), np.uint64(PRIME)


@dataclasses.dataclass(frozen=True)
class HashFamily:
    """B hash functions from n indices to L buckets, with signs.

    buckets : (B, n) int32 in 0 ... L - 1; signs : (B, n) int8, -1 or 1; hash_length : L.
    """

    buckets: NDArray[np.int32]
    signs: NDArray[np.int8]
    hash_length: int

    @property
    def n_hashes(self) -> int:
        """B."""
        return self.buckets.shape[0]

    @property
    def size(self) -> int:
        """n, the number of indices."""
        return self.buckets.shape[1]


def hash_family(
    size: int, hash_length: int, n_hashes: int, *, independence: int = 3, rng: np.random.Generator
) -> HashFamily:
    """Draw B = n_hashes bucket functions and as many sign functions, each `independence`-wise independent.

    size : n < 2^31 indices; hash_length : L >= 1 (not only powers of two). ValueError for sizes out of range.
    2-wise is enough where every mode of a tensor has a function of its own. Where one function serves all modes, sums
    such as h(i) + h(j) + h(k) meet, and it takes 2 N-wise for order N: straight lines (2-wise) would send every
    i + j + k to one place.
    """
    if not 0 <= size < MAX_SIZE:
        raise ValueError(f"{size} indices: hashing needs at least 0 and fewer than 2^31")
    if not 1 <= hash_length < MAX_SIZE or n_hashes < 1:
        raise ValueError(f"hash length {hash_length} and {n_hashes} sketches: both must be at least 1, and below 2^31")
    if independence < 2:
        raise ValueError(f"{independence}-wise independence: it takes at least 2")
    buckets = np.empty((n_hashes, size), np.int32)
    signs = np.empty((n_hashes, size), np.int8)
    indices = np.arange(size, dtype=np.uint64)
    for repeat in range(n_hashes):
        values = polynomial(rng.integers(0, PRIME, independence, dtype=np.uint64), indices)
        buckets[repeat] = values % np.uint64(hash_length)
        values = polynomial(rng.integers(0, PRIME, independence, dtype=np.uint64), indices)
        signs[repeat] = 1 - 2 * (values & np.uint64(1)).astype(np.int8)
    return HashFamily(buckets, signs, hash_length)


def polynomial(coefficients: NDArray[np.uint64], indices: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Values modulo 2^61 - 1, (n,) uint64. coefficients : (k,) below P, highest power first; indices : (n,) < 2^31."""
    values = np.zeros(indices.size, np.uint64)
    for coefficient in coefficients:
        values = _reduced(_times(values, indices) + coefficient)
    return values


def _times(values: NDArray[np.uint64], indices: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """values * indices modulo P, below 2^62; in two halves, because the product has up to 92 bits.

    2^61 is 1 modulo P, so multiplying by 2^32 turns the 61 bits of a number round by 32.
    """
    high = _reduced((values >> np.uint64(32)) * indices)
    turned = (high >> np.uint64(29)) + ((high & np.uint64((1 << 29) - 1)) << np.uint64(32))
    low = (values & _LOW) * indices
    return turned + (low >> np.uint64(61)) + (low & _P)


def _reduced(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """values modulo P, for any 64-bit values."""
    values = (values >> np.uint64(61)) + (values & _P)
    return np.where(values >= _P, values - _P, values)
