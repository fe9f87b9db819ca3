"""The loop of alternating updates: errors, extrapolation between sweeps, and when to stop."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from tdtool.decompose.cp_updates import balance, grams_of, hadamard, least_squares
from tdtool.kernels.arrays import as_owned
from tdtool.kernels.device_gpu import owner
from tdtool.kernels.khatri_rao import khatri_rao
from tdtool.kernels.mttkrp import mttkrp_sweep
from tdtool.kernels.mttkrp_gpu import squared_residual_on_gpu
from tdtool.kernels.sparse_tensor import SparseTensor

Array = NDArray[Any]
Floats = NDArray[np.float64]
#: (product (I, R), gram (R, R), old factor (I, R)) -> new factor.
Update = Callable[[Array, Floats, Array], Floats]
#: Called with a relative error after each sweep.
Listen = Callable[[float], None]

#: A relative error below this is exact.
_EXACT = 1e-14
#: Entries of the model that are formed at a time, where the error is taken from the difference itself.
BLOCK_ENTRIES = 1 << 20
#: The first step of extrapolation, its growth after a sweep that helped, its shrinking after one that did not.
_STEP, _GROWTH, _SHRINKING = 0.3, 1.2, 0.4


class Problem(Protocol):
    """What is decomposed, and how one sweep changes the factors."""

    def sweep(self, factors: list[Array]) -> float:
        """Update all factors in place; the squared error afterwards, relative to the squared norm."""


@dataclasses.dataclass(frozen=True)
class Course:
    """factors : N arrays (I_n, R) of any scale; errors : relative, after each sweep; stopped : as in CPFit."""

    factors: list[Array]
    errors: list[float]
    stopped: str
    warnings: tuple[str, ...] = ()

    @property
    def error(self) -> float:
        """The last relative error; infinite where no sweep ended well."""
        return self.errors[-1] if self.errors else math.inf


class FullProblem:
    """A tensor without gaps, dense or sparse. outside : squared norm that lies outside of what `tensor` can hold."""

    def __init__(
        self, tensor: Array | SparseTensor, length: float, update: Update = least_squares, outside: float = 0.0
    ) -> None:
        self._tensor, self._squared, self._update, self._outside = tensor, length**2, update, outside
        self._total = self._squared + outside

    def sweep(self, factors: list[Array]) -> float:
        """One round over all modes. The error comes from the last product, or from the difference where it cancels."""
        grams = grams_of(factors)
        last = len(factors) - 1
        inner = 0.0

        def update(mode: int, product: Array) -> Array:
            nonlocal inner
            old = factors[mode]
            product = np.asarray(product, np.float64)
            new = self._update(product, hadamard(grams, mode), np.asarray(old, np.float64)).astype(
                old.dtype, copy=False
            )
            grams[mode] = grams_of([new])[0]
            if mode == last:
                inner = float(np.einsum("ir,ir->", product, new))
            return new

        mttkrp_sweep(self._tensor, factors, update)
        squared = self._squared - 2 * inner + float(hadamard(grams).sum())
        if squared < 1e5 * np.finfo(factors[0].dtype).eps * self._squared and not isinstance(
            self._tensor, SparseTensor
        ):
            squared = squared_residual(self._tensor, factors)
        return (max(squared, 0.0) if squared < 0 else squared + self._outside) / self._total


def run(
    problem: Problem,
    factors: Sequence[Array],
    *,
    max_iters: int,
    tol: float,
    listen: Listen | None = None,
    before: Sequence[float] = (),
) -> Course:
    """Sweep from `factors` until the relative error changes by less than `tol`; the error never grows.

    Each sweep starts a little beyond the last one, in the direction in which the factors went; a sweep that made
    the error larger is taken back. before : errors that led to `factors`, the last of them theirs.
    Sources: Mitchell, Ye, De Sterck 2020, "Nesterov acceleration of alternating least squares for canonical tensor
    decomposition"; Ang and Gillis 2019, "Accelerating nonnegative matrix factorization algorithms using extrapolation".
    """
    accepted = previous = balance(factors)
    errors = list(before)
    step, stopped = 0.0, "max_iters"
    for _ in range(max_iters):
        trial = extrapolated(accepted, previous, step)
        squared = problem.sweep(trial)
        if not math.isfinite(squared):
            stopped = "diverged"
            break
        error = math.sqrt(squared)
        if errors and error > errors[-1]:
            if step == 0:
                stopped = "tol"
                break
            step, previous = 0.0, accepted
            continue
        errors.append(error)
        if listen is not None:
            listen(error)
        previous, accepted = accepted, balance(trial)
        if error < _EXACT:
            stopped = "exact"
            break
        if len(errors) > 1 and errors[-2] - error < tol:
            stopped = "tol"
            break
        step = min(max(step * _GROWTH, _STEP), 1.0)
    return Course(accepted, errors, stopped)


def best_of(courses: Sequence[Course]) -> list[Course]:
    """The courses, that of the smallest error first, the others in their order."""
    best = min(range(len(courses)), key=lambda place: courses[place].error)
    return [courses[best], *(course for place, course in enumerate(courses) if place != best)]


def extrapolated(new: Sequence[Array], old: Sequence[Array], step: float) -> list[Array]:
    """new + step (new - old) for each factor; entries do not change their sign from >= 0."""
    if step == 0:
        return [factor.copy() for factor in new]
    moved = [a + a.dtype.type(step) * (a - b) for a, b in zip(new, old, strict=True)]
    return [np.maximum(m, 0) if a.min(initial=0.0) >= 0 else m for m, a in zip(moved, new, strict=True)]


def squared_residual(tensor: Array, factors: Sequence[Array]) -> float:
    """The squared norm of tensor - model, a block of rows of the first mode at a time."""
    gpu = owner(tensor)
    if gpu is not None:
        return squared_residual_on_gpu(gpu, tensor, [as_owned(factor, tensor.dtype, tensor) for factor in factors])
    rest = khatri_rao(list(factors[1:])).T if len(factors) > 1 else np.ones((factors[0].shape[1], 1))
    step = max(1, BLOCK_ENTRIES * tensor.shape[0] // tensor.size)
    total = 0.0
    for start in range(0, tensor.shape[0], step):
        block = tensor[start : start + step]
        difference = block.reshape(block.shape[0], -1) - factors[0][start : start + step] @ rest
        total += float(np.vdot(difference, difference))
    return total
