"""What contractions are tested against: the paper's table, layouts of arrays, and an emulated strided GEMM."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

from tdtool.kernels.plan import Gemm, Plan

Array = NDArray[Any]

#: Case -> (A, B) of C_mnp = A B, indices from the fastest to the slowest (Shi et al. 2016, table 2).
TABLE = {
    f"{row}.{column}": (matrix, tensor)
    for rows, tensors in (
        ({1: "mk", 2: "km"}, ("knp", "kpn", "nkp", "pkn", "npk", "pnk")),
        ({3: "nk", 4: "kn"}, ("kmp", "kpm", "mkp", "pkm", "mpk", "pmk")),
        ({5: "pk", 6: "kp"}, ("kmn", "knm", "mkn", "nkm", "mnk", "nmk")),
    )
    for row, matrix in rows.items()
    for column, tensor in enumerate(tensors, 1)
}
FLAT = {"1.1", "1.5", "2.1", "2.5", "5.1", "5.5", "6.1", "6.5"}
EXOTIC = {"3.4", "3.6", "4.4", "4.6", "5.4", "5.6", "6.4", "6.6"}


def c_ordered_equation(case: str) -> str:
    """The equation of a case between C-ordered arrays, whose indices read backwards."""
    matrix, tensor = TABLE[case]
    return f"{matrix[::-1]},{tensor[::-1]}->pnm"


def random_operands(equation: str, sizes: dict[str, int], rng: np.random.Generator, dtype: str = "d") -> list[Array]:
    """One C-ordered array a term, no two entries alike."""
    operands = []
    for term in equation.split("->")[0].split(","):
        values = rng.standard_normal([sizes[letter] for letter in term])
        if dtype in "FD":
            values = values + 1j * rng.standard_normal(values.shape)
        operands.append(np.asarray(values, dtype))
    return operands


def laid_out(array: Array, order: tuple[int, ...], steps: tuple[int, ...]) -> Array:
    """The same values as a view of a larger array: modes in memory as `order`, each with a step that may be negative.

    What lies between is NaN, so that reading beside the entries shows.
    """
    turned = array.transpose(order)
    buffer = np.full(
        [size * abs(step) + 1 for size, step in zip(turned.shape, steps, strict=True)], np.nan, array.dtype
    )
    starts = [slice(1, 1 + size * abs(step), abs(step)) for size, step in zip(turned.shape, steps, strict=True)]
    flips = tuple(slice(None, None, 1 if step > 0 else -1) for step in steps)
    view = buffer[(*starts, ...)][(*flips, ...)]
    view[...] = turned
    return view.transpose(np.argsort(order)) if order else view


def layouts(array: Array) -> Iterator[Array]:
    """Every order of the modes in memory, dense, with steps, and reversed."""
    for order in itertools.permutations(range(array.ndim)):
        for steps in ((1,) * array.ndim, (2, 1, 3)[: array.ndim], (-1, 1, -2)[: array.ndim], (1, -1, 1)[: array.ndim]):
            yield laid_out(array, order, steps)


def random_layout(array: Array, rng: np.random.Generator) -> Array:
    """One of the above, with more steps."""
    steps = rng.choice([1, 1, 1, 2, -1, -2], array.ndim).tolist()
    return laid_out(array, tuple(rng.permutation(array.ndim).tolist()), tuple(steps))


def emulated(plan: Plan, left: Array, right: Array) -> Array:
    """Run a plan as a strided batched GEMM would: pointers, sizes, steps and counts, nothing else."""
    first, second = (right, left) if plan.swapped else (left, right)
    out = np.zeros(plan.shape, plan.dtype)
    gemm = plan.gemm
    sizes = gemm.row.size, gemm.column.size, gemm.sum.size
    m, n, k = sizes
    for places in itertools.product(*(range(mode.size) for mode in gemm.loops)):
        begins = [
            sum(place * getattr(mode, side) for place, mode in zip(places, gemm.loops, strict=True))
            for side in ("left", "right", "out")
        ]
        a = matrix_at(first, begins[0], (m, k), (gemm.row.left, gemm.sum.left))
        b = matrix_at(second, begins[1], (k, n), (gemm.sum.right, gemm.column.right))
        c = matrix_at(out, begins[2], (m, n), (gemm.row.out, gemm.column.out))
        c += a @ b
    return out


def matrix_at(array: Array, begin: int, shape: tuple[int, int], strides: tuple[int, int]) -> Array:
    """A matrix in the memory of `array`, `begin` entries after its first one; entries must be the array's own."""
    places = begin + np.add.outer(np.arange(shape[0]) * strides[0], np.arange(shape[1]) * strides[1])
    assert set(places.ravel().tolist()) <= entry_places(array)
    item = array.itemsize
    memory, first = memory_of(array)
    return as_strided(memory[first + begin :], shape, (strides[0] * item, strides[1] * item))


def memory_of(array: Array) -> tuple[Array, int]:
    """All memory between the first and last entry, flat, and where in it entry 0 is."""
    lowest = array[(*(slice(None, None, -1 if step < 0 else 1) for step in array.strides), ...)]
    length = (
        1 + sum((size - 1) * step for size, step in zip(lowest.shape, lowest.strides, strict=True)) // array.itemsize
    )
    below = sum((size - 1) * -step for size, step in zip(array.shape, array.strides, strict=True) if step < 0)
    return as_strided(lowest, (length,), (array.itemsize,)), below // array.itemsize


def entry_places(array: Array) -> set[int]:
    """Where the entries are, counted from the first."""
    places = np.zeros(1, np.int64)
    for size, step in zip(array.shape, array.strides, strict=True):
        places = np.add.outer(places, np.arange(size) * (step // array.itemsize)).ravel()
    return set(places.tolist())


def is_blas_call(gemm: Gemm) -> bool:
    """Whether every matrix is contiguous columns or rows with a leading dimension that fits: what a BLAS accepts."""
    matrices = (
        (gemm.row.left, gemm.row.size, gemm.sum.left, gemm.sum.size),
        (gemm.sum.right, gemm.sum.size, gemm.column.right, gemm.column.size),
        (gemm.row.out, gemm.row.size, gemm.column.out, gemm.column.size),
    )
    return all(_columns(a, m, b, n) or _columns(b, n, a, m) for a, m, b, n in matrices)


def _columns(step: int, size: int, lead: int, count: int) -> bool:
    return (step == 1 or size == 1) and (lead >= size or count == 1)
