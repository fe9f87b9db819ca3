"""What a decomposition returns, and the one place where scale, order and signs of components are settled."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tdtool.kernels.khatri_rao import khatri_rao
from tdtool.kernels.modes import multi_mode_dot

Array = NDArray[Any]


@dataclasses.dataclass(frozen=True)
class CPFit:
    """X ~ sum_r weights[r] * factors[0][:, r] (x) ... (x) factors[N-1][:, r].

    weights : (R,) float64 >= 0, descending; factors : N arrays (I_n, R) float64, columns of length 1. The entry of
    largest magnitude of every column is positive in all modes but the last; the sign of a component is in the last.
    errors : true relative error after each sweep; stopped : "tol" | "max_iters" | "diverged" | "exact".
    n_restarts : starts that were tried; restart_errors : the relative error that each reached.
    """

    weights: NDArray[np.float64]
    factors: tuple[NDArray[np.float64], ...]
    errors: tuple[float, ...]
    stopped: str
    n_restarts: int = 1
    restart_errors: tuple[float, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def rank(self) -> int:
        """Number of components R."""
        return self.weights.size

    @property
    def relative_error(self) -> float:
        """norm(X - Xhat) / norm(X), over what was observed; nan where nothing was measured."""
        return self.errors[-1] if self.errors else float("nan")

    @property
    def fit(self) -> float:
        """One minus the relative error."""
        return 1 - self.relative_error

    def to_dense(self) -> NDArray[np.float64]:
        """The modelled tensor, (I_0, ..., I_{N-1}) float64."""
        return dense_of(self.weights, self.factors)


@dataclasses.dataclass(frozen=True)
class TuckerFit:
    """X ~ core x_0 factors[0] x_1 ... x_{N-1} factors[N-1].

    core : (J_0, ..., J_{N-1}); factors : N arrays (I_n, J_n) with orthonormal (complex: unitary) columns, the entry of
    largest magnitude of each column positive real; both of the tensor's own precision.
    errors : true relative error after each sweep, the first of the start; stopped : "tol" | "max_iters" | "exact".
    """

    core: Array
    factors: tuple[Array, ...]
    errors: tuple[float, ...]
    stopped: str

    @property
    def ranks(self) -> tuple[int, ...]:
        """The shape of the core."""
        return self.core.shape

    @property
    def relative_error(self) -> float:
        """norm(X - Xhat) / norm(X)."""
        return self.errors[-1]

    @property
    def fit(self) -> float:
        """One minus the relative error."""
        return 1 - self.relative_error

    def to_dense(self) -> Array:
        """The modelled tensor, (I_0, ..., I_{N-1})."""
        return multi_mode_dot(self.core, list(self.factors))


def cp_fit(
    weights: Array,
    factors: Sequence[Array],
    errors: Sequence[float] = (),
    stopped: str = "tol",
    *,
    n_restarts: int = 1,
    restart_errors: Sequence[float] = (),
    warnings: Sequence[str] = (),
) -> CPFit:
    """A CPFit from factors of any scale, order and sign; the model stays the same.

    weights : (R,) of any sign; factors : N arrays (I_n, R). A column of zeros stays zero, with weight 0.
    """
    signed = np.array(weights, np.float64)
    unit = []
    for factor in factors:
        columns, lengths = unit_columns(np.asarray(factor, np.float64))
        signed *= lengths
        unit.append(columns)
    for mode, columns in enumerate(unit[:-1]):
        signs = signs_of_largest(columns)
        unit[mode] = columns * signs
        signed *= signs
    unit[-1] = unit[-1] * np.where(signed < 0, -1.0, 1.0)
    order = np.argsort(-np.abs(signed), kind="stable")
    return CPFit(
        np.abs(signed)[order],
        tuple(np.ascontiguousarray(columns[:, order]) for columns in unit),
        tuple(errors),
        stopped,
        n_restarts,
        tuple(restart_errors),
        tuple(warnings),
    )


def unit_columns(factor: Array) -> tuple[Array, Array]:
    """factor : (I, R) -> (columns of length 1 (I, R), lengths (R,)); a column of zeros stays as it is.

    Lengths neither overflow nor underflow: a column is divided by its largest entry first.
    """
    largest = np.abs(factor).max(axis=0, initial=0.0)
    scaled = factor / np.where(largest > 0, largest, 1.0)
    lengths = np.sqrt(np.einsum("ir,ir->r", scaled, scaled))
    return scaled / np.where(lengths > 0, lengths, 1.0), lengths * largest


def signs_of_largest(columns: Array) -> Array:
    """(I, R) -> (R,): the sign (complex: phase) of the largest entry of each column by magnitude; 1 if all are 0."""
    largest = columns[np.argmax(np.abs(columns), axis=0), np.arange(columns.shape[1])]
    magnitudes = np.abs(largest)
    return np.where(magnitudes > 0, largest / np.where(magnitudes > 0, magnitudes, 1), 1)


def dense_of(weights: Array, factors: Sequence[Array]) -> Array:
    """The tensor of a CP model. weights : (R,); factors : N arrays (I_n, R); returns (I_0, ..., I_{N-1})."""
    shape = tuple(factor.shape[0] for factor in factors)
    first = factors[0] * weights
    if len(factors) == 1:
        return first.sum(axis=1)
    return (first @ khatri_rao(list(factors[1:])).T).reshape(shape)
