"""Products of a stack of matrices with one matrix: in register tiles where that one is narrow, else by the BLAS.

Measured on one core with AVX-512, tensors of 128^3 and 256^3 float64 times 10, 20 and 50 columns: 1.5 to 2.5 times the
rate of OpenBLAS 0.3.31, which packs the tensor.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from tdtool.kernels.skinny_cpu import left_products, right_products
from tdtool.kernels.threads import READING, blocks, pays, run_parallel
from tdtool.kernels.vector_size import VECTOR_BYTES

Array = NDArray[Any]

#: The most columns of a narrow matrix; the fewest multiplications for which tiles are set up; entries of a workspace.
_NARROW, _FEWEST, _WORK = 128, 2**14, 2**15
#: Rows that are worth a thread: whole tiles, and few enough cuts through them.
_ROWS = 64
_SETTINGS: Any = numba.config
_entries: dict[tuple[str, str], Callable[[Array, Array, Array], None]] = {}


def multiply_right(stack: Array, matrix: Array, out: Array) -> None:
    """out[l] = stack[l] @ matrix. stack : (L, M, P); matrix : (P, R); out : (L, M, R); any strides, no overlap."""
    rank = matrix.shape[1]
    if not _suits(stack, matrix, out, rank):
        np.matmul(stack, matrix, out=out)
        return
    _multiply_padded(stack, _padded(matrix), rank, out)


def multiply_rows(tensor: Array, matrix: Array, out: Array) -> None:
    """out = tensor @ matrix, rows of a large tensor by several threads. tensor : (M, P); matrix : (P, R); out : (M, R).

    Any strides, no overlap.
    """
    rank = matrix.shape[1]
    work = float(tensor.size) * (rank + READING)
    if not pays(work):
        multiply_right(tensor[None], matrix, out[None])
        return
    suits = _suits(tensor, matrix, out, rank)
    padded = _padded(matrix) if suits else matrix

    def part(rows: slice) -> None:
        if suits:
            _multiply_padded(tensor[None, rows], padded, rank, out[None, rows])
        else:
            np.matmul(tensor[rows], matrix, out=out[rows])

    run_parallel([functools.partial(part, rows) for rows in blocks(len(tensor), work, least=_ROWS)])


def _padded(matrix: Array) -> Array:
    """The matrix (P, R) with columns of zeros up to whole vector registers."""
    rank, lanes = matrix.shape[1], VECTOR_BYTES // matrix.itemsize
    padded = np.zeros((matrix.shape[0], -(-rank // lanes) * lanes), matrix.dtype)
    padded[:, :rank] = matrix
    return padded


def _multiply_padded(stack: Array, padded: Array, rank: int, out: Array) -> None:
    width = padded.shape[1]
    entry = _entry(right_products, out.dtype)
    if width == rank and out.strides[2] == out.itemsize:
        entry(stack, padded, out)
        return
    rows = min(max(_WORK // width, 1), stack.shape[1])
    deep = max(_WORK // (width * rows), 1) if rows == stack.shape[1] else 1
    work = np.empty((deep, rows, width), out.dtype)
    for l in range(0, stack.shape[0], deep):
        for m in range(0, stack.shape[1], rows):
            part = stack[l : l + deep, m : m + rows]
            product = work[: part.shape[0], : part.shape[1]]
            entry(part, padded, product)
            out[l : l + deep, m : m + rows] = product[:, :, :rank]


def multiply_left(matrix: Array, stack: Array, out: Array) -> None:
    """out[l] = matrix @ stack[l]. matrix : (R, P); stack : (L, P, S); out : (L, R, S); any strides, no overlap."""
    lanes = VECTOR_BYTES // out.itemsize
    neighbours = stack.strides[2] == out.strides[2] == out.itemsize
    if stack.shape[2] < lanes or not neighbours or not _suits(stack, matrix, out, matrix.shape[0]):
        np.matmul(matrix, stack, out=out)
        return
    entry = _entry(left_products, out.dtype)
    whole = stack.shape[2] // lanes * lanes
    entry(stack[:, :, :whole], matrix, out[:, :, :whole])
    if whole < stack.shape[2]:
        # One vector that ends with the rows; what it shares with the others comes out the same.
        entry(stack[:, :, -lanes:], matrix, out[:, :, -lanes:])


def _suits(stack: Array, matrix: Array, out: Array, rank: int) -> bool:
    same = stack.dtype == matrix.dtype == out.dtype and out.dtype.char in "fd"
    return same and rank <= _NARROW and stack.size * rank >= _FEWEST and stack.flags.aligned and matrix.flags.aligned


def _entry(function: Any, dtype: np.dtype[Any]) -> Callable[[Array, Array, Array], None]:
    """The kernel compiled for arrays of a dtype whatever their layout: once, not once for each layout there is."""
    key = (function.__name__, dtype.char)
    if key not in _entries:
        number = numba.from_dtype(dtype)
        stacks, matrix = numba.types.Array(number, 3, "A"), numba.types.Array(number, 2, "A")
        compiled = function if _SETTINGS.DISABLE_JIT else function.compile(numba.void(stacks, matrix, stacks))
        _entries[key] = compiled
    return _entries[key]
