"""Sweeps of Tucker alternating least squares (HOOI) that read the tensor as seldom as possible.

A tensor of a GPU stays there, and projections of it until they are small; factors are on the host.

Letters: N order, I_n size and J_n rank of mode n.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tdtool.decompose.tucker_subspaces import improved_vectors
from tdtool.kernels.arrays import like, small_to_host
from tdtool.kernels.modes import mode_dot, multi_mode_dot, norm

Array = NDArray[Any]

#: Sweeps over the modes that are left after one projection of the tensor.
_INNER_SWEEPS = 3
#: Entries of the model that are formed at a time, where the error is taken from the difference itself.
_BLOCK_ENTRIES = 1 << 20


def refine(
    tensor: Array,
    core: Array,
    factors: list[Array],
    turns: Sequence[int],
    errors: list[float],
    length: float,
    *,
    max_iters: int,
    tol: float,
) -> tuple[Array, list[Array], list[float], str]:
    """HOOI from `factors` until the error stays: core, factors, errors (those given and one for each sweep), stopped.

    turns : the modes to project on, one in each sweep; errors : at least the relative error of the start; length : the
    norm of the tensor. The error never grows.
    """
    partials: dict[int, Array] = {}
    for sweep in range(max_iters):
        pivot = turns[sweep % len(turns)]
        partials[pivot] = mode_dot(tensor, factors[pivot].conj(), pivot, transpose=True, out=partials.get(pivot))
        others = [mode for mode in range(tensor.ndim) if mode != pivot]
        enough = 0.1 * tol * max(errors[-1], tol) * length**2
        new_core, new = settle(small_to_host(partials[pivot]), factors, others, norm(core) ** 2, enough, _INNER_SWEEPS)
        error = error_of(tensor, new_core, new, length)
        if error > errors[-1]:
            return core, factors, errors, "tol"
        core, factors = new_core, new
        errors.append(error)
        if errors[-2] - error < tol:
            return core, factors, errors, "tol"
    return core, factors, errors, "max_iters"


def settle(
    tensor: Array, factors: Sequence[Array], modes: Sequence[int], energy: float, enough: float, max_iters: int
) -> tuple[Array, list[Array]]:
    """HOOI over `modes`, on a tensor that is projected on the others already: core and all factors.

    energy : squared norm of the core that the given factors have. A sweep that adds less than `enough` to it is the
    last.
    """
    new = list(factors)
    for _ in range(max(max_iters, 1)):
        core = sweep(tensor, new, modes, enough)
        gained, energy = norm(core) ** 2 - energy, norm(core) ** 2
        if gained <= enough or len(modes) == 1:
            break
    return core, new


def sweep(tensor: Array, factors: list[Array], modes: Sequence[int], enough: float) -> Array:
    """One update of the factors of `modes`, in place, partial projections shared in a binary tree; the core."""
    if len(modes) == 0:
        return tensor
    if len(modes) == 1:
        mode = modes[0]
        factors[mode] = improved_vectors(tensor, mode, factors[mode], enough)
        return small_to_host(mode_dot(tensor, factors[mode].conj(), mode, transpose=True))
    left, right = modes[: len(modes) // 2], modes[len(modes) // 2 :]
    sweep(project_some(tensor, factors, right), factors, left, enough)
    return sweep(project_some(tensor, factors, left), factors, right, enough)


def pivots(tensor: Array, ranks: Sequence[int]) -> list[int]:
    """The two modes whose projection shrinks the tensor most for its cost; the slower one in memory first."""
    gains = [1 / size - 1 / rank for size, rank in zip(tensor.shape, ranks, strict=True)]
    best = sorted(range(tensor.ndim), key=lambda mode: gains[mode])[:2]
    return sorted(best, key=lambda mode: -abs(tensor.strides[mode]))


def project(tensor: Array, factors: Sequence[Array]) -> Array:
    """The core that belongs to orthonormal factors."""
    return project_some(tensor, factors, range(tensor.ndim))


def project_some(tensor: Array, factors: Sequence[Array], modes: Sequence[int]) -> Array:
    """The tensor times the conjugate transposes of the factors of `modes`; on the host when that is small."""
    conjugates = [factors[mode].conj() for mode in modes]
    return small_to_host(multi_mode_dot(tensor, conjugates, modes=list(modes), transpose=True))


def error_of(tensor: Array, core: Array, factors: Sequence[Array], length: float) -> float:
    """Relative error of an orthogonal projection by Pythagoras; from the difference itself where that cancels."""
    if length == 0:
        return 0.0
    squared = 1 - (norm(core) / length) ** 2
    if squared > 1e5 * np.finfo(tensor.dtype).eps:
        return math.sqrt(squared)
    total, core = 0.0, like(core, tensor)
    step = max(1, _BLOCK_ENTRIES * tensor.shape[0] // tensor.size)
    for first in range(0, tensor.shape[0], step):
        rows = slice(first, first + step)
        total += norm(tensor[rows] - multi_mode_dot(core, [factors[0][rows], *factors[1:]])) ** 2
    return math.sqrt(total) / length
