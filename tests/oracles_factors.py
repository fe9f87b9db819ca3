"""Slow, obvious twins of the factor analysis, and tables with planted factors."""

from __future__ import annotations

import itertools

import numpy as np
import scipy.optimize
from numpy.typing import NDArray

Matrix = NDArray[np.float64]


def planted_loadings(sizes: tuple[int, ...], low: float, high: float, rng: np.random.Generator) -> Matrix:
    """(p, k) simple structure: sizes[f] columns load on factor f, with loadings from low to high."""
    loadings = np.zeros((sum(sizes), len(sizes)))
    row = 0
    for factor, size in enumerate(sizes):
        loadings[row : row + size, factor] = rng.uniform(low, high, size)
        row += size
    return loadings


def planted_table(
    loadings: Matrix, n: int, rng: np.random.Generator, correlation: float = 0.0
) -> tuple[Matrix, Matrix, Matrix]:
    """(values (n, p), scores (n, k), correlations (p, p) of the population): columns of mean 0, variance 1."""
    k = loadings.shape[1]
    phi = np.full((k, k), correlation) + (1 - correlation) * np.eye(k)
    scores = rng.standard_normal((n, k)) @ np.linalg.cholesky(phi).T
    unique = 1 - np.diag(loadings @ phi @ loadings.T)
    values = scores @ loadings.T + rng.standard_normal((n, len(loadings))) * np.sqrt(unique)
    return values, scores, loadings @ phi @ loadings.T + np.diag(unique)


def congruence(found: Matrix, wanted: Matrix) -> Matrix:
    """(k,) Tucker's congruence of each wanted column with the best one found, each used once; signs count."""
    cosines = (found / np.linalg.norm(found, axis=0)).T @ (wanted / np.linalg.norm(wanted, axis=0))
    rows, columns = scipy.optimize.linear_sum_assignment(-cosines)
    return np.asarray(cosines[rows, columns][np.argsort(columns)])


def pairwise_correlation(values: Matrix) -> Matrix:
    """Pearson correlations, each over the rows that have both values."""
    p = values.shape[1]
    matrix = np.eye(p)
    for a, b in itertools.combinations(range(p), 2):
        rows = values[~np.isnan(values[:, [a, b]]).any(axis=1)][:, [a, b]]
        matrix[a, b] = matrix[b, a] = np.corrcoef(rows.T)[0, 1]
    return matrix


def ml_discrepancy(matrix: Matrix, implied: Matrix) -> float:
    """log|Sigma| + tr(R Sigma^-1) - log|R| - p."""
    logs = np.linalg.slogdet(implied)[1] - np.linalg.slogdet(matrix)[1]
    return float(logs + np.trace(matrix @ np.linalg.inv(implied)) - len(matrix))


def fit_all_at_once(matrix: Matrix, k: int, method: str, start: Matrix) -> tuple[float, Matrix]:
    """Minimum over all of L and Psi, without eigenvectors or gradients in closed form; and L L' + Psi there.

    start : (p, k) loadings to begin with.
    """
    p = len(matrix)

    def implied(x: Matrix) -> Matrix:
        loadings = x[: p * k].reshape(p, k)
        return np.asarray(loadings @ loadings.T + np.diag(np.exp(x[p * k :])))

    def objective(x: Matrix) -> float:
        if method == "ml":
            return ml_discrepancy(matrix, implied(x))
        return float(np.sum((matrix - implied(x)) ** 2) / 2)

    unique = np.log(np.maximum(1 - np.sum(start**2, axis=1), 0.05))
    found = scipy.optimize.minimize(
        objective, np.concatenate([start.ravel(), unique]), method="BFGS", options={"gtol": 1e-7, "maxiter": 2000}
    )
    return float(found.fun), implied(found.x)


def kaiser(loadings: Matrix) -> Matrix:
    """Rows of length 1."""
    return loadings / np.linalg.norm(loadings, axis=1, keepdims=True)


def varimax_criterion(loadings: Matrix) -> float:
    """Sum over factors of the variance of squared loadings of normalised rows."""
    return float(np.sum(np.var(kaiser(loadings) ** 2, axis=0)))


def varimax_of_two(loadings: Matrix, steps: int = 20_000) -> float:
    """The largest varimax criterion of any rotation of (p, 2) loadings, by trying angles."""
    normal = kaiser(loadings)
    angles = np.linspace(0, np.pi / 2, steps)
    cos, sin = np.cos(angles), np.sin(angles)
    first = normal[:, :1] * cos + normal[:, 1:] * sin
    second = normal[:, 1:] * cos - normal[:, :1] * sin
    return float(np.max(np.var(first**2, axis=0) + np.var(second**2, axis=0)))


def quartimin_of_two(loadings: Matrix, steps: int = 181) -> float:
    """The least quartimin criterion of any two oblique axes for (p, 2) loadings, by trying pairs of angles."""
    normal = kaiser(loadings)
    angles = np.linspace(0, np.pi, steps, endpoint=False)
    least = np.inf
    for a, b in itertools.combinations(angles, 2):
        axes = np.array([[np.cos(a), np.cos(b)], [np.sin(a), np.sin(b)]])
        if abs(np.linalg.det(axes)) < 0.1:
            continue
        pattern = normal @ np.linalg.inv(axes).T
        least = min(least, float(np.sum(pattern[:, 0] ** 2 * pattern[:, 1] ** 2)) / 2)
    return least


def expected_scores(standard: Matrix, pattern: Matrix, correlation: Matrix, uniqueness: Matrix) -> Matrix:
    """Mean of the factors given what is observed of a row, from the joint normal distribution."""
    implied = pattern @ correlation @ pattern.T + np.diag(uniqueness)
    cross = pattern @ correlation
    scores = np.zeros((len(standard), len(correlation)))
    for i, row in enumerate(standard):
        seen = ~np.isnan(row)
        if seen.any():
            scores[i] = cross[seen].T @ np.linalg.inv(implied[np.ix_(seen, seen)]) @ row[seen]
    return scores


def with_holes(values: Matrix, share: float, rng: np.random.Generator) -> Matrix:
    """The same with a share of the values missing, at random."""
    return np.where(rng.random(values.shape) < share, np.nan, values)
