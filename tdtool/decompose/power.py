"""Orthogonal symmetric tensor power iteration, all directions at once: topics and communities both end here."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import scipy.linalg
from numpy.typing import NDArray

Matrix = NDArray[np.float64]


@dataclasses.dataclass(frozen=True)
class PowerFit:
    """vectors U : (k, k) orthonormal columns; weights : (k,) T(u_j, u_j, u_j) >= 0, descending.

    changes : mean turn of the directions (1 - |cosine|) in each sweep; stopped : "tol" | "max_iters".
    """

    vectors: Matrix
    weights: Matrix
    changes: tuple[float, ...]
    stopped: str


def polar(matrix: Matrix) -> Matrix:
    """The orthonormal factor of (k, k) `matrix`: the nearest matrix with orthonormal columns."""
    left, _, right = scipy.linalg.svd(matrix, full_matrices=False, check_finite=False)
    return left @ right


def orthogonal_power(
    apply: Callable[[Matrix], Matrix],
    start: Matrix,
    *,
    max_iters: int = 100,
    tol: float = 1e-3,
    orthonormal: Callable[[Matrix], Matrix] = polar,
) -> PowerFit:
    """Maximise sum_j T(u_j, u_j, u_j) over orthonormal U by U <- polar(G), G_j = T(I, u_j, u_j).

    apply : (k, k) -> (k, k), all G_j at once; start : (k, k) orthonormal columns. tol : stop when the
    directions turned by less than this on average (1 - |cosine|) in a sweep; orthonormal : how polar(G) is found.

    Source: Chen and Saad 2009, "On the tensor SVD and the optimal low rank orthogonal approximation of tensors", LROAT.
    """
    vectors, changes, stopped = start, [], "max_iters"
    for _ in range(max_iters):
        image = orthonormal(apply(vectors))
        changes.append(float(np.sum(1 - np.abs(np.sum(image * vectors, axis=0))) / max(vectors.shape[1], 1)))
        vectors = image
        if changes[-1] < tol:
            stopped = "tol"
            break
    weights = np.sum(vectors * apply(vectors), axis=0)
    vectors = vectors * np.where(weights < 0, -1.0, 1.0)
    order = np.argsort(-np.abs(weights), kind="stable")
    return PowerFit(vectors[:, order], np.abs(weights)[order], tuple(changes), stopped)


def random_orthogonal(size: int, rng: np.random.Generator) -> Matrix:
    """A (size, size) orthogonal matrix, uniformly distributed (Stewart 1980)."""
    q, r = scipy.linalg.qr(rng.standard_normal((size, size)))
    return np.asarray(q * np.sign(np.diag(r)), np.float64)


def leading_rows(points: Matrix, weights: Matrix) -> Matrix:
    """An orthogonal (k, k) start: directions of k of the points that lie far from each other.

    points : (n, k); weights : (n,) of the points. Source: Damle, Minden, Ying 2019, "Simple, direct and efficient
    multi-way spectral clustering" (pivoted QR).
    """
    scaled = points * np.sqrt(weights)[:, None]
    _, _, pivots = scipy.linalg.qr(scaled.T, mode="economic", pivoting=True, check_finite=False)
    return polar(scaled[pivots[: points.shape[1]]].T)
