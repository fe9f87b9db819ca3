"""Whitening: the leading eigenpairs of a second moment that is only ever applied, never formed."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import scipy.linalg
from numpy.typing import NDArray

#: Columns beyond the number of topics that the range finder carries (Halko, Martinsson, Tropp 2011).
OVERSAMPLING = 20
#: Eigenvalues below this share of the largest are noise of single precision.
_SMALLEST = 1e-6


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
    apply: Callable[[NDArray[np.float32]], NDArray[np.float32]],
    n_terms: int,
    n_topics: int,
    *,
    power_rounds: int = 2,
    rng: np.random.Generator,
) -> Whitening:
    """Leading eigenpairs of M2 by a randomised range finder with power rounds, as a whitening of n_topics columns.

    Source: Halko, Martinsson, Tropp 2011, algorithm 4.4. Fewer columns come back when fewer eigenvalues are positive.
    """
    columns = min(n_topics + OVERSAMPLING, n_terms)
    basis = rng.standard_normal((n_terms, columns), dtype=np.float32)
    for _ in range(1 + power_rounds):
        basis = _orthonormal(apply(basis))
    small = (basis.T @ apply(basis)).astype(np.float64)
    values, vectors = scipy.linalg.eigh((small + small.T) / 2)
    values, vectors = values[::-1], vectors[:, ::-1]
    kept = min(n_topics, int(np.sum(values > max(values[0] * _SMALLEST, 0.0))))
    vectors = basis @ vectors[:, :kept]
    root = np.sqrt(values[:kept])
    return Whitening(np.ascontiguousarray(vectors / root, np.float32), vectors * root, values)


def _orthonormal(block: NDArray[np.float32]) -> NDArray[np.float32]:
    """Orthonormal columns with the same span; (V, q)."""
    return np.ascontiguousarray(scipy.linalg.qr(block, mode="economic", overwrite_a=True, check_finite=False)[0])
