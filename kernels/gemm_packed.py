"""Call the packed product on numpy arrays: one compiled entry a precision, and a workspace for each thread."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numba
import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

from tdtool.kernels.backend import jit
from tdtool.kernels.gemm_address import address, compile_entry, has_layout, layout_of, pointer
from tdtool.kernels.gemm_packed_cpu import packed_product
from tdtool.kernels.gemm_places import (
    FLOAT_BYTES,
    LAYOUT_AT,
    LEFT_BASE,
    N_INTEGERS,
    OUT_BASE,
    PAIR,
    RIGHT_BASE,
    WORK_BYTES,
)

_SETTINGS: Any = numba.config
_ALIGNMENT = 64
_ENDLESS = 1 << 58
_local = threading.local()

Entry = Callable[[NDArray[Any], NDArray[Any], NDArray[Any], NDArray[Any], NDArray[Any]], int]


def packed_entry(real: np.dtype[Any]) -> Entry:
    """A function of (left, right, out, workspace, parameters) that runs packed_product on them.

    real : float32 or float64, of the numbers of all three. Offsets count from the data pointers; the bases in the
    parameters are how far the lowest offsets lie below those (they are added to every offset again). It returns 0, and
    has done nothing, when the parameters list a layout and one of the factors has another.
    """
    if _SETTINGS.DISABLE_JIT:
        return _run_uncompiled
    if real not in _ENTRIES:
        _ENTRIES[real] = compile_entry({"f": _single, "d": _double}[real.char], 5)
    return _ENTRIES[real]


_ENTRIES: dict[np.dtype[Any], Entry] = {}


def workspace() -> NDArray[np.uint8]:
    """This thread's workspace: WORK_BYTES bytes and what it takes to align them. Kept from call to call."""
    try:
        work: NDArray[np.uint8] = _local.work
    except AttributeError:
        work = _local.work = np.empty(WORK_BYTES + _ALIGNMENT, np.uint8)
    return work


@jit
def _double(left, right, out, work, parameters):  # type: ignore[no-untyped-def]
    numbers = numba.carray(pointer(address(parameters)), (_ENDLESS,), np.int64)
    if not _expected(left, right, numbers):
        return 0
    size = 8 * numbers[PAIR]
    place = (address(work) + _ALIGNMENT - 1) // _ALIGNMENT * _ALIGNMENT
    packed_product(
        numba.carray(pointer(address(left) - size * numbers[LEFT_BASE]), (_ENDLESS,), np.float64),
        numba.carray(pointer(address(right) - size * numbers[RIGHT_BASE]), (_ENDLESS,), np.float64),
        numba.carray(pointer(address(out) - size * numbers[OUT_BASE]), (_ENDLESS,), np.float64),
        numba.carray(pointer(place), (FLOAT_BYTES // 8,), np.float64),
        numba.carray(pointer(place + FLOAT_BYTES), (N_INTEGERS,), np.int64),
        numbers,
    )
    return 1


@jit
def _single(left, right, out, work, parameters):  # type: ignore[no-untyped-def]
    numbers = numba.carray(pointer(address(parameters)), (_ENDLESS,), np.int64)
    if not _expected(left, right, numbers):
        return 0
    size = 4 * numbers[PAIR]
    place = (address(work) + _ALIGNMENT - 1) // _ALIGNMENT * _ALIGNMENT
    packed_product(
        numba.carray(pointer(address(left) - size * numbers[LEFT_BASE]), (_ENDLESS,), np.float32),
        numba.carray(pointer(address(right) - size * numbers[RIGHT_BASE]), (_ENDLESS,), np.float32),
        numba.carray(pointer(address(out) - size * numbers[OUT_BASE]), (_ENDLESS,), np.float32),
        numba.carray(pointer(place), (FLOAT_BYTES // 4,), np.float32),
        numba.carray(pointer(place + FLOAT_BYTES), (N_INTEGERS,), np.int64),
        numbers,
    )
    return 1


@jit
def _expected(left, right, numbers):  # type: ignore[no-untyped-def]
    """Whether both factors have the layouts that are listed, if any are."""
    at = numbers[LAYOUT_AT]
    return at == 0 or (has_layout(left, numbers, at) and has_layout(right, numbers, at + 2 + 2 * numbers[at + 1]))


def _run_uncompiled(
    left: NDArray[Any], right: NDArray[Any], out: NDArray[Any], work: NDArray[Any], parameters: NDArray[Any]
) -> int:
    """The same where compilation is off."""
    layouts = layout_of(left) + layout_of(right)
    if parameters[LAYOUT_AT] and layouts != parameters[parameters[LAYOUT_AT] :].tolist():
        return 0
    real = np.empty(0, out.dtype).real.dtype
    floats, integers = work[:FLOAT_BYTES].view(real), np.empty(N_INTEGERS, np.int64)
    packed_product(*[flat_span(array).view(real) for array in (left, right, out)], floats, integers, parameters)
    return 1


def flat_span(array: NDArray[Any]) -> NDArray[Any]:
    """All memory from the lowest to the highest entry of `array`, flat, as a view."""
    flips = [slice(None, None, -1 if step < 0 else 1) for step in array.strides]
    lowest = array[tuple(flips)] if flips else array
    reach = sum((size - 1) * step for size, step in zip(lowest.shape, lowest.strides, strict=True))
    return as_strided(lowest, (reach // array.itemsize + 1,), (array.itemsize,))
