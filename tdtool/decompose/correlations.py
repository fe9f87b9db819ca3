"""Correlations between the columns of a table that may have holes, and whether they are worth a factor analysis."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import scipy.linalg
import scipy.special
from numpy.typing import NDArray

Matrix = NDArray[np.float64]

#: Smoothing lifts eigenvalues to this.
LEAST_EIGENVALUE = 1e-6


@dataclasses.dataclass(frozen=True)
class Correlations:
    """matrix : (p, p), unit diagonal; mean, scale : (p,), over what is observed; n_pairs : (p, p) rows behind each.

    smoothed : largest change of an entry that made the matrix positive definite, 0 where none was needed.
    """

    matrix: Matrix
    mean: Matrix
    scale: Matrix
    n_pairs: NDArray[np.int64]
    smoothed: float

    @property
    def n_rows(self) -> float:
        """Harmonic mean of the rows behind a pair of columns: what stands for the number of rows where some miss."""
        return float(1 / np.mean(1 / self.n_pairs[np.tril_indices(len(self.n_pairs), -1)]))


@dataclasses.dataclass(frozen=True)
class Adequacy:
    """kmo : Kaiser, Meyer, Olkin; kmo_columns : (p,); chi_square, df, p_value : Bartlett's test of no correlation."""

    kmo: float
    kmo_columns: Matrix
    chi_square: float
    df: int
    p_value: float


def correlations(values: Matrix, *, names: Sequence[str] | None = None, least_rows: int = 3) -> Correlations:
    """Pairwise-complete Pearson correlations, smoothed to positive definite where needed.

    values : (n, p) float64, NaN where missing; names : p, for what an error says. ValueError where a column is
    constant, or two columns share fewer than least_rows rows or one is constant in them.
    """
    names = [f"column {i}" for i in range(values.shape[1])] if names is None else names
    observed = ~np.isnan(values)
    counts = observed.sum(axis=0)
    if values.shape[1] < 2 or counts.min() < 2:
        raise ValueError("correlations need two columns at least, and two values in each")
    mean = np.nanmean(values, axis=0)
    centred = np.where(observed, values - mean, 0.0)
    scale = np.sqrt(np.sum(centred**2, axis=0) / (counts - 1))
    constant = scale <= 1e-12 * np.abs(mean)
    if constant.any():
        raise ValueError(f"{names[int(np.argmax(constant))]} is constant")
    matrix, n_pairs = _pairwise(centred / scale, observed, names, least_rows)
    smooth = matrix if observed.all() else smoothed(matrix)
    return Correlations(smooth, mean, scale, n_pairs, float(np.abs(smooth - matrix).max()))


def _pairwise(
    standard: Matrix, observed: NDArray[np.bool_], names: Sequence[str], least_rows: int
) -> tuple[Matrix, NDArray[np.int64]]:
    """Correlation of each two columns over the rows that have both. standard : (n, p), 0 where missing."""
    mask = observed.astype(np.float64)
    n_pairs = mask.T @ mask
    if n_pairs.min() < least_rows:
        left, right = (names[int(i)] for i in np.unravel_index(int(np.argmin(n_pairs)), n_pairs.shape))
        raise ValueError(
            f"{left} and {right} have values together in {int(n_pairs.min())} rows; {least_rows} are needed"
        )
    sums = standard.T @ mask  # of column j where column k is observed
    covariance = standard.T @ standard - sums * sums.T / n_pairs
    variance = (standard**2).T @ mask - sums**2 / n_pairs
    if variance.min() < 1e-12:
        left, right = (names[int(i)] for i in np.unravel_index(int(np.argmin(variance)), variance.shape))
        raise ValueError(f"{left} is constant where {right} has values")
    matrix = covariance / np.sqrt(variance * variance.T)
    np.fill_diagonal(matrix, 1.0)
    return np.asarray((matrix + matrix.T) / 2), np.rint(n_pairs).astype(np.int64)


def smoothed(matrix: Matrix) -> Matrix:
    """The (p, p) correlation matrix itself where it is positive definite, else one near it that is."""
    values, vectors = scipy.linalg.eigh(matrix)
    if values[0] >= LEAST_EIGENVALUE:
        return matrix
    lifted = (vectors * np.maximum(values, LEAST_EIGENVALUE)) @ vectors.T
    size = np.sqrt(np.diag(lifted))
    lifted = lifted / np.outer(size, size)
    np.fill_diagonal(lifted, 1.0)
    return np.asarray((lifted + lifted.T) / 2)


def adequacy(matrix: Matrix, n_rows: float) -> Adequacy:
    """Whether columns share enough for factors. matrix : (p, p) correlations, positive definite.

    Source: Kaiser and Rice 1974, "Little Jiffy, Mark IV"; Bartlett 1951.
    """
    p = len(matrix)
    inverse = scipy.linalg.pinvh(matrix)
    size = np.sqrt(np.maximum(np.diag(inverse), 1e-300))
    partial = (inverse / np.outer(size, size)) ** 2
    square = matrix**2
    np.fill_diagonal(partial, 0.0)
    np.fill_diagonal(square, 0.0)
    columns = square.sum(axis=0) / np.maximum((square + partial).sum(axis=0), 1e-300)
    log_determinant = float(np.sum(np.log(np.maximum(scipy.linalg.eigvalsh(matrix), LEAST_EIGENVALUE))))
    chi_square, df = -(n_rows - 1 - (2 * p + 5) / 6) * log_determinant, p * (p - 1) // 2
    total = float(square.sum() / max((square + partial).sum(), 1e-300))
    return Adequacy(total, columns, chi_square, df, float(scipy.special.chdtrc(df, max(chi_square, 0.0))))
