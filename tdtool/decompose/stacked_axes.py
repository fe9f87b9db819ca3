"""Where the slices of a stack hardly tell its axes apart: of the axes that fit as well, the simplest."""

from __future__ import annotations

import dataclasses

import numpy as np
import scipy.special
from numpy.typing import NDArray

from tdtool.decompose.rotation import rotate

Matrix = NDArray[np.float64]

#: Simple axes are taken unless so unlikely a part of the misfit speaks against them.
_DOUBT = 0.01


@dataclasses.dataclass(frozen=True)
class Axes:
    """scores (n, R), pattern (p, R), weights (s, R) of a CP model, its residual sum of squares where observed."""

    scores: Matrix
    pattern: Matrix
    weights: Matrix
    misfit: float

    def model(self) -> Matrix:
        """(n, p, s)."""
        return np.asarray(np.einsum("ir,jr,kr->ijk", self.scores, self.pattern, self.weights))


def simplest_axes(axes: Axes, values: Matrix, missing: NDArray[np.bool_], *, rng: np.random.Generator) -> Axes | None:
    """Oblique axes of simple structure in the same space of scores, where the data do not speak against them.

    values : (n, p, s), zeros where `missing`. None: `axes` fit better than chance allows, so the slices do tell.

    CP axes are unique as far as the slices weigh the factors differently. With R (R - 1) angles fixed by simple
    structure (oblimin over all slices) in place of the slices, the residual sum of squares grows by sigma^2 times
    chi-square of so many degrees of freedom where simple structure is right, and by more where it is not.
    """
    n, p, s = values.shape
    k = axes.pattern.shape[1]
    n_free = int(np.count_nonzero(~missing)) - k * (n + p + s - 2)
    if k == 1 or n_free < 1:
        return None
    filled = np.where(missing, axes.model(), values)
    basis = np.linalg.qr(axes.scores)[0] * np.sqrt(n)
    loadings = np.einsum("ir,ijk->jkr", basis, filled).reshape(p * s, k) / n
    simple = rotate(loadings, "oblimin", rng=rng)
    turn = np.linalg.lstsq(simple.pattern, loadings, rcond=None)[0]
    found = _refit(basis @ turn.T, filled, values, missing)
    allowed = scipy.special.chdtri(k * (k - 1), _DOUBT) * axes.misfit / n_free
    return found if found.misfit - axes.misfit <= allowed else None


def _refit(scores: Matrix, filled: Matrix, values: Matrix, missing: NDArray[np.bool_], max_iters: int = 500) -> Axes:
    """Loadings and slice weights by alternating least squares for given scores (n, R)."""
    gram = scores.T @ scores
    along = np.einsum("ir,ijk->jkr", scores, filled)
    weights = np.ones((values.shape[2], gram.shape[0]))
    pattern = np.zeros((values.shape[1], gram.shape[0]))
    for _ in range(max_iters):
        before = pattern
        pattern = np.linalg.solve((weights.T @ weights) * gram, np.einsum("kr,jkr->rj", weights, along)).T
        weights = np.linalg.solve((pattern.T @ pattern) * gram, np.einsum("jr,jkr->rk", pattern, along)).T
        size = np.sqrt(np.mean(weights**2, axis=0))
        weights, pattern = weights / size, pattern * size
        if np.abs(pattern - before).max() < 1e-9:
            break
    axes = Axes(scores, pattern, weights, 0.0)
    residual = np.where(missing, 0.0, values - axes.model())
    return dataclasses.replace(axes, misfit=float(np.sum(residual**2)))
