"""Slow twins of the sketches: a sketch as one dense matrix over all entries of a tensor."""

from __future__ import annotations

import itertools

import numpy as np
from numpy.typing import NDArray

from tdtool.kernels.hashing import PRIME, HashFamily

Array = NDArray[np.float64]


def polynomial(coefficients: list[int], index: int) -> int:
    """The polynomial modulo 2^61 - 1 in whole numbers of any size, highest power first."""
    return sum(c * index**power for power, c in enumerate(reversed(coefficients))) % PRIME


def count_sketch(matrix: Array, family: HashFamily, repeat: int) -> Array:
    """(n, R) -> (R, L), by the sketch matrix."""
    sketch = np.zeros((family.hash_length, family.size))
    sketch[family.buckets[repeat], np.arange(family.size)] = family.signs[repeat]
    return (sketch @ matrix).T


def tensor_sketch(tensor: Array, hashes: tuple[HashFamily, ...], repeat: int) -> Array:
    """(L,): every entry on its own."""
    out = np.zeros(hashes[0].hash_length)
    for index in np.ndindex(*tensor.shape):
        place = sum(int(family.buckets[repeat, i]) for family, i in zip(hashes, index, strict=True))
        sign = np.prod([family.signs[repeat, i] for family, i in zip(hashes, index, strict=True)])
        out[place % out.size] += sign * tensor[index]
    return out


def distinct_sketch(tensor: Array, family: HashFamily, repeat: int) -> Array:
    """(L,): the entries i < j < k, all modes by one function."""
    kept = np.zeros_like(tensor)
    for index in itertools.combinations(range(family.size), 3):
        kept[index] = tensor[index]
    return tensor_sketch(kept, (family,) * 3, repeat)


def complex_signs(size: int, rng: np.random.Generator) -> NDArray[np.complex128]:
    """Fourth roots of unity, as Wang et al. 2015 draw them for order 3: s and s^2 have mean 0."""
    return np.asarray(1j ** rng.integers(0, 4, size))


def complex_estimate(
    tensor: Array,
    vectors: tuple[Array, Array, Array],
    buckets: NDArray[np.int64],
    signs: NDArray[np.complex128],
    length: int,
) -> float:
    """T(a, b, c) from one colliding sketch with complex signs, of the entries i <= j <= k of a symmetric tensor."""
    sketch, query = np.zeros(length, complex), np.zeros(length, complex)
    for index in itertools.combinations_with_replacement(range(tensor.shape[0]), 3):
        sketch[buckets[list(index)].sum() % length] += signs[list(index)].prod() * tensor[index]
    for index in np.ndindex(*tensor.shape):
        value = vectors[0][index[0]] * vectors[1][index[1]] * vectors[2][index[2]]
        query[buckets[list(index)].sum() % length] += signs[list(index)].prod() * value
    return float((sketch @ query.conj()).real)


def symmetrised(tensor: Array) -> Array:
    """The mean over all orders of the modes."""
    orders = list(itertools.permutations(range(tensor.ndim)))
    return np.asarray(sum(tensor.transpose(order) for order in orders) / len(orders))
