"""Slow twins of the symmetric and the diagnostic part of CP, from their definitions: loops, einsum, subsets."""

from __future__ import annotations

import itertools
import string
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def sum_of_powers(weights: Array, vectors: Array, order: int) -> Array:
    """sum_r weights[r] u_r (x) ... (x) u_r, one component at a time."""
    total = np.zeros((vectors.shape[0],) * order)
    for weight, vector in zip(weights, vectors.T, strict=True):
        power = np.array(weight)
        for _ in range(order):
            power = np.multiply.outer(power, vector)
        total += power
    return total


def symmetrised(tensor: Array) -> Array:
    """The sum of a tensor over all orders of its modes."""
    return np.sum([tensor.transpose(order) for order in itertools.permutations(range(tensor.ndim))], axis=0)


def largest_asymmetry(tensor: Array) -> float:
    """The largest change of an entry under any order of the modes."""
    return max(float(np.abs(tensor - tensor.transpose(o)).max()) for o in itertools.permutations(range(tensor.ndim)))


def k_rank(factor: Array) -> int:
    """The largest k such that every k columns have rank k, by trying all of them."""
    n_columns = factor.shape[1]
    k = 0
    for size in range(1, n_columns + 1):
        subsets = itertools.combinations(range(n_columns), size)
        if any(np.linalg.matrix_rank(factor[:, list(subset)], tol=1e-9) < size for subset in subsets):
            break
        k = size
    return k


def core_consistency(tensor: Array, factors: Sequence[Array]) -> float:
    """100 (1 - |G - S|^2 / R): G solves the least squares problem with the Kronecker product of the factors."""
    rank = factors[0].shape[1]
    product = np.ones((1, 1))
    for factor in factors:
        product = np.kron(product, factor)
    core = np.linalg.lstsq(product, tensor.ravel(), rcond=None)[0].reshape((rank,) * tensor.ndim)
    ideal = np.zeros_like(core)
    for r in range(rank):
        ideal[(r,) * tensor.ndim] = 1.0
    return float(100 * (1 - np.sum((core - ideal) ** 2) / rank))


def cp_tensor(weights: Array, factors: Sequence[Array]) -> Array:
    """The tensor of a CP model, by einsum."""
    letters = string.ascii_lowercase[: len(factors)]
    return np.asarray(np.einsum("R," + ",".join(f"{x}R" for x in letters) + "->" + letters, weights, *factors))
