"""Where CP iterations start: an algebraic solution, singular vectors, or random factors.

Letters: N order, I_n size of mode n, R rank.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import scipy.linalg
import scipy.sparse as sp
from numpy.typing import NDArray
from scipy.sparse.linalg import ArpackNoConvergence, LinearOperator, eigsh

from tdtool.decompose.tucker_subspaces import eigen, leading_vectors
from tdtool.kernels.arrays import as_owned, small_to_host, to_host
from tdtool.kernels.device_gpu import owner
from tdtool.kernels.modes import multi_mode_dot
from tdtool.kernels.sparse_tensor import SparseTensor

Array = NDArray[Any]
Floats = NDArray[np.float64]

#: Sparse unfoldings of no more rows have a dense Gram matrix.
_SMALL_GRAM = 256
#: Larger ones get as many restarts of Lanczos, to this relative accuracy.
_MOST_RESTARTS, _START_TOL = 50, 1e-6


def starts_of(
    tensor: Array | SparseTensor, rank: int, n_starts: int, rng: np.random.Generator
) -> Iterator[list[Floats]]:
    """`n_starts` different starts for a tensor of either kind, the most promising first. Yields N arrays (I_n, R)."""
    if isinstance(tensor, SparseTensor):
        return sparse_starts(tensor, rank, n_starts, rng)
    return dense_starts(tensor, rank, n_starts, rng)


def dense_starts(tensor: Array, rank: int, n_starts: int, rng: np.random.Generator) -> Iterator[list[Floats]]:
    """`n_starts` different starts for a dense tensor, the most promising first. Yields N arrays (I_n, R)."""
    kinds = [_algebraic_start, _singular_start]
    made = 0
    for kind in kinds:
        start = kind(tensor, rank, rng) if made < n_starts else None
        if start is not None:
            made += 1
            yield start
    for _ in range(n_starts - made):
        yield random_start(tensor.shape, rank, rng)


def sparse_starts(tensor: SparseTensor, rank: int, n_starts: int, rng: np.random.Generator) -> Iterator[list[Floats]]:
    """`n_starts` different starts for a sparse tensor: singular vectors of its unfoldings first. Yields N (I_n, R).

    Where no value is negative, as in counts, the random ones have no signs: components that cancel each other are local
    minima there.
    """
    draw = positive_start if tensor.values.min(initial=0.0) >= 0 else random_start
    for number in range(n_starts):
        start = draw(tensor.shape, rank, rng)
        yield start if number else _sparse_singular_start(tensor, start)


def random_start(shape: tuple[int, ...], rank: int, rng: np.random.Generator) -> list[Floats]:
    """Standard normal factors."""
    return [rng.standard_normal((size, rank)) for size in shape]


def positive_start(shape: tuple[int, ...], rank: int, rng: np.random.Generator) -> list[Floats]:
    """Factors uniform between 0 and 1."""
    return [rng.random((size, rank)) for size in shape]


def _singular_start(tensor: Array, rank: int, rng: np.random.Generator) -> list[Floats] | None:
    """Leading singular vectors of each unfolding; random columns where a mode has too few."""
    start = random_start(tensor.shape, rank, rng)
    for mode, factor in enumerate(start):
        n_vectors = min(rank, tensor.shape[mode], tensor.size // tensor.shape[mode])
        factor[:, :n_vectors] = leading_vectors(tensor, mode, n_vectors)
    return start


def _algebraic_start(tensor: Array, rank: int, rng: np.random.Generator) -> list[Floats] | None:
    """Exact for a tensor of this rank without noise whose first factors have full column rank; else None.

    Two combinations of slices S1 = A D1 B', S2 = A D2 B' share A: the eigenvectors of S1 S2^-1, on the leading R
    directions of both modes. The other factors follow from the pseudo-inverse of A.
    Source: Sanchez and Kowalski 1990, "Tensorial resolution: a direct trilinear decomposition".
    """
    modes = sorted(range(tensor.ndim), key=lambda mode: -tensor.shape[mode])
    if tensor.ndim < 3 or min(tensor.shape[modes[1]], tensor.size // tensor.shape[modes[0]]) < rank:
        return None
    turned = np.transpose(tensor, modes)
    if owner(tensor) is None:
        turned = turned.astype(np.float64)
    slices = turned.reshape(*(tensor.shape[m] for m in modes[:2]), -1)
    left, right = leading_vectors(slices, 0, rank), leading_vectors(slices, 1, rank)
    pair = leading_vectors(slices, 2, min(2, slices.shape[2]))
    if pair.shape[1] < 2:
        return None
    if owner(slices) is None:
        small = np.einsum("abc,ai,bj,ck->kij", slices, left, right, pair, optimize=True)
    else:
        small = np.moveaxis(to_host(multi_mode_dot(slices, [left, right, pair], transpose=True)), 2, 0).astype(
            np.float64
        )
    values, vectors = scipy.linalg.eig(small[1], small[0], check_finite=False)
    if not (np.isfinite(values).all() and np.isfinite(vectors).all()):
        return None
    vectors = np.where(values.imag >= 0, vectors.real, vectors.imag)
    # Generalised eigenvectors x of (S2, S1) solve D2 B' x = d D1 B' x: they are dual to B, so S1 X is A, scaled.
    first = left @ (small[0] @ vectors)
    inverse = as_owned(np.linalg.pinv(first), tensor.dtype if owner(tensor) else np.float64, tensor)
    others = inverse @ np.moveaxis(tensor, modes[0], 0).reshape(tensor.shape[modes[0]], -1)
    return _rank_one_factors(first, others, modes[0], tensor.shape)


def _rank_one_factors(first: Floats, others: Floats, mode: int, shape: tuple[int, ...]) -> list[Floats]:
    """Factors whose columns are the best rank-one terms, mode by mode, of the R rows of `others`."""
    rest = [size for m, size in enumerate(shape) if m != mode]
    columns: list[list[Floats]] = [[] for _ in rest]
    for row in others:
        term = small_to_host(row.reshape(rest))
        for m in range(len(rest)):
            columns[m].append(leading_vectors(term, m, 1)[:, 0] if bool(term.any()) else np.ones(rest[m]))
    factors = [np.stack(found, axis=1) for found in columns]
    factors.insert(mode, first)
    return factors


def _sparse_singular_start(tensor: SparseTensor, start: list[Floats]) -> list[Floats]:
    """Leading singular vectors of each sparse unfolding in place of the first random columns.

    By eigenvectors of the rows' Gram, so that nothing as long as the many columns is kept more than once.
    """
    for mode, factor in enumerate(start):
        matrix = _sparse_unfolding(tensor, mode)
        n_vectors = min(factor.shape[1], min(matrix.shape) - 1)
        if n_vectors > 0:
            vectors = _row_vectors(matrix, n_vectors, factor[:, -1].copy())
            factor[:, : vectors.shape[1]] = vectors
    return start


def _row_vectors(matrix: sp.csr_array, n_vectors: int, guess: Floats) -> Floats:
    """(I, n_vectors) leading left singular vectors of a sparse matrix (I, C), the first one first; guess : (I,).

    Fewer where some do not settle soon: many are equally long then, and a start needs none of them in particular.
    """
    size = matrix.shape[0]
    if size <= _SMALL_GRAM:
        return np.asarray(eigen((matrix @ matrix.T).toarray(), n_vectors)[1], np.float64)
    gram = LinearOperator((size, size), matvec=lambda vector: matrix @ (matrix.T @ vector), dtype=np.float64)
    vectors: Array
    rng = np.random.default_rng(0)  # Lanczos draws a new vector where the guess is exhausted
    try:
        vectors = eigsh(gram, n_vectors, v0=guess, maxiter=_MOST_RESTARTS, tol=_START_TOL, rng=rng)[1]
    except ArpackNoConvergence as error:
        vectors = error.eigenvectors
    return np.asarray(vectors[:, ::-1], np.float64)


def _sparse_unfolding(tensor: SparseTensor, mode: int) -> sp.csr_array:
    """The mode-n matrix without its empty columns, (I_mode, up to nnz)."""
    columns = np.zeros(tensor.nnz, np.int64)
    for other, place in enumerate(tensor.coordinates):
        if other != mode:
            columns = np.unique(columns * tensor.shape[other] + place, return_inverse=True)[1].astype(np.int64)
    width = int(columns.max(initial=0)) + 1
    return sp.csr_array((tensor.values, (tensor.coordinates[mode], columns)), shape=(tensor.shape[mode], width))
