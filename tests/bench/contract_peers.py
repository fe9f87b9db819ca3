"""Times one system's contractions in a process of its own: `python -m tests.bench.contract_peers TASK`.

Every system gets operands in its own form beforehand, and has to deliver the result in the memory order of the case:
one that returns a transposed view is asked for a contiguous copy. Timed are whole calls that return a new array.
"""

from __future__ import annotations

import dataclasses
import functools
import importlib
import json
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.bench.children import reports
from tests.bench.measure import peak_rss_mb

Array = NDArray[Any]
Call = Callable[[], Any]
#: (equation, operands) -> the call to be timed, and what makes its result a numpy array.
Maker = Callable[[str, list[Array]], tuple[Call, Callable[[Any], Array]]]

_ROUNDS = 5
#: Calls that take longer are timed less often.
_LONG_SECONDS, _LONG_ROUNDS = 0.05, 2
#: Beyond this many entries of all indices together the check looks at a slice of the result.
_CHECKED_ENTRIES = 1 << 22


@dataclasses.dataclass(frozen=True)
class Task:
    """What to time. cases : (name, n, kind of work, equation or description); seconds : of timing for each."""

    system: str
    cases: list[tuple[str, int, str]]
    dtype: str
    seconds: float


def made_by_einsum(einsum: Callable[..., Any]) -> Maker:
    """A system whose function is called like numpy.einsum and takes numpy arrays."""

    def make(equation: str, operands: list[Array]) -> tuple[Call, Callable[[Any], Array]]:
        return lambda: np.ascontiguousarray(einsum(equation, *operands)), np.asarray

    return make


def tdtool() -> Maker:
    """Ours."""
    return made_by_einsum(importlib.import_module("tdtool.kernels.contract").contract)


def tdtool_mkl() -> Maker:
    """Ours, with the matrix products of the same plan by MKL where it takes them."""
    contract = importlib.import_module("tdtool.kernels.contract").contract
    return made_by_einsum(lambda equation, *operands: contract(equation, *operands, blas="mkl"))


def tdtool_openblas() -> Maker:
    """Ours, with the matrix products of the same plan by scipy's BLAS where it takes them."""
    contract = importlib.import_module("tdtool.kernels.contract").contract
    return made_by_einsum(lambda equation, *operands: contract(equation, *operands, blas="openblas"))


def numpy_einsum() -> Maker:
    """numpy's own loops."""
    return made_by_einsum(np.einsum)


def numpy_optimize() -> Maker:
    """numpy.einsum with optimize=True: tensordot where it fits."""
    return made_by_einsum(lambda equation, *operands: np.einsum(equation, *operands, optimize=True))


def numpy_tensordot() -> Maker:
    """tensordot and a transposition, as one writes it by hand; the axes are found beforehand."""

    def make(equation: str, operands: list[Array]) -> tuple[Call, Callable[[Any], Array]]:
        inputs, output = equation.split("->")
        left, right = inputs.split(",")
        axes = [left.index(x) for x in left if x in right], [right.index(x) for x in left if x in right]
        found = [x for x in left + right if not (x in left and x in right)]
        order = [found.index(x) for x in output]
        one, two = operands
        return lambda: np.ascontiguousarray(np.tensordot(one, two, axes).transpose(order)), np.asarray

    return make


def torch_einsum() -> Maker:
    """torch on the CPU, on tensors that share the arrays' memory."""
    torch = importlib.import_module("torch")

    def make(equation: str, operands: list[Array]) -> tuple[Call, Callable[[Any], Array]]:
        tensors = [torch.from_numpy(operand) for operand in operands]
        return lambda: torch.einsum(equation, *tensors).contiguous(), lambda result: np.asarray(result.numpy())

    return make


def opt_einsum() -> Maker:
    """opt_einsum on numpy; the expression is made beforehand."""
    module = importlib.import_module("opt_einsum")

    def make(equation: str, operands: list[Array]) -> tuple[Call, Callable[[Any], Array]]:
        expression = module.contract_expression(equation, *[operand.shape for operand in operands])
        return lambda: np.ascontiguousarray(expression(*operands)), np.asarray

    return make


def cotengra() -> Maker:
    """cotengra.einsum, which keeps its expressions itself."""
    return made_by_einsum(importlib.import_module("cotengra").einsum)


def pytblis() -> Maker:
    """TBLIS."""
    return made_by_einsum(importlib.import_module("pytblis").einsum)


def matmul() -> Maker:
    """Not a contraction: one product of (n, n) and (n, n^2) matrices by the BLAS that ours may call, as a yardstick."""
    blas = importlib.import_module("scipy.linalg.blas")

    def make(equation: str, operands: list[Array]) -> tuple[Call, Callable[[Any], Array]]:
        one, two = sorted(operands, key=lambda operand: operand.ndim)
        left, right = one.T, two.reshape(-1, two.shape[-1]).T
        gemm = blas.get_blas_funcs("gemm", (left, right))
        return lambda: gemm(1, left, right), lambda _: _by_blas(equation, operands)

    return make


def _by_blas(equation: str, operands: list[Array]) -> Array:
    """A right answer, for the yardstick that has none."""
    return np.ascontiguousarray(np.einsum(equation, *operands, optimize=True))


SYSTEMS: dict[str, Callable[[], Maker]] = {
    "tdtool": tdtool,
    "tdtool openblas": tdtool_openblas,
    "tdtool mkl": tdtool_mkl,
    "matmul": matmul,
    "numpy.einsum": numpy_einsum,
    "numpy optimize": numpy_optimize,
    "numpy.tensordot": numpy_tensordot,
    "torch": torch_einsum,
    "opt_einsum": opt_einsum,
    "cotengra": cotengra,
    "pytblis": pytblis,
}


def random_operands(equation: str, sizes: dict[str, int], dtype: str) -> list[Array]:
    """One C-ordered operand a term, cut from one row of random numbers: drawing anew would take long."""
    shapes = [tuple(sizes[letter] for letter in term) for term in equation.split("->")[0].split(",")]
    counts = [int(np.prod(shape)) for shape in shapes]
    drawn = _drawn(sum(counts), dtype)
    ends = np.cumsum(counts)
    return [drawn[end - count : end].reshape(shape) for end, count, shape in zip(ends, counts, shapes, strict=True)]


@functools.lru_cache(maxsize=1)
def _drawn(count: int, dtype: str) -> Array:
    return np.random.default_rng(0).standard_normal(count).astype(dtype)


def time_call(call: Call, seconds: float) -> tuple[float, float]:
    """The least seconds, and CPU seconds of this process, that one call took in any of several rounds."""
    start = time.perf_counter()
    call()
    once = max(time.perf_counter() - start, 1e-7)
    repeats = max(1, int(seconds / _ROUNDS / once))
    best, best_cpu = np.inf, np.inf
    for _ in range(_ROUNDS if once < _LONG_SECONDS else _LONG_ROUNDS):
        start, cpu = time.perf_counter(), time.process_time()
        for _ in range(repeats):
            call()
        best_cpu = min(best_cpu, (time.process_time() - cpu) / repeats)
        best = min(best, (time.perf_counter() - start) / repeats)
    return best, best_cpu


def error_of(equation: str, operands: list[Array], result: Array) -> float:
    """The largest deviation from np.einsum over the largest entry, on a slice where all of it would take long."""
    inputs, output = equation.split("->")
    terms = inputs.split(",")
    if not result.flags.c_contiguous:
        raise ValueError("the result is not in the order of the case")
    sizes = {
        x: size
        for term, operand in zip(terms, operands, strict=True)
        for x, size in zip(term, operand.shape, strict=True)
    }
    if np.prod(list(sizes.values()), dtype=float) > _CHECKED_ENTRIES:
        cut = {x: slice(sizes[x] // 2, sizes[x] // 2 + 1) for x in output[1:]}
        operands = [
            operand[tuple(cut.get(x, slice(None)) for x in term)] for term, operand in zip(terms, operands, strict=True)
        ]
        result = result[tuple(cut.get(x, slice(None)) for x in output)]
    expected = np.einsum(equation, *operands)
    return float(np.abs(result - expected).max() / np.abs(expected).max())


def timed_cases(task: Task) -> Iterator[dict[str, Any]]:
    """One message for each case."""
    make = SYSTEMS[task.system]()
    for name, n, equation in task.cases:
        operands = random_operands(equation, dict.fromkeys("mnpk", n), task.dtype)
        call, as_numpy = make(equation, operands)
        error = error_of(equation, operands, as_numpy(call()))
        seconds, cpu_seconds = time_call(call, task.seconds)
        yield {"case": name, "seconds": seconds, "cpu_seconds": cpu_seconds, "error": error}


def main() -> None:
    """Run the task of the command line."""
    task = Task(**json.loads(sys.argv[1]))
    module = importlib.import_module("tests.bench.contract_chains") if task.system.startswith("chain ") else None
    with reports() as report:
        report(started=True)
        for message in module.timed_chains(task) if module else timed_cases(task):
            report(**message, peak_rss_mb=peak_rss_mb())


if __name__ == "__main__":
    main()
