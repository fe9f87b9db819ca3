"""Factors of a stack of tables: rows x columns x slices as a CP model, whose axes are unique without rotation."""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray

from tdtool.decompose.core_consistency import core_consistency
from tdtool.decompose.cp import cp_als
from tdtool.decompose.results import CPFit
from tdtool.decompose.stacked_axes import Axes, simplest_axes

Matrix = NDArray[np.float64]


@dataclasses.dataclass(frozen=True)
class StackedFactors:
    """(x_ijk - mean_jk) / scale_jk ~ sum_r scores[i, r] pattern[j, r] weights[k, r].

    scores : (n, R), variance 1; pattern : (p, R) loadings, positive sums; weights : (s, R), mean square 1 in a factor;
    correlation : (R, R) of the scores; structure : (p, R) correlations of columns and factors over all slices;
    communality, mean, scale : (p,) explained share of the variance, and the slices' averages of mean and scale;
    axes : "slices" where they are those of the CP fit, "simplicity" where the slices left them open; relative_error :
    of the standardised values; core_consistency : percent, low where factors are too many; fit : the CP fit.
    """

    scores: Matrix
    pattern: Matrix
    structure: Matrix
    weights: Matrix
    correlation: Matrix
    communality: Matrix
    mean: Matrix
    scale: Matrix
    axes: str
    relative_error: float
    core_consistency: float
    fit: CPFit

    @property
    def variance(self) -> Matrix:
        """(R,) variance explained by each factor, in columns, as the mean over the slices."""
        return np.asarray(np.sum(self.pattern * self.structure, axis=0))


def preprocess(values: Matrix) -> tuple[Matrix, Matrix, Matrix]:
    """Centre across rows and scale within columns and within slices, which keeps a CP model a CP model.

    values : (n, p, s), NaN where missing. Returns the same standardised, mean (p, s), and scale (p, s) of rank one,
    such that every column and every slice has mean square 1.

    Source: Bro and Smilde 2003, "Centering and scaling in component analysis".
    """
    mean = np.nanmean(values, axis=0)
    centred = values - mean
    square = np.nanmean(centred**2, axis=0)
    if np.any(square <= 1e-24 * mean**2):
        raise ValueError("a column is constant in a slice")
    column, slices = np.ones(square.shape[0]), np.ones(square.shape[1])
    for _ in range(100):
        column = np.mean(square / slices, axis=1)
        slices = np.mean(square / column[:, None], axis=0)
    scale = np.sqrt(np.outer(column, slices))
    return centred / scale, mean, scale


def stacked_factors(
    values: Matrix,
    n_factors: int,
    *,
    max_iters: int = 2000,
    tol: float = 1e-9,
    n_restarts: int = 5,
    prefer_simple: bool = True,
    rng: np.random.Generator,
) -> StackedFactors:
    """Fit n_factors factors to (n, p, s) values, NaN where missing.

    prefer_simple : where the slices hardly tell the axes apart, take those of simple structure (see simplest_axes).
    """
    standard, mean, scale = preprocess(values)
    missing = np.isnan(standard)
    filled = np.where(missing, 0.0, standard)
    fit = cp_als(
        filled,
        n_factors,
        max_iters=max_iters,
        tol=tol,
        n_restarts=n_restarts,
        mask=missing if missing.any() else None,
        rng=rng,
    )
    axes = _axes(fit, filled, missing)
    simple = simplest_axes(axes, filled, missing, rng=rng) if prefer_simple else None
    axes, by = (axes, "slices") if simple is None else (_ordered(simple), "simplicity")
    scores, pattern, weights = axes.scores, axes.pattern, axes.weights
    correlation = scores.T @ scores / len(scores)
    residual = np.where(missing, 0.0, filled - axes.model())
    size = np.sqrt(np.diag(correlation))
    return StackedFactors(
        scores=scores,
        pattern=pattern,
        structure=_structure(scores, pattern, weights),
        weights=weights,
        correlation=correlation / np.outer(size, size),
        communality=1 - np.sum(residual**2, axis=(0, 2)) / np.sum(filled**2, axis=(0, 2)),
        mean=mean.mean(axis=1),
        scale=np.sqrt(np.mean(scale**2, axis=1)),
        axes=by,
        relative_error=float(np.sqrt(axes.misfit / np.sum(filled**2))),
        core_consistency=core_consistency(filled, fit, mask=missing if missing.any() else None),
        fit=fit,
    )


def _axes(fit: CPFit, filled: Matrix, missing: NDArray[np.bool_]) -> Axes:
    """A CP fit as scores, loadings and weights."""
    rows, columns, slices = fit.factors
    axes = Axes(rows, columns * fit.weights, slices, 0.0)
    residual = np.where(missing, 0.0, filled - axes.model())
    return _ordered(dataclasses.replace(axes, misfit=float(np.sum(residual**2))))


def _ordered(axes: Axes) -> Axes:
    """Scores of variance 1, slice weights of mean square 1, loadings with the size and positive sums; by variance."""
    size = np.sqrt(np.mean(axes.scores**2, axis=0))
    spread = np.sqrt(np.mean(axes.weights**2, axis=0)) * np.where(axes.weights.sum(axis=0) < 0, -1.0, 1.0)
    sign = np.where((axes.pattern * spread).sum(axis=0) < 0, -1.0, 1.0)
    scores, weights, pattern = axes.scores / size * sign, axes.weights / spread, axes.pattern * size * spread * sign
    order = np.argsort(-np.sum(pattern * _structure(scores, pattern, weights), axis=0), kind="stable")
    return Axes(scores[:, order], pattern[:, order], weights[:, order], axes.misfit)


def _structure(scores: Matrix, pattern: Matrix, weights: Matrix) -> Matrix:
    """(p, R) mean products of the modelled columns with the factors, over rows and slices."""
    return np.asarray(pattern @ ((scores.T @ scores / len(scores)) * (weights.T @ weights / len(weights))))
