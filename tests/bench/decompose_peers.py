"""Decomposes one tensor in a process of its own: `python -m tests.bench.decompose_peers TASK`.

Started by the benchmarks tucker and cp. Timed is the fitting call alone, on data in the system's own input form.
"""

from __future__ import annotations

import dataclasses
import gzip
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.bench.children import reports
from tests.bench.measure import Stopwatch, peak_rss_mb

Array = NDArray[Any]
#: A call that fits, and one that turns what it returned into (core or weights, factors).
Fit = tuple[Callable[[], Any], Callable[[Any], tuple[Array, list[Array]]]]

#: A planted component counts as found from this cosine, product over the modes.
_FOUND = 0.99


@dataclasses.dataclass(frozen=True)
class Task:
    """What to fit. kind : "tucker" | "cp" | "nonnegative" | "sparse"; case : "planted 240" or a file of `data`;
    rank : of each mode, or of the CP model; noise : relative to the planted signal; tol : change of the relative error
    in a sweep that ends it."""

    system: str
    kind: str
    case: str
    rank: int
    noise: float
    tol: float
    max_iters: int
    seed: int
    data: str


@dataclasses.dataclass
class Data:
    """tensor : dense, or the coordinates (N, nnz), values (nnz,) and shape of a sparse one; truth : (I, K) columns that
    the factor of mode `truth_mode` should show, each from `found` on."""

    tensor: Any
    truth: Array | None = None
    truth_mode: int = 0
    found: float = _FOUND
    centred: bool = False


def load(task: Task) -> Data:
    """The tensor of a task; the same in every process."""
    if task.case.startswith("planted"):
        size = int(task.case.split()[1])
        return _planted(task, size, np.random.default_rng(task.seed))
    path = Path(task.data) / task.case
    if path.name.endswith(".tns.gz"):
        with gzip.open(path, "rt") as lines:
            rows = np.loadtxt(lines, ndmin=2)
        places = rows[:, :-1].T.astype(np.int64) - 1
        return Data((places, rows[:, -1], tuple(int(size) for size in places.max(axis=1) + 1)))
    with np.load(path) as arrays:
        if "endmembers" in arrays:
            return Data(arrays["X"].astype(np.float64), arrays["endmembers"], truth_mode=2, found=0.9, centred=True)
        return Data(arrays["X"].astype(np.float64), arrays["Y"], found=0.998, centred=True)


def _planted(task: Task, size: int, rng: np.random.Generator) -> Data:
    bases = [np.linalg.qr(rng.standard_normal((size, task.rank)))[0] for _ in range(3)]
    if task.kind == "tucker":
        tensor = np.einsum("abc,ia,jb,kc->ijk", rng.standard_normal((task.rank,) * 3), *bases, optimize=True)
    else:
        bases = [bases[0]] * 3
        tensor = np.einsum("r,ir,jr,kr->ijk", np.linspace(2, 1, task.rank), *bases, optimize=True)
    noise = rng.standard_normal(tensor.shape)
    noise *= task.noise * np.linalg.norm(tensor) / np.linalg.norm(noise)
    tensor += noise
    return Data(np.ascontiguousarray(tensor), bases[0] if task.kind != "tucker" else None)


def prepare_tdtool(task: Task, data: Data) -> Fit:
    """Ours; the kernels are compiled by a small fit beforehand."""
    from tdtool.decompose.cp import cp_als
    from tdtool.decompose.tucker import tucker_als
    from tdtool.kernels.sparse_tensor import SparseTensor

    limits: dict[str, Any] = {"max_iters": task.max_iters, "tol": task.tol}
    warm = np.random.default_rng(0).random((40, 41, 42))
    if task.kind == "tucker":
        tucker_als(warm, (2, 2, 2))
        ranks = [task.rank] * 3
        return lambda: tucker_als(data.tensor, ranks, **limits), lambda fit: (fit.core, list(fit.factors))
    nonnegative = task.kind == "nonnegative"
    cp_als(warm, 2, nonnegative=nonnegative)
    tensor = data.tensor
    if task.kind == "sparse":
        cp_als(SparseTensor.from_coo(np.nonzero(warm > 0.9), warm[warm > 0.9], warm.shape), 2, max_iters=3)
        tensor = SparseTensor.from_coo(*data.tensor)
    rng = np.random.default_rng(task.seed)
    return (
        lambda: cp_als(tensor, task.rank, nonnegative=nonnegative, rng=rng, **limits),
        lambda fit: (fit.weights, list(fit.factors)),
    )


def prepare_pyttb(task: Task, data: Data) -> Fit:
    """Its defaults (random start), with the common stopping rule."""
    import pyttb

    limits: dict[str, Any] = {"stoptol": task.tol, "maxiters": task.max_iters, "printitn": 0}
    np.random.seed(task.seed)  # noqa: NPY002 it draws from the global generator
    if task.kind == "sparse":
        places, values, shape = data.tensor
        tensor = pyttb.sptensor(places.T.copy(), values[:, None].copy(), shape)
    else:
        tensor = pyttb.tensor(data.tensor)
    if task.kind == "tucker":
        return (
            lambda: pyttb.tucker_als(tensor, task.rank, **limits)[0],
            lambda fit: (fit.core.double(), list(fit.factor_matrices)),
        )
    return (
        lambda: pyttb.cp_als(tensor, task.rank, **limits)[0],
        lambda fit: (fit.weights, list(fit.factor_matrices)),
    )


def prepare_tensorly(task: Task, data: Data) -> Fit:
    """Its defaults (start by SVD) on numpy, with the common stopping rule."""
    return _tensorly(task, data)


def prepare_tensorly_randomised(task: Task, data: Data) -> Fit:
    """The same with a randomised SVD for the start (Tucker: for every factor)."""
    return _tensorly(task, data, svd="randomized_svd")


def _tensorly(task: Task, data: Data, **settings: Any) -> Fit:
    from tensorly import decomposition

    limits: dict[str, Any] = {"n_iter_max": task.max_iters, "tol": task.tol} | settings
    if task.kind == "tucker":
        ranks = [task.rank] * 3
        return lambda: decomposition.tucker(data.tensor, ranks, **limits), lambda fit: (fit[0], list(fit[1]))
    if task.kind == "nonnegative":
        return (
            lambda: decomposition.non_negative_parafac_hals(data.tensor, task.rank, **limits),
            lambda fit: (fit[0], list(fit[1])),
        )
    return (
        lambda: decomposition.parafac(data.tensor, task.rank, random_state=task.seed, **limits),
        lambda fit: (fit[0], list(fit[1])),
    )


def quality(task: Task, data: Data, head: Array, factors: list[Array]) -> dict[str, float]:
    """residual : norm(X - Xhat) / norm(X), from the difference itself; fit; matched : share of the truth found."""
    residual = _sparse_residual(data.tensor, head, factors) if task.kind == "sparse" else _residual(data, head, factors)
    found = {"residual": residual, "fit": 1 - residual}
    if data.truth is not None:
        factor = factors[data.truth_mode]
        found["matched"] = float(np.mean(_cosines(data.truth, factor, data.centred) >= data.found))
    return found


def _cosines(truth: Array, factor: Array, centred: bool) -> Array:
    """(K,) the largest |cosine| (centred: correlation) of each true column with a column found."""
    if centred:
        truth, factor = truth - truth.mean(axis=0), factor - factor.mean(axis=0)
    truth = truth / np.linalg.norm(truth, axis=0)
    lengths = np.linalg.norm(factor, axis=0)
    return np.abs(truth.T @ (factor / np.where(lengths > 0, lengths, 1))).max(axis=1)


def _residual(data: Data, head: Array, factors: Sequence[Array]) -> float:
    rest = head.ndim > 1
    total = 0.0
    for row, slab in enumerate(data.tensor):
        if rest:
            inner = np.tensordot(factors[0][row], head, 1)
            model = factors[1] @ inner @ factors[2].T
        else:
            model = (factors[1] * (head * factors[0][row])) @ factors[2].T
        total += float(np.sum((slab - model) ** 2))
    return float(np.sqrt(total) / np.linalg.norm(data.tensor))


def _sparse_residual(tensor: tuple[Array, Array, Any], weights: Array, factors: Sequence[Array]) -> float:
    places, values, _ = tensor
    model = np.zeros(values.size)
    for r, weight in enumerate(weights):
        model += weight * np.prod([factor[place, r] for place, factor in zip(places, factors, strict=True)], axis=0)
    grams = np.prod([factor.T @ factor for factor in factors], axis=0)
    squared = values @ values
    return float(np.sqrt(max(squared - 2 * values @ model + weights @ grams @ weights, 0.0) / squared))


PREPARE = {
    "tdtool": prepare_tdtool,
    "pyttb": prepare_pyttb,
    "tensorly": prepare_tensorly,
    "tensorly randomised": prepare_tensorly_randomised,
}


def main(task: Task, report: Callable[..., None]) -> None:
    """Fit and say how long it took and how good it is."""
    data = load(task)
    fit, unpack = PREPARE[task.system](task, data)
    report(started=True)
    with Stopwatch() as watch:
        fitted = fit()
    peak = peak_rss_mb()
    head, factors = unpack(fitted)
    scores = quality(task, data, np.asarray(head), [np.asarray(factor) for factor in factors])
    report(seconds=watch.seconds, cpu_seconds=watch.cpu_seconds, peak_rss_mb=peak, quality=scores)


if __name__ == "__main__":
    with reports() as send:
        main(Task(**json.loads(sys.argv[1])), send)
