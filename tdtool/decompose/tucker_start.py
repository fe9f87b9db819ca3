"""Starts for Tucker iterations: ST-HOSVD, by random directions first where the modes are much larger than the ranks.

Letters: N order, I_n size and J_n rank of mode n, S_n a little more than J_n.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tdtool.decompose.tucker_subspaces import leading_vectors, orthonormal
from tdtool.decompose.tucker_sweeps import pivots, project_some, settle
from tdtool.kernels.arrays import like, small_to_host, to_host
from tdtool.kernels.device_gpu import owner
from tdtool.kernels.modes import mode_dot, norm, unfold
from tdtool.kernels.threads import READING, blocks, run_parallel

Array = NDArray[Any]

#: Directions beyond the rank that a random start carries along.
_OVERSAMPLING = 5
#: It pays from this ratio of size to directions ...
_WORTH_RATIO = 4
#: ... and from this many entries.
_WORTH_ENTRIES = 1 << 19
#: Sweeps inside the small tensor of a random start; one that gains less than this share of its energy is the last.
_INNER_SWEEPS, _INNER_END = 10, 1e-6


def start(tensor: Array, ranks: Sequence[int], rng: np.random.Generator) -> tuple[Array, list[Array], list[int]]:
    """Core (J_0, ..., J_{N-1}) and orthonormal factors (I_n, J_n) that HOOI can go on from, and where it should begin.

    The last are the modes to project on in turn, so that the factor that was found first is improved first.
    """
    wide = widened(tensor.shape, ranks, _OVERSAMPLING)
    large = tensor.ndim > 2 and tensor.size >= _WORTH_ENTRIES
    if not large or min(size / s for size, s in zip(tensor.shape, wide, strict=True)) < _WORTH_RATIO:
        first = _cheapest_order(tensor.shape, ranks)[0]
        return *truncate(tensor, ranks), sorted(pivots(tensor, ranks), key=lambda mode: mode == first)
    small, outer = sketched_subspaces(tensor, wide, rng)
    core, inner = truncate(small, ranks)
    core, inner = settle(small, inner, range(small.ndim), 0.0, _INNER_END * norm(small) ** 2, _INNER_SWEEPS)
    factors = [wide_n @ inner_n for wide_n, inner_n in zip(outer, inner, strict=True)]
    return core, factors, pivots(tensor, wide)


def truncate(tensor: Array, ranks: Sequence[int]) -> tuple[Array, list[Array]]:
    """ST-HOSVD: core and factors, the modes taken in the order that costs least."""
    core, factors = tensor, [np.zeros((0, 0))] * tensor.ndim
    for mode in _cheapest_order(tensor.shape, ranks):
        factors[mode] = leading_vectors(core, mode, ranks[mode])
        core = small_to_host(mode_dot(core, factors[mode].conj(), mode, transpose=True))
    return core, factors


def sketched_subspaces(tensor: Array, wide: Sequence[int], rng: np.random.Generator) -> tuple[Array, list[Array]]:
    """The tensor inside (I_n, S_n) orthonormal subspaces that hold nearly all its structure, and those subspaces.

    First the images of random directions, then one power step: with one pass alone noise comes through. The tensor is
    read twice. Source: Halko, Martinsson, Tropp 2011, "Finding structure with randomness", section 4.5, mode by mode.
    """
    first, second = pivots(tensor, wide)
    others = [mode for mode in range(tensor.ndim) if mode not in (first, second)]
    vectors = [
        rng.standard_normal((size, s)).astype(tensor.dtype, copy=False)
        for size, s in zip(tensor.shape, wide, strict=True)
    ]
    partial = _sketch(tensor, first, wide[first], rng)
    for mode in (*others, second):
        rest = [m for m in (*others, second) if m != mode]
        vectors[mode] = _image_basis(project_some(partial, vectors, rest), mode, vectors[mode])
    partial = mode_dot(tensor, vectors[second].conj(), second, transpose=True)
    for mode in (first, *others):
        rest = [m for m in (first, *others) if m != mode]
        vectors[mode] = _image_basis(project_some(partial, vectors, rest), mode, vectors[mode])
    return project_some(partial, vectors, (first, *others)), vectors


def _sketch(tensor: Array, mode: int, length: int, rng: np.random.Generator) -> Array:
    """The tensor with its slices on `mode` added up into `length` sums of random signs; I_mode becomes `length`.

    A product with a random matrix of one entry a row: it costs one read of the tensor where the mode is the slowest.
    """
    slices = np.moveaxis(tensor, mode, 0)
    buckets = rng.permutation(len(slices)) % length
    signs = rng.integers(0, 2, len(slices))
    if owner(tensor) is not None:  # reads the tensor once as well, whichever mode it is
        matrix = np.zeros((length, len(slices)), tensor.dtype)
        matrix[buckets, np.arange(len(slices))] = 2 * signs - 1
        return mode_dot(tensor, matrix, mode)
    sums = np.zeros((length, *slices.shape[1:]), tensor.dtype)

    def add(share: slice) -> None:
        for bucket in range(share.start, share.stop):
            for place in np.flatnonzero(buckets == bucket):
                (np.add if signs[place] else np.subtract)(sums[bucket], slices[place], out=sums[bucket])

    run_parallel([functools.partial(add, share) for share in blocks(length, float(tensor.size) * READING)])
    return np.moveaxis(sums, 0, mode)


def _image_basis(image: Array, mode: int, guess: Array) -> Array:
    """(I_mode, S) orthonormal columns: two steps of orthogonal iteration on an unfolding; `guess` (I_mode, S)."""
    matrix = unfold(image, mode)
    if matrix.shape[1] < guess.shape[1]:
        return leading_vectors(image, mode, guess.shape[1])
    basis = like(guess, matrix)
    for _ in range(2):
        basis = orthonormal(matrix @ (matrix.conj().T @ basis))
    return to_host(basis)


def widened(shape: Sequence[int], ranks: Sequence[int], extra: int) -> list[int]:
    """Ranks `extra` larger where sizes allow it and no rank passes the product of the others."""
    wide = [min(size, rank + extra) for size, rank in zip(shape, ranks, strict=True)]
    for mode, rank in enumerate(wide):
        wide[mode] = min(rank, math.prod(wide) // rank) if len(wide) > 1 else 1
    return wide


def _cheapest_order(shape: Sequence[int], ranks: Sequence[int]) -> tuple[int, ...]:
    """The order of modes for which the Grams and projections of ST-HOSVD cost least."""

    def cost(order: tuple[int, ...]) -> float:
        sizes, total = list(shape), 0.0
        for mode in order:
            total += float(math.prod(sizes)) * (sizes[mode] + ranks[mode]) + 10.0 * sizes[mode] ** 3
            sizes[mode] = ranks[mode]
        return total

    modes = range(len(shape))
    if len(shape) > 6:
        return tuple(sorted(modes, key=lambda mode: (shape[mode], ranks[mode] / shape[mode])))
    return min(itertools.permutations(modes), key=cost)
