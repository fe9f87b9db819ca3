"""CP where values are missing: least squares over what was observed, exact for each row of a factor.

Letters: N order, I_n size of mode n, R rank, P = R (R + 1) / 2 pairs of components.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tdtool.decompose.cp_sweeps import BLOCK_ENTRIES
from tdtool.decompose.cp_updates import grams_of, hadamard
from tdtool.kernels.khatri_rao import khatri_rao
from tdtool.kernels.mttkrp import mttkrp, mttkrp_sweep
from tdtool.kernels.sparse_tensor import SparseTensor
from tdtool.kernels.threads import blocks, run_parallel

Array = NDArray[Any]
Floats = NDArray[np.float64]

#: Each row's equations are damped towards the row before by this share: monotone, and never singular.
_DAMPING = 1e-11
#: Passes over the components of a row that must not be negative.
_INNER_SWEEPS = 8
#: Rows that are worth a thread, and operations of their equations beyond the elimination, for each entry.
_ROWS, _SOLVING = 16, 40
#: The pattern is kept as a sparse tensor where less than this share of it is missing, or is there ...
_SPARSE_SHARE = 0.1
#: ... and the order allows it.
_MOST_SPARSE_MODES = 8


class MissingProblem:
    """The observed values of a dense tensor. tensor : zeros where mask (bool, True = missing) is set."""

    def __init__(self, tensor: Array, mask: NDArray[np.bool_], length: float, nonnegative: bool) -> None:
        self._tensor, self._mask, self._squared = tensor, mask, length**2
        self._solve = _solve_nonnegative if nonnegative else _solve
        share = np.count_nonzero(mask) / mask.size
        self._few_missing = share < _SPARSE_SHARE
        self._pattern: Array | SparseTensor = (~mask).astype(tensor.dtype)
        if tensor.ndim <= _MOST_SPARSE_MODES and min(share, 1 - share) < _SPARSE_SHARE:
            places = np.nonzero(mask if self._few_missing else ~mask)
            self._pattern = SparseTensor.from_coo(places, np.ones(places[0].size), tensor.shape)

    def sweep(self, factors: list[Array]) -> float:
        """One round over all modes: each row of a factor solves its own R equations.

        Source: Tomasi and Bro 2005, "PARAFAC and missing values", the weighted form.
        """
        pairs = [_pairs(factor) for factor in factors]
        grams = grams_of(factors)
        inner = squared_model = 0.0

        def update(mode: int, product: Array) -> Array:
            nonlocal inner, squared_model
            old = factors[mode]
            matrices = self._row_matrices(pairs, grams, mode)
            new = self._solved(product.astype(np.float64, copy=False), matrices, old.astype(np.float64, copy=False))
            inner = float(np.einsum("ir,ir->", product, new))
            squared_model = float(np.einsum("ir,irs,is->", new, matrices, new, optimize=True))
            new = new.astype(old.dtype, copy=False)
            pairs[mode], grams[mode] = _pairs(new), grams_of([new])[0]
            return new

        mttkrp_sweep(self._tensor, factors, update)
        squared = self._squared - 2 * inner + squared_model
        if squared < 1e5 * np.finfo(self._tensor.dtype).eps * self._squared:
            squared = self._residual(factors)
        return max(squared, 0.0) / self._squared

    def _solved(self, product: Floats, matrices: Floats, old: Floats) -> Floats:
        """The new rows (I, R), blocks of them by several threads."""
        new = np.empty_like(old)

        def solve(rows: slice) -> None:
            new[rows] = self._solve(product[rows], matrices[rows], old[rows])

        shares = blocks(len(old), float(matrices.size) * (old.shape[1] + _SOLVING), least=_ROWS)
        run_parallel([functools.partial(solve, rows) for rows in shares])
        return new

    def _row_matrices(self, pairs: Sequence[Array], grams: Sequence[Floats], mode: int) -> Floats:
        """(I, R, R): for each row the Gram of those Khatri-Rao rows whose values were observed.

        All at once: an MTTKRP of the pattern with the products of pairs of columns. Where few values are missing, the
        Gram of all rows less that of the missing ones; the pattern is sparse then.
        """
        matrices = _square(mttkrp(self._pattern, pairs, mode), grams[0].shape[0])
        if self._few_missing and isinstance(self._pattern, SparseTensor):
            return hadamard(grams, mode) - matrices
        return matrices

    def _residual(self, factors: Sequence[Array]) -> float:
        rest = khatri_rao(list(factors[1:])).T if len(factors) > 1 else np.ones((factors[0].shape[1], 1))
        size = self._tensor.shape[0]
        step = max(1, BLOCK_ENTRIES * size // self._tensor.size)
        total = 0.0
        for start in range(0, size, step):
            rows = slice(start, start + step)
            difference = self._tensor[rows].reshape(-1, rest.shape[1]) - factors[0][rows] @ rest
            difference[self._mask[rows].reshape(difference.shape)] = 0
            total += float(np.vdot(difference, difference))
        return total


def filled(tensor: Array, mask: NDArray[np.bool_]) -> Array:
    """A copy with zeros where values are missing. ValueError: another shape, or a slice of which nothing is known."""
    mask = np.asarray(mask)
    if mask.shape != tensor.shape or mask.dtype != np.bool_:
        raise ValueError(f"the mask is {mask.dtype} of shape {mask.shape}; it must be bool of shape {tensor.shape}")
    for mode in range(tensor.ndim):
        known = (~mask).any(axis=tuple(m for m in range(tensor.ndim) if m != mode))
        if not known.all():
            index = int(np.flatnonzero(~known)[0])
            raise ValueError(f"all values of index {index} of mode {mode} are missing; leave that slice out")
    return np.where(mask, tensor.dtype.type(0), tensor)


def observed_start(tensor: Array, mask: NDArray[np.bool_]) -> Array:
    """The tensor with its gaps filled by the product of the modes' mean profiles, for starts."""
    observed = ~mask
    mean = float(tensor.sum(dtype=np.float64)) / max(int(observed.sum()), 1)
    if mean == 0:
        return tensor
    guess = np.full([1] * tensor.ndim, mean)
    for mode in range(tensor.ndim):
        others = tuple(m for m in range(tensor.ndim) if m != mode)
        profile = tensor.sum(axis=others, keepdims=True) / observed.sum(axis=others, keepdims=True) / mean
        guess = guess * np.clip(profile, 0.0, 10.0)
    return np.where(mask, guess, tensor).astype(tensor.dtype, copy=False)


def _pairs(factor: Array) -> Array:
    """(I, R) -> (I, P): the products of columns p <= q."""
    left, right = np.triu_indices(factor.shape[1])
    return factor[:, left] * factor[:, right]


def _square(packed: Array, rank: int) -> Floats:
    """(I, P) -> (I, R, R) symmetric."""
    left, right = np.triu_indices(rank)
    matrices = np.empty((packed.shape[0], rank, rank))
    matrices[:, left, right] = packed
    matrices[:, right, left] = packed
    return matrices


def _solve(product: Floats, matrices: Floats, old: Floats) -> Floats:
    """Rows (I, R) with matrices[i] row_i = product[i], damped towards the old rows."""
    scale = np.sqrt(np.einsum("irr->ir", matrices))
    scale = np.where(scale > 0, scale, 1.0)
    scaled = matrices / (scale[:, :, None] * scale[:, None, :])
    np.einsum("irr->ir", scaled)[...] += _DAMPING
    right = product / scale + _DAMPING * old * scale
    return np.asarray(np.linalg.solve(scaled, right[:, :, None])[:, :, 0] / scale)


def _solve_nonnegative(product: Floats, matrices: Floats, old: Floats) -> Floats:
    """Rows (I, R) >= 0 of a smaller error than the old ones: their components in turn, each the best one >= 0."""
    new = old.copy()
    diagonal = np.einsum("irr->ir", matrices)
    safe = np.where(diagonal > 0, diagonal, 1.0)
    for _ in range(_INNER_SWEEPS):
        for r in range(new.shape[1]):
            slope = product[:, r] - np.einsum("is,is->i", new, matrices[:, r])
            new[:, r] = np.maximum(new[:, r] + np.where(diagonal[:, r] > 0, slope, 0.0) / safe[:, r], 0.0)
    return new
