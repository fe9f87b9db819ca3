"""Batched matrix products by a BLAS on memory described by strides: scipy's own, or MKL.

The loop over the batch is compiled and calls ?gemm through its address, given as a number, so that compiled code can be
kept from run to run and does not depend on which BLAS it is.
"""

from __future__ import annotations

import ctypes
import math
from collections.abc import Callable, Sequence
from typing import Any

import numba
import numpy as np
from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic, overload
from numpy.typing import NDArray

from tdtool.kernels.backend import jit
from tdtool.kernels.gemm_address import address, compile_entry, pointer
from tdtool.kernels.gemm_blas import gemm_address

Array = NDArray[Any]
Entry = Callable[[Array, Array, Array, NDArray[np.int64]], int]

#: Places in the parameter vector: addresses, whether the factors are transposed, M, N, K and the three leading
#: dimensions, where to begin in bytes; then which turns of the loops to take, and the table of loops (size and three
#: steps in bytes each).
_FUNCTION, _ONE, _ZERO, _TURNED, _SIZES, _OFFSETS = 0, 1, 2, 3, 5, 11
FIRST_TURN, LAST_TURN = 14, 15
_ADD, _N_LOOPS, _LOOPS = 16, 17, 18
_LARGEST = 2**31 - 1
_SETTINGS: Any = numba.config

# 1 and 0 of each dtype, side by side: what alpha and beta point to. Kept for as long as parameters may name them.
_SCALAR_VALUES = {char: np.array([1, 0], char) for char in "fdFD"}


def strided_gemm(
    left: Array,
    right: Array,
    out: Array,
    shape: tuple[int, int, int],
    strides: tuple[tuple[int, int], tuple[int, int], tuple[int, int]],
    *,
    loops: Sequence[tuple[int, int, int, int]] = (),
    offsets: tuple[int, int, int] = (0, 0, 0),
    accumulate: bool = False,
    blas: str = "openblas",
) -> None:
    """out[i, j] = sum_p left[i, p] right[p, j], repeated over loops; with `accumulate` it is added.

    left, right, out : arrays of one dtype (float32, float64, complex64, complex128), taken as memory from their first
    entry on. shape : (rows M, columns N, sums K). strides : in entries, (row, sum) of left, (sum, column) of right,
    (row, column) of out; in each one must be 1, and the other positive and large enough.
    loops : (size, left, right, out) steps in entries; a loop with out = 0 adds up. blas : "openblas" | "mkl".

    Raises ValueError for dtypes or strides that a BLAS does not take, and for an MKL that is not installed.
    """
    if not (left.dtype == right.dtype == out.dtype) or out.dtype.char not in _SCALAR_VALUES:
        raise ValueError(f"dtypes {left.dtype}, {right.dtype} and {out.dtype}; need one of float32/64 or complex64/128")
    if min(shape) < 1 or any(loop[0] < 1 for loop in loops):
        raise ValueError(f"shape {shape} and loops {tuple(loops)} must be positive")
    parameters, turned = gemm_parameters(
        out.dtype, shape, strides, loops, offsets=offsets, accumulate=accumulate, blas=blas
    )
    first, second = (right, left) if turned else (left, right)
    gemm_entry()(first, second, out, parameters)


def gemm_parameters(
    dtype: np.dtype[Any],
    shape: tuple[int, int, int],
    strides: tuple[tuple[int, int], tuple[int, int], tuple[int, int]],
    loops: Sequence[tuple[int, int, int, int]],
    *,
    offsets: tuple[int, int, int] = (0, 0, 0),
    accumulate: bool = False,
    blas: str = "openblas",
) -> tuple[NDArray[np.int64], bool]:
    """The parameter vector of gemm_entry, and whether its left factor is the second one (out is stored by rows)."""
    (m, n, k), (left, right, out) = shape, strides
    turned = not _by_columns(out, m, n)
    if turned:
        m, n, left, right, out = n, m, right[::-1], left[::-1], out[::-1]
        loops = [(size, two, one, three) for size, one, two, three in loops]
    turns = [not _by_columns(left, m, k), not _by_columns(right, k, n)]
    leads = [
        _lead(left[::-1] if turns[0] else left, k if turns[0] else m, m if turns[0] else k),
        _lead(right[::-1] if turns[1] else right, n if turns[1] else k, k if turns[1] else n),
        _lead(out, m, n),
    ]
    if max(m, n, k, *leads) > _LARGEST:
        raise ValueError(f"sizes {shape} with steps {leads} are beyond what a BLAS with 32-bit sizes takes")
    one = _SCALAR_VALUES[dtype.char].ctypes.data
    begins = [offset * dtype.itemsize for offset in ((offsets[1], offsets[0], offsets[2]) if turned else offsets)]
    count = math.prod(loop[0] for loop in loops)
    header = [gemm_address(dtype.char, blas), one, one + dtype.itemsize, *turns, m, n, k, *leads, *begins]
    steps = [value for size, *steps in loops for value in (size, *(step * dtype.itemsize for step in steps))]
    return np.array([*header, 0, count, accumulate, len(loops), *steps], np.int64), turned


def gemm_entry() -> Entry:
    """A function of (left, right, out, parameters) that runs the products."""
    if _SETTINGS.DISABLE_JIT:
        return _run_uncompiled
    if not _ENTRY:
        _ENTRY.append(compile_entry(_run, 4))
    return _ENTRY[0]


_ENTRY: list[Entry] = []


def _by_columns(strides: tuple[int, int], n_rows: int, n_columns: int) -> bool:
    """Whether a matrix is stored as columns of contiguous entries."""
    return (strides[0] == 1 or n_rows == 1) and (strides[1] >= n_rows or n_columns == 1)


def _lead(strides: tuple[int, int], n_rows: int, n_columns: int) -> int:
    """The step from column to column."""
    if not _by_columns(strides, n_rows, n_columns):
        raise ValueError(
            f"strides {strides} of a ({n_rows}, {n_columns}) matrix: a BLAS needs contiguous columns or rows"
        )
    return strides[1] if n_columns > 1 else max(n_rows, 1)


@jit
def _run(left, right, out, parameters):  # type: ignore[no-untyped-def]
    numbers = numba.carray(pointer(address(parameters)), (1 << 58,), np.int64)
    _products(address(left), address(right), address(out), numbers)
    return 1


def _run_uncompiled(left: Array, right: Array, out: Array, parameters: NDArray[np.int64]) -> int:
    _products(left.ctypes.data, right.ctypes.data, out.ctypes.data, parameters)
    return 1


@jit
def _products(left, right, out, numbers):  # type: ignore[no-untyped-def]
    """Call the BLAS at every turn of the loops; what a sum's loop brings after its first turn is added."""
    for turn in range(numbers[FIRST_TURN], numbers[LAST_TURN]):
        a, b, c = left + numbers[_OFFSETS], right + numbers[_OFFSETS + 1], out + numbers[_OFFSETS + 2]
        rest, adds = turn, numbers[_ADD] != 0
        for loop in range(numbers[_N_LOOPS]):
            row = _LOOPS + 4 * loop
            place = rest % numbers[row]
            rest //= numbers[row]
            a += place * numbers[row + 1]
            b += place * numbers[row + 2]
            c += place * numbers[row + 3]
            adds = adds or (place > 0 and numbers[row + 3] == 0)
        call_gemm(numbers, a, b, c, numbers[_ONE if adds else _ZERO])


def call_gemm(numbers, left, right, out, beta):  # type: ignore[no-untyped-def]
    """One ?gemm: out = left right + beta out, all at addresses. numbers : the parameter vector."""
    turned = [ctypes.c_char(b"T" if value else b"N") for value in numbers[_TURNED : _TURNED + 2]]
    sizes = [ctypes.c_int(int(value)) for value in numbers[_SIZES : _SIZES + 6]]
    m, n, k, left_lead, right_lead, out_lead = map(ctypes.byref, sizes)
    one, a, b, scale, c = (ctypes.c_void_p(int(value)) for value in (numbers[_ONE], left, right, beta, out))
    function = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * 13)(int(numbers[_FUNCTION]))
    function(*map(ctypes.byref, turned), m, n, k, one, a, left_lead, b, right_lead, scale, c, out_lead)


@overload(call_gemm)
def _call_gemm(numbers, left, right, out, beta):  # type: ignore[no-untyped-def]
    def compiled(numbers, left, right, out, beta):  # type: ignore[no-untyped-def]
        _call_at(numbers, left, right, out, beta)

    return compiled


@intrinsic
def _call_at(typing, numbers, left, right, out, beta):  # type: ignore[no-untyped-def]
    """Store letters and 32-bit sizes, and call the function whose address is in `numbers` with pointers to them."""

    def emit(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        byte, word = ir.IntType(8), ir.IntType(32)
        table = context.make_array(signature.args[0])(context, builder, arguments[0]).data

        def number(place: int) -> Any:
            return builder.load(builder.gep(table, [ir.IntType(64)(place)]))

        def stored(value: Any) -> Any:
            place = cgutils.alloca_once(builder, value.type)
            builder.store(value, place)
            return builder.bitcast(place, byte.as_pointer())

        def letter(place: int) -> Any:
            is_turned = builder.icmp_signed("!=", number(place), ir.IntType(64)(0))
            return stored(builder.select(is_turned, byte(ord("T")), byte(ord("N"))))

        def at(value: Any) -> Any:
            return builder.inttoptr(value, byte.as_pointer())

        m, n, k, *leads = (stored(builder.trunc(number(place), word)) for place in range(_SIZES, _SIZES + 6))
        function = ir.FunctionType(ir.VoidType(), [byte.as_pointer()] * 13)
        called = builder.inttoptr(number(_FUNCTION), function.as_pointer())
        left, right, out, beta = (at(value) for value in arguments[1:])
        letters = [letter(_TURNED), letter(_TURNED + 1)]
        builder.call(
            called, [*letters, m, n, k, at(number(_ONE)), left, leads[0], right, leads[1], beta, out, leads[2]]
        )
        return context.get_dummy_value()

    return types.void(numbers, left, right, out, beta), emit
