"""CP decomposition by alternating least squares: dense, sparse, non-negative, and with missing values.

Letters: N order, I_n size of mode n, R rank.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from tdtool.decompose.cp_compressed import compress_and_fit, worth_compressing
from tdtool.decompose.cp_missing import MissingProblem, filled, observed_start
from tdtool.decompose.cp_nonnegative import NonnegativeProblem, nonnegative_starts
from tdtool.decompose.cp_start import starts_of
from tdtool.decompose.cp_sweeps import Course, FullProblem, Listen, Problem, best_of, run
from tdtool.decompose.cp_updates import grams_of, hadamard, is_singular
from tdtool.decompose.results import CPFit, cp_fit
from tdtool.kernels.device_gpu import owner
from tdtool.kernels.modes import floating, norm
from tdtool.kernels.sparse_tensor import SparseTensor

Array = NDArray[Any]
#: Called with the number of the sweep, from 1, and the relative error after it.
OnSweep = Callable[[int, float], None]

#: Sweeps that each start gets before the best goes on alone; after fewer, the best is often not the one of the end.
_SCREENING = 32


def cp_als(
    tensor: Array | SparseTensor,
    rank: int,
    *,
    max_iters: int = 200,
    tol: float = 1e-6,
    n_restarts: int = 3,
    nonnegative: bool = False,
    mask: NDArray[np.bool_] | None = None,
    compress: bool | Literal["auto"] = "auto",
    rng: np.random.Generator | None = None,
    on_sweep: OnSweep | None = None,
) -> CPFit:
    """Fit X ~ sum_r w_r a_r (x) b_r (x) ... with R = rank components, one mode after the other.

    tensor : (I_0, ..., I_{N-1}) real, on the host or a GPU (the mask then None; all large products are made there, in
    the tensor's precision), or a SparseTensor, which is never made dense. max_iters : sweeps; tol : a sweep
    that changes the relative error by less ends the iteration. n_restarts : starts, of which the best goes on.
    nonnegative : all factors >= 0. mask : bool like the tensor, True where a value is missing; errors are then those
    over what was observed. compress : iterate in a Tucker core first, then on the tensor itself until the error stays
    ("auto": where the core is much smaller; not for non-negative factors or missing values). rng : for the starts;
    without one, equal tensors give equal results. on_sweep(sweep, error) is called after each sweep that is kept.
    ValueError: complex or non-finite values, a rank that cannot be, a mask that leaves a whole slice unknown.

    Sources: Carroll and Chang 1970; Harshman 1970; Kolda and Bader 2009, "Tensor decompositions and applications",
    figure 3.3; Bro and Andersson 1998, "Improving the speed of multiway algorithms II: compression".
    """
    rng = np.random.default_rng(0) if rng is None else rng
    checked: Any = _checked(tensor, rank, n_restarts, mask, compress)
    if mask is not None:
        checked, mask = filled(checked, mask), (mask if np.any(mask) else None)
    length = norm(checked)
    if not math.isfinite(length):
        raise ValueError("the tensor holds NaN or infinite values; give a mask that is True where values are missing")
    if length == 0:
        return _nothing(checked.shape, rank)
    listen = _counted(on_sweep)
    if mask is None and not nonnegative and (compress is True or (compress and worth_compressing(checked, rank))):
        return _fit(compress_and_fit(checked, rank, length, max_iters, tol, n_restarts, rng, listen))
    problem: Problem = FullProblem(checked, length)
    guess = checked
    if mask is not None:
        problem, guess = MissingProblem(checked, mask, length, nonnegative), observed_start(checked, mask)
    elif nonnegative:
        problem = NonnegativeProblem(checked, length, rng)
    starts: Iterable[Sequence[Array]] = (nonnegative_starts if nonnegative else starts_of)(guess, rank, n_restarts, rng)
    if owner(checked) is not None:  # products are of the tensor's precision there, and errors are judged by it
        starts = ([factor.astype(checked.dtype, copy=False) for factor in start] for start in starts)
    return _fit(screened(problem, starts, max_iters=max_iters, tol=tol, listen=listen))


def screened(
    problem: Problem, starts: Iterable[Sequence[Array]], *, max_iters: int, tol: float, listen: Listen | None
) -> list[Course]:
    """A few sweeps from each start, then the best to the end: the courses, the best first."""
    candidates = list(starts)
    if len(candidates) == 1:
        return [run(problem, candidates[0], max_iters=max_iters, tol=tol, listen=listen)]
    few = min(_SCREENING, max_iters)
    courses = best_of([run(problem, start, max_iters=few, tol=tol) for start in candidates])
    best = courses[0]
    if listen is not None:
        for error in best.errors:
            listen(error)
    if best.stopped == "max_iters" and few < max_iters:
        best = run(problem, best.factors, max_iters=max_iters - few, tol=tol, listen=listen, before=best.errors)
    return [best, *courses[1:]]


def _fit(courses: list[Course]) -> CPFit:
    best = courses[0]
    warnings: list[str] = []
    if best.stopped == "diverged":
        warnings.append("the iteration reached values that are not finite; the factors are those before that")
    elif any(is_singular(hadamard(grams_of(best.factors), mode)) for mode in range(len(best.factors))):
        warnings.append("the components are linearly dependent; a smaller rank gives the same error")
    warnings += [text for text in best.warnings if text not in warnings]
    return cp_fit(
        np.ones(best.factors[0].shape[1]),
        best.factors,
        best.errors,
        best.stopped,
        n_restarts=len(courses),
        restart_errors=[course.error for course in courses],
        warnings=warnings,
    )


def _nothing(shape: Sequence[int], rank: int) -> CPFit:
    """The model of a tensor of zeros: weights 0, and any columns of length 1."""
    factors = [np.full((size, rank), 1 / math.sqrt(size)) for size in shape]
    return cp_fit(np.zeros(rank), factors, [0.0], "exact")


def _counted(on_sweep: OnSweep | None) -> Listen | None:
    if on_sweep is None:
        return None
    count = 0

    def listen(error: float) -> None:
        nonlocal count
        count += 1
        on_sweep(count, error)

    return listen


def _checked(tensor: Array | SparseTensor, rank: int, n_restarts: int, mask: Array | None, compress: bool | str) -> Any:
    """The tensor as real floating point; ValueError where the arguments do not go together."""
    if not isinstance(tensor, SparseTensor):
        tensor = floating(tensor)
        if tensor.dtype.kind == "c":
            raise ValueError("CP of complex values is not supported; Tucker takes them")
    shape = tensor.shape
    if len(shape) == 0 or math.prod(shape) == 0:
        raise ValueError(f"a tensor of shape {shape} holds nothing to decompose")
    most = min(math.prod(shape) // size for size in shape)
    if not 1 <= rank <= most:
        raise ValueError(f"rank is {rank}; a tensor of shape {shape} has a CP rank between 1 and {most}")
    if n_restarts < 1:
        raise ValueError(f"n_restarts is {n_restarts}; at least one start is needed")
    if compress not in (True, False, "auto"):
        raise ValueError(f"compress is {compress!r}; it is True, False or 'auto'")
    if mask is not None and isinstance(tensor, SparseTensor):
        raise ValueError("a sparse tensor takes no mask; entries that are not stored are zeros")
    if mask is not None and owner(tensor) is not None:
        raise ValueError("a tensor of a GPU takes no mask; missing values are fitted on the host")
    if compress is True and (mask is not None or isinstance(tensor, SparseTensor)):
        raise ValueError("compress=True needs a dense tensor without missing values")
    return tensor
