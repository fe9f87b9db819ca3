"""Rotations of loadings to simple structure: varimax, promax and oblimin (quartimin)."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Literal

import numpy as np
import scipy.linalg
from numpy.typing import NDArray

from tdtool.decompose.power import polar, random_orthogonal

Matrix = NDArray[np.float64]
Turned = tuple[Matrix, float, str]
Method = Literal["promax", "varimax", "oblimin", "none"]

#: Hendrickson and White's power, and what R's promax takes.
PROMAX_POWER = 4


@dataclasses.dataclass(frozen=True)
class Rotation:
    """pattern : (p, k) loadings; correlation : (k, k) of factors; pattern @ correlation @ pattern.T is as before.

    Factors come by explained variance, each with loadings of positive sum. stopped : "tol" | "max_iters" | "exact".
    """

    pattern: Matrix
    correlation: Matrix
    method: Method
    stopped: str

    @property
    def structure(self) -> Matrix:
        """(p, k) correlations of columns and factors."""
        return np.asarray(self.pattern @ self.correlation)

    @property
    def variance(self) -> Matrix:
        """(k,) variance explained by each factor, in columns; their sum is the sum of the communalities."""
        return np.asarray(np.sum(self.pattern * self.structure, axis=0))


def rotate(
    loadings: Matrix,
    method: Method,
    *,
    max_iters: int = 1000,
    tol: float = 1e-8,
    n_restarts: int = 10,
    rng: np.random.Generator,
) -> Rotation:
    """Rotate (p, k) loadings. n_restarts : random starts besides the plain one, of which the best counts.

    Rows are normalised before (Kaiser) and scaled back behind. tol : length of the projected gradient, or turn of the
    loadings in a sweep, that ends the iteration.

    Source: Kaiser 1958 (varimax); Hendrickson and White 1964 (promax); Jennrich 2002, Bernaards and Jennrich 2005
    (oblimin with gamma 0, by gradient projection).
    """
    k = loadings.shape[1]
    if method == "none" or k == 1:
        return _ordered(loadings, np.eye(k), method, "exact")
    size = np.sqrt(np.sum(loadings**2, axis=1, keepdims=True))
    normal = loadings / np.where(size > 0, size, 1.0)
    turn = oblimin if method == "oblimin" else varimax
    transform, stopped = _best(turn, normal, max_iters=max_iters, tol=tol, n_restarts=n_restarts, rng=rng)
    if method == "promax":
        transform = _promax(normal @ transform, transform)
    pattern = loadings @ np.linalg.inv(transform).T
    return _ordered(pattern, transform.T @ transform, method, stopped)


def _best(
    turn: Callable[..., Turned],
    loadings: Matrix,
    *,
    max_iters: int,
    tol: float,
    n_restarts: int,
    rng: np.random.Generator,
) -> tuple[Matrix, str]:
    """The transform of the start that ended lowest; the plain start unless another is better by more than rounding."""
    k = loadings.shape[1]
    best, least, stopped = turn(loadings, np.eye(k), max_iters=max_iters, tol=tol)
    for _ in range(n_restarts):
        transform, value, why = turn(loadings, random_orthogonal(k, rng), max_iters=max_iters, tol=tol)
        if value < least - 1e-9 * abs(least):
            best, least, stopped = transform, value, why
    return best, stopped


def varimax(loadings: Matrix, start: Matrix, *, max_iters: int, tol: float) -> Turned:
    """Orthogonal T (k, k) that makes the squared loadings of L T vary most; minus that variance; why it stopped."""
    transform, p = start, len(loadings)
    stopped = "max_iters"
    for _ in range(max_iters):
        turned = loadings @ transform
        gradient = loadings.T @ (turned**3 - turned * np.sum(turned**2, axis=0) / p)
        previous, transform = transform, polar(gradient)
        if np.abs(transform - previous).max() < tol:
            stopped = "tol"
            break
    square = (loadings @ transform) ** 2
    return transform, -float(np.sum(np.var(square, axis=0))), stopped


def oblimin(loadings: Matrix, start: Matrix, *, max_iters: int, tol: float) -> Turned:
    """T (k, k), unit columns, for the quartimin of L inv(T)': products of squared loadings of one row. As varimax."""
    transform, step = start, 1.0
    value, gradient = _quartimin(loadings, transform)
    for _ in range(max_iters):
        projected = gradient - transform * np.sum(transform * gradient, axis=0)
        slope = float(np.sum(projected**2))
        if np.sqrt(slope) < tol:
            return transform, value, "tol"
        step *= 2
        for _ in range(30):
            moved = transform - step * projected
            moved = moved / np.linalg.norm(moved, axis=0)
            lower, moved_gradient = _quartimin(loadings, moved)
            if lower < value - 0.5 * slope * step:
                break
            step /= 2
        else:  # no step is small enough for an improvement that rounding lets through
            return transform, value, "tol"
        transform, value, gradient = moved, lower, moved_gradient
    return transform, value, "max_iters"


def _quartimin(loadings: Matrix, transform: Matrix) -> tuple[float, Matrix]:
    """Criterion, and its gradient by T."""
    inverse = np.linalg.inv(transform)
    pattern = loadings @ inverse.T
    square = pattern**2
    others = square.sum(axis=1, keepdims=True) - square
    gradient = -(pattern.T @ (pattern * others) @ inverse).T
    return float(np.sum(square * others)) / 4, gradient


def _promax(turned: Matrix, transform: Matrix) -> Matrix:
    """T of the oblique factors nearest to powers of the varimax loadings. turned : (p, k) normalised, T : theirs."""
    target = turned * np.abs(turned) ** (PROMAX_POWER - 1)
    towards = scipy.linalg.lstsq(turned, target)[0]
    towards = towards * np.sqrt(np.diag(np.linalg.inv(towards.T @ towards)))
    return np.asarray(np.linalg.inv(transform @ towards).T)


def _ordered(pattern: Matrix, correlation: Matrix, method: Method, stopped: str) -> Rotation:
    variance = np.sum(pattern * (pattern @ correlation), axis=0)
    order = np.argsort(-variance, kind="stable")
    sign = np.where(pattern.sum(axis=0) < 0, -1.0, 1.0)[order]
    correlation = correlation[np.ix_(order, order)] * np.outer(sign, sign)
    np.fill_diagonal(correlation, 1.0)
    return Rotation(pattern[:, order] * sign, (correlation + correlation.T) / 2, method, stopped)
