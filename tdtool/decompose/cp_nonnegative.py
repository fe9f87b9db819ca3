"""Non-negative CP: hierarchical alternating least squares (HALS), its starts, and components brought back to life.

Letters: N order, I_n size of mode n, R rank.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tdtool.decompose.cp_start import random_start, starts_of
from tdtool.decompose.cp_sweeps import FullProblem, run
from tdtool.kernels.modes import norm
from tdtool.kernels.sparse_tensor import SparseTensor

Array = NDArray[Any]
Floats = NDArray[np.float64]

#: HALS passes over the columns of one factor for each product, and the share of the first one's turn that ends them.
_INNER_SWEEPS, _INNER_END = 20, 0.05
#: Sweeps without signs that a start is made from.
_FREE_SWEEPS = 30


class NonnegativeProblem(FullProblem):
    """A tensor without gaps, dense or sparse, and factors >= 0. rng : for components that died."""

    def __init__(self, tensor: Array | SparseTensor, length: float, rng: np.random.Generator) -> None:
        super().__init__(tensor, length, update=hals)
        self._rng = rng

    def sweep(self, factors: list[Array]) -> float:
        """One round of HALS over all modes."""
        revive(factors, self._rng)
        return super().sweep(factors)


def hals(product: Array, gram: Floats, old: Array) -> Floats:
    """A factor (I, R) >= 0 with a smaller error than `old`: its columns in turn, each the best one >= 0, until settled.

    Source: Cichocki and Phan 2009, "Fast local algorithms for large scale nonnegative matrix and tensor
    factorizations", algorithm 2; several passes for one product: Gillis and Glineur 2012, "Accelerated HALS".
    """
    new = np.array(old, np.float64, order="F")
    diagonal = np.diag(gram)
    live = np.flatnonzero(diagonal > 0)
    first = 0.0
    for inner in range(_INNER_SWEEPS):
        turn = 0.0
        for r in live:
            column = np.maximum(new[:, r] + (product[:, r] - new @ gram[:, r]) / diagonal[r], 0.0)
            turn += float(np.sum((column - new[:, r]) ** 2)) * diagonal[r]
            new[:, r] = column
        first = max(first, turn) if inner == 0 else first
        if turn <= _INNER_END**2 * first:
            break
    return new


def revive(factors: list[Array], rng: np.random.Generator) -> None:
    """Give components with a column of zeros new random columns in the other modes, in place; the model stays the same.

    The next update of the mode that is zero then decides how much of the new component the tensor holds.
    """
    alive = np.array([factor.any(axis=0) for factor in factors])
    for r in np.flatnonzero(~alive.all(axis=0)):
        zero = int(np.flatnonzero(~alive[:, r])[0])
        for mode, factor in enumerate(factors):
            factor[:, r] = 0 if mode == zero else rng.random(factor.shape[0])


def nonnegative_starts(
    tensor: Array | SparseTensor, rank: int, n_starts: int, rng: np.random.Generator
) -> Iterator[list[Floats]]:
    """`n_starts` different starts >= 0, the most promising first. Yields N arrays (I_n, R).

    The first is made from components of any sign, whose parts of the larger length are kept in each mode.
    Source: Boutsidis and Gallopoulos 2008, "SVD based initialization", for the parts.
    """
    for start in itertools.islice(starts_of(tensor, rank, n_starts, rng), min(n_starts, 2)):
        free = run(FullProblem(tensor, norm(tensor)), start, max_iters=_FREE_SWEEPS, tol=1e-6)
        yield [_larger_part(factor, rng) for factor in free.factors]
    for _ in range(n_starts - 2):
        yield [np.abs(factor) for factor in random_start(tensor.shape, rank, rng)]


def _larger_part(factor: Floats, rng: np.random.Generator) -> Floats:
    """Each column's positive or negative part, whichever is longer, and a little everywhere else."""
    positive, negative = np.maximum(factor, 0.0), np.maximum(-factor, 0.0)
    longer = np.linalg.norm(positive, axis=0) >= np.linalg.norm(negative, axis=0)
    part = np.where(longer, positive, negative)
    floor = 1e-3 * part.max(axis=0, initial=0.0)
    return np.maximum(part, floor * rng.random(part.shape))
