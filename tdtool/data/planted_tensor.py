"""Tensors whose components are known because we drew them: for tests, for benchmarks and for `sample_data/`."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

_LARGEST_ORDER = 8


@dataclasses.dataclass(frozen=True)
class PlantedTensor:
    """tensor : sum over r of weights[r] times the outer product of column r of each factor, plus noise, float64.

    weights : (R,) descending, above 0; factors : for each mode (I_n, R), unit columns; noise : norm of the noise over
    that of the rest, as it came out.
    """

    tensor: NDArray[np.float64]
    weights: NDArray[np.float64]
    factors: tuple[NDArray[np.float64], ...]
    noise: float


def planted_tensor(
    shape: Sequence[int], rank: int, noise: float, rng: np.random.Generator, *, nonnegative: bool = False
) -> PlantedTensor:
    """Draw a CP model of a given shape and add Gaussian noise.

    shape : N sizes; noise : norm of the noise over that of the model; nonnegative : factors from 0 on, a third of them
    0 (the noise may still go below). Weights go evenly from 2 down to 1. ValueError: order outside 2 ... 8, or a size,
    rank or noise that cannot be.
    """
    _check(shape, rank, noise)
    factors = tuple(_unit(_entries(size, rank, rng, nonnegative)) for size in shape)
    weights = np.linspace(2.0, 1.0, rank)
    tensor = _model(weights, factors)
    norm = float(np.linalg.norm(tensor))
    if not noise:
        return PlantedTensor(tensor, weights, factors, 0.0)
    error = rng.standard_normal(tensor.shape)
    error *= noise * norm / float(np.linalg.norm(error))
    tensor += error
    return PlantedTensor(tensor, weights, factors, noise)


def planted_symmetric(n: int, rank: int, noise: float, rng: np.random.Generator) -> PlantedTensor:
    """Draw a symmetric tensor of order 3: sum of weights[r] v_r o v_r o v_r with random (not orthogonal) unit v_r.

    The noise is symmetric too, normal and independent for i <= j <= k. Takes memory for the tensor (8 n^3 bytes) and
    little more. factors : three times the same (n, R). ValueError as in planted_tensor.
    """
    _check((n, n, n), rank, noise)
    vectors = _unit(rng.standard_normal((n, rank)))
    weights = np.linspace(2.0, 1.0, rank)
    factors = (vectors, vectors, vectors)
    tensor = _model(weights, factors)
    norm = math.sqrt(float(weights @ (vectors.T @ vectors) ** 3 @ weights))
    squares = _add_symmetric_noise(tensor, noise * norm / n**1.5, rng) if noise else 0.0
    return PlantedTensor(tensor, weights, factors, math.sqrt(squares) / norm)


def _check(shape: Sequence[int], rank: int, noise: float) -> None:
    if not 2 <= len(shape) <= _LARGEST_ORDER or min(shape) < 1:
        raise ValueError(f"the shape is {tuple(shape)}; 2 to {_LARGEST_ORDER} sizes from 1 on are needed")
    if rank < 1 or not 0 <= noise < math.inf:
        raise ValueError(f"rank is {rank} and noise {noise}; they must be at least 1 and 0")


def _entries(size: int, rank: int, rng: np.random.Generator, nonnegative: bool) -> NDArray[np.float64]:
    if not nonnegative:
        return rng.standard_normal((size, rank))
    values = rng.random((size, rank))
    values[rng.random((size, rank)) < 1 / 3] = 0.0
    values[rng.integers(size, size=rank), np.arange(rank)] += 0.5  # no column of zeros
    return values


def _unit(factor: NDArray[np.float64]) -> NDArray[np.float64]:
    return factor / np.linalg.norm(factor, axis=0)


def _model(weights: NDArray[np.float64], factors: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
    """The tensor of a CP model, made from the last mode backwards so that one product makes it."""
    rest = factors[-1]
    for factor in reversed(factors[1:-1]):
        rest = (factor[:, None, :] * rest[None, :, :]).reshape(-1, len(weights))
    return ((factors[0] * weights) @ rest.T).reshape([len(factor) for factor in factors])


def _add_symmetric_noise(tensor: NDArray[np.float64], sigma: float, rng: np.random.Generator) -> float:
    """Add noise that any order of the indices leaves as it is; returns the sum of its squares over all entries."""
    n, squares = len(tensor), 0.0
    for i in range(n):
        slab = rng.standard_normal((n - i, n - i)) * sigma  # entries (i, j, k) with i <= j <= k
        slab = np.triu(slab) + np.triu(slab, 1).T
        tensor[i, i:, i:] += slab
        tensor[i + 1 :, i, i:] += slab[1:]
        tensor[i + 1 :, i + 1 :, i] += slab[1:, 1:]
        squares += float((slab**2).sum() + (slab[1:] ** 2).sum() + (slab[1:, 1:] ** 2).sum())
    return squares
