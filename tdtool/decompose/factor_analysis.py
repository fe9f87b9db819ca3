"""Exploratory factor analysis: R = L L' + diag(Psi), by maximum likelihood, or by least squares of the residuals."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Literal

import numpy as np
import scipy.linalg
import scipy.optimize
import scipy.special
from numpy.typing import NDArray

Matrix = NDArray[np.float64]
Objective = Callable[[Matrix, Matrix, int], tuple[float, Matrix]]

#: No uniqueness goes below this; one that wants to is a Heywood case.
LEAST_UNIQUENESS = 0.005
#: A correlation matrix with an eigenvalue below this has no likelihood to speak of.
NEARLY_SINGULAR = 1e-4


@dataclasses.dataclass(frozen=True)
class FactorFit:
    """loadings L : (p, k), columns by explained variance, not rotated; uniqueness Psi : (p,), in [0.005, 1].

    method : "ml" | "minres"; objective : what was minimised, at the end; stopped : "tol" | "max_iters".
    """

    loadings: Matrix
    uniqueness: Matrix
    method: Literal["ml", "minres"]
    objective: float
    n_iters: int
    stopped: str

    @property
    def n_factors(self) -> int:
        """k."""
        return self.loadings.shape[1]

    @property
    def communality(self) -> Matrix:
        """(p,) share of each column's variance that the factors explain."""
        return np.asarray(np.sum(self.loadings**2, axis=1))

    @property
    def heywood(self) -> tuple[int, ...]:
        """Columns that the factors explain without rest: a sign of too many factors or too few rows."""
        return tuple(np.flatnonzero(self.uniqueness <= LEAST_UNIQUENESS * (1 + 1e-6)).tolist())

    def implied(self) -> Matrix:
        """(p, p) correlations as the model has them."""
        return np.asarray(self.loadings @ self.loadings.T + np.diag(self.uniqueness))


@dataclasses.dataclass(frozen=True)
class FitStatistics:
    """How well the model reproduces the correlations. None: not defined with so few degrees of freedom."""

    chi_square: float
    df: int
    p_value: float | None
    rmsea: float | None
    tli: float | None
    srmr: float


def most_factors(n_columns: int) -> int:
    """The most factors that the correlations of so many columns determine (Ledermann 1937): df >= 0."""
    return int((2 * n_columns + 1 - np.sqrt(8 * n_columns + 1)) / 2 + 1e-9)


def degrees_of_freedom(n_columns: int, n_factors: int) -> int:
    """Correlations left over once the loadings are chosen."""
    return ((n_columns - n_factors) ** 2 - (n_columns + n_factors)) // 2


def factor_analysis(
    matrix: Matrix,
    n_factors: int,
    *,
    method: Literal["auto", "ml", "minres"] = "auto",
    max_iters: int = 1000,
    tol: float = 1e-10,
) -> FactorFit:
    """Fit n_factors factors to (p, p) correlations. "auto": ml, minres where the matrix is nearly singular.

    tol : relative change of the objective that ends the iteration. ValueError for more factors than the columns
    determine.

    Source: Joreskog 1967, "Some contributions to maximum likelihood factor analysis"; Harman and Jones 1966 (minres).
    """
    p = len(matrix)
    if not 1 <= n_factors <= most_factors(p):
        raise ValueError(f"{p} columns determine between 1 and {most_factors(p)} factors, not {n_factors}")
    values = scipy.linalg.eigvalsh(matrix)
    singular = values[0] < NEARLY_SINGULAR
    if method == "ml" and values[0] <= 0:
        raise ValueError("maximum likelihood needs a positive definite matrix; smooth it, or use minres")
    chosen: Literal["ml", "minres"] = ("minres" if singular else "ml") if method == "auto" else method
    inverse = np.diag(scipy.linalg.inv(matrix if not singular else matrix + 0.1 * np.eye(p)))
    start = np.clip((1 - 0.5 * n_factors / p) / inverse, LEAST_UNIQUENESS, 1.0)
    found = scipy.optimize.minimize(
        OBJECTIVES[chosen],
        start,
        args=(matrix, n_factors),
        jac=True,
        method="L-BFGS-B",
        bounds=[(LEAST_UNIQUENESS, 1.0)] * p,
        options={"maxiter": max_iters, "maxfun": 2 * max_iters, "ftol": tol, "gtol": 1e-7, "maxcor": 20},
    )
    loadings = _ml_loadings if chosen == "ml" else _minres_loadings
    stopped = "max_iters" if found.status == 1 else "tol"
    return FactorFit(loadings(found.x, matrix, n_factors), found.x, chosen, float(found.fun), int(found.nit), stopped)


def ml_objective(uniqueness: Matrix, matrix: Matrix, n_factors: int) -> tuple[float, Matrix]:
    """log|Sigma| + tr(R Sigma^-1) - log|R| - p at the best loadings for Psi, and its gradient (p,) by Psi."""
    values, loadings = _whitened(uniqueness, matrix, n_factors)
    left = values.copy()
    left[-n_factors:] = np.minimum(
        left[-n_factors:], 1.0
    )  # what the factors reproduce costs nothing: t - log t - 1 = 0
    gradient = np.sum(loadings**2, axis=1) + uniqueness - np.diag(matrix)
    return float(np.sum(left - np.log(left) - 1)), gradient / uniqueness**2


def minres_objective(uniqueness: Matrix, matrix: Matrix, n_factors: int) -> tuple[float, Matrix]:
    """Half the sum of squares of R - L L' - Psi at the best loadings for Psi, and its gradient (p,) by Psi."""
    values, vectors = scipy.linalg.eigh(matrix - np.diag(uniqueness), check_finite=False)
    left = values.copy()
    left[-n_factors:] = np.minimum(left[-n_factors:], 0.0)
    return float(np.sum(left**2) / 2), -(vectors**2) @ left


#: Objective and gradient of each method.
OBJECTIVES: dict[str, Objective] = {"ml": ml_objective, "minres": minres_objective}


def _whitened(uniqueness: Matrix, matrix: Matrix, n_factors: int) -> tuple[Matrix, Matrix]:
    """Eigenvalues (ascending) of Psi^-1/2 R Psi^-1/2, and the loadings (p, k) that belong to them."""
    root = np.sqrt(uniqueness)
    values, vectors = scipy.linalg.eigh(matrix / np.outer(root, root), check_finite=False)
    values = np.maximum(values, 1e-12)
    size = np.sqrt(np.maximum(values[-n_factors:] - 1, 0.0))
    return values, root[:, None] * vectors[:, -n_factors:] * size


def _ml_loadings(uniqueness: Matrix, matrix: Matrix, n_factors: int) -> Matrix:
    return _sorted(_whitened(uniqueness, matrix, n_factors)[1])


def _minres_loadings(uniqueness: Matrix, matrix: Matrix, n_factors: int) -> Matrix:
    values, vectors = scipy.linalg.eigh(matrix - np.diag(uniqueness))
    return _sorted(vectors[:, -n_factors:] * np.sqrt(np.maximum(values[-n_factors:], 0.0)))


def _sorted(loadings: Matrix) -> Matrix:
    """Columns by explained variance, each with a positive sum."""
    loadings = loadings * np.where(loadings.sum(axis=0) < 0, -1.0, 1.0)
    return np.asarray(loadings[:, np.argsort(-np.sum(loadings**2, axis=0), kind="stable")])


def fit_statistics(matrix: Matrix, fit: FactorFit, n_rows: float) -> FitStatistics:
    """Chi-square with Bartlett's correction, RMSEA, Tucker-Lewis index, standardised root mean square residual.

    matrix : (p, p) correlations that `fit` was made from, over n_rows rows. Source: Bartlett 1950; Tucker, Lewis 1973;
    Steiger, Lind 1980.
    """
    p, k = fit.loadings.shape
    df, null_df = degrees_of_freedom(p, k), p * (p - 1) // 2
    lower = np.tril_indices(p, -1)
    srmr = float(np.sqrt(np.mean((matrix - fit.implied())[lower] ** 2)))
    discrepancy = _discrepancy(matrix, fit.implied())
    chi_square = max(n_rows - 1 - (2 * p + 5) / 6 - 2 * k / 3, 0.0) * discrepancy
    if df <= 0:
        return FitStatistics(chi_square, df, None, None, None, srmr)
    rmsea = float(np.sqrt(max(discrepancy / df - 1 / max(n_rows - 1, 1.0), 0.0)))
    null = max(n_rows - 1 - (2 * p + 5) / 6, 0.0) * _discrepancy(matrix, np.eye(p)) / null_df
    tli = (null - chi_square / df) / (null - 1) if null > 1 else None
    return FitStatistics(chi_square, df, float(scipy.special.chdtrc(df, chi_square)), rmsea, tli, srmr)


def _discrepancy(matrix: Matrix, implied: Matrix) -> float:
    """log|Sigma| + tr(R Sigma^-1) - log|R| - p; 0 where they agree."""
    values = np.maximum(scipy.linalg.eigvalsh(matrix, implied), 1e-12)
    return float(np.sum(values - np.log(values) - 1))


def factor_scores(standard: Matrix, pattern: Matrix, correlation: Matrix, uniqueness: Matrix) -> Matrix:
    """Thurstone's regression scores (n, k): what the observed columns of a row say about its factors.

    standard : (n, p) columns of mean 0 and variance 1, NaN where missing; pattern : (p, k); correlation : (k, k) of the
    factors; uniqueness : (p,). A row without values gets zeros.

    With Sigma_o = L_o Phi L_o' + Psi_o of the columns observed, f = Phi L_o' Sigma_o^-1 z_o = (Phi^-1 + L_o' Psi_o^-1
    L_o)^-1 L_o' Psi_o^-1 z_o. Source: Thurstone 1935; the second form is Woodbury's identity.
    """
    observed = ~np.isnan(standard)
    weighted = pattern / uniqueness[:, None]
    right = np.where(observed, standard, 0.0) @ weighted  # (n, k)
    prior = scipy.linalg.inv(correlation)
    if observed.all():
        return np.asarray(scipy.linalg.solve(prior + pattern.T @ weighted, right.T, assume_a="pos").T)
    patterns, rows = np.unique(observed, axis=0, return_inverse=True)
    scores = np.empty_like(right)
    for index, seen in enumerate(patterns):
        here = rows.reshape(-1) == index
        scores[here] = np.linalg.solve(prior + pattern[seen].T @ weighted[seen], right[here].T).T
    return scores
