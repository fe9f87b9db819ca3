"""Whitening: the leading eigenpairs of a second moment that is only ever applied, never formed."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.linalg
from numpy.typing import NDArray

from tdtool.kernels.device_gpu import Gpu
from tdtool.kernels.sparse_gpu import product

#: Columns beyond the number of topics that the range finder carries (Halko, Martinsson, Tropp 2011).
OVERSAMPLING = 20
#: Eigenvalues below this share of the largest are noise of single precision.
_SMALLEST = 1e-6
#: Rows that a GPU turns to double precision at a time.
_ROWS_AT_ONCE = 1 << 15


@dataclasses.dataclass(frozen=True)
class Whitening:
    """whitening W : (V, k) float32, W' M2 W = I; unwhitening B : (V, k) float64, its pseudo-inverse transpose.

    spectrum : (q,) float64, eigenvalues of M2 in the range found, descending. Columns are nested: the first j columns
    whiten for j topics.
    """

    whitening: NDArray[np.float32]
    unwhitening: NDArray[np.float64]
    spectrum: NDArray[np.float64]

    def first(self, n_topics: int) -> Whitening:
        """The whitening for fewer topics."""
        return Whitening(self.whitening[:, :n_topics], self.unwhitening[:, :n_topics], self.spectrum)


def range_finder(
    apply: Callable[[Any], Any],
    n_terms: int,
    n_topics: int,
    *,
    power_rounds: int = 2,
    rng: np.random.Generator,
    gpu: Gpu | None = None,
) -> Whitening:
    """Leading eigenpairs of M2 by a randomised range finder with power rounds, as a whitening of n_topics columns.

    apply : block (V, q) float32 -> M2 block; gpu : where both lie, None for this process.
    Source: Halko, Martinsson, Tropp 2011, algorithm 4.4. Fewer columns come back when fewer eigenvalues are positive.
    """
    columns = min(n_topics + OVERSAMPLING, n_terms)
    start = rng.standard_normal((n_terms, columns), dtype=np.float32)
    basis = start if gpu is None else gpu.to_device(start)
    for _ in range(1 + power_rounds):
        basis = _orthonormal(apply(basis), gpu)
    found = basis.T @ apply(basis)
    small = (found if gpu is None else gpu.to_host(found)).astype(np.float64)
    values, vectors = scipy.linalg.eigh((small + small.T) / 2)
    values, vectors = values[::-1], vectors[:, ::-1]
    kept = min(n_topics, int(np.sum(values > max(values[0] * _SMALLEST, 0.0))))
    vectors = _turned(basis, vectors[:, :kept], gpu)
    root = np.sqrt(values[:kept])
    return Whitening(np.ascontiguousarray(vectors / root, np.float32), vectors * root, values)


def _turned(basis: Any, vectors: NDArray[np.float64], gpu: Gpu | None) -> NDArray[np.float64]:
    """basis vectors, (V, q) by (q, k), in double precision and in this process."""
    if gpu is None:
        return np.asarray(basis @ vectors)
    there, out = gpu.to_device(vectors), np.empty((basis.shape[0], vectors.shape[1]))
    for start in range(0, basis.shape[0], _ROWS_AT_ONCE):
        part = slice(start, start + _ROWS_AT_ONCE)
        out[part] = gpu.to_host(product(gpu, basis[part].astype(np.float64), there))
    return out


def _orthonormal(block: Any, gpu: Gpu | None) -> Any:
    """Orthonormal columns with the same span; (V, q), where `block` is."""
    if gpu is not None:
        return gpu.xp.ascontiguousarray(gpu.xp.linalg.qr(block)[0])
    return np.ascontiguousarray(scipy.linalg.qr(block, mode="economic", overwrite_a=True, check_finite=False)[0])
