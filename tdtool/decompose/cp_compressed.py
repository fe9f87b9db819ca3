"""CP of a large dense tensor by way of its small Tucker core, then on the tensor itself.

Letters: N order, I_n size of mode n, R rank.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tdtool.decompose.cp_start import dense_starts
from tdtool.decompose.cp_sweeps import Course, FullProblem, Listen, best_of, run
from tdtool.decompose.matching import factor_match_score
from tdtool.decompose.results import cp_fit
from tdtool.decompose.tucker_start import start, widened
from tdtool.decompose.tucker_sweeps import error_of, refine
from tdtool.kernels.arrays import to_host
from tdtool.kernels.modes import norm
from tdtool.kernels.sparse_tensor import SparseTensor

Array = NDArray[Any]

#: Directions of each mode beyond the rank.
_EXTRA = 2
#: A core this many times smaller than the tensor is worth its making.
_WORTH_RATIO = 4
#: Iterations in the core go on to a share of the tolerance, and for as many more sweeps: they cost nearly nothing.
_CORE_TOL, _CORE_SWEEPS = 0.01, 3
#: Two starts as good as each other to this share of the error, of a lower factor match score than this, are a warning.
_AS_GOOD, _ALIKE = 1e-3, 0.9


def worth_compressing(tensor: Array | SparseTensor, rank: int) -> bool:
    """Whether the core that R components need is much smaller than the tensor."""
    if isinstance(tensor, SparseTensor):
        return False
    return math.prod(_core_ranks(tensor.shape, rank)) * _WORTH_RATIO <= tensor.size


def compress_and_fit(
    tensor: Array,
    rank: int,
    length: float,
    max_iters: int,
    tol: float,
    n_restarts: int,
    rng: np.random.Generator,
    listen: Listen | None,
) -> list[Course]:
    """All starts to their end in the core, the best of them then on the tensor: the courses, the best first.

    All errors are those of the tensor: what lies outside of the core adds to the error inside it by Pythagoras.
    Source: Bro and Andersson 1998, "Improving the speed of multiway algorithms II: compression".
    """
    core, bases, turns = start(tensor, _core_ranks(tensor.shape, rank), rng)
    errors = [error_of(tensor, core, bases, length)]
    core, bases, errors, _ = refine(tensor, core, bases, turns, errors, length, max_iters=1, tol=tol)
    outside = (errors[-1] * length) ** 2
    core = to_host(core).astype(np.float64, copy=False)
    problem = FullProblem(core, norm(core), outside=outside)
    limits: dict[str, Any] = {"max_iters": _CORE_SWEEPS * max_iters, "tol": _CORE_TOL * tol}
    courses = best_of([run(problem, factors, **limits) for factors in dense_starts(core, rank, n_restarts, rng)])
    best = courses[0]
    if listen is not None:
        for error in best.errors:
            listen(error)
    factors = [
        (basis @ factor).astype(tensor.dtype, copy=False) for basis, factor in zip(bases, best.factors, strict=True)
    ]
    final = run(FullProblem(tensor, length), factors, max_iters=max_iters, tol=tol, listen=listen, before=best.errors)
    return [dataclasses.replace(final, warnings=_ambiguity(courses)), *courses[1:]]


def _core_ranks(shape: Sequence[int], rank: int) -> list[int]:
    ranks = [min(rank, size) for size in shape]
    return widened(shape, ranks, _EXTRA)


def _ambiguity(courses: list[Course]) -> tuple[str, ...]:
    """A warning where another start came as close with other components."""
    fits = [cp_fit(np.ones(course.factors[0].shape[1]), course.factors) for course in courses]
    for course, fit in zip(courses[1:], fits[1:], strict=True):
        if course.error <= courses[0].error * (1 + _AS_GOOD) + 1e-9:
            score, _ = factor_match_score(fits[0], fit)
            if score < _ALIKE:
                return (f"two starts reached the same error with different components (match {score:.2f} of 1)",)
    return ()
