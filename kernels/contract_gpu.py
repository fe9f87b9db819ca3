"""Contraction of tensors of the GPU: the checks of `contract`, then matrix products (gemm_gpu.py) or sums (pack.cu)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from tdtool.kernels.contract_equation import Equation, index_sizes, output_shape, pairwise_path, parse
from tdtool.kernels.device_gpu import DeviceArray, Gpu
from tdtool.kernels.gemm_gpu import choose, run_product
from tdtool.kernels.pack_gpu import copy_block, sum_products
from tdtool.kernels.plan import Mode, Plan, make_plan

_FLOATING = "fdFD"
#: A matrix times a vector goes to the library in at most so many calls; else one kernel of ours does it.
_MOST_CALLS = 4
#: So few sums of so many entries are cut by ours into parts for all processors.
_FEW, _LONG = 128, 1 << 16


def contract_on_gpu(
    gpu: Gpu,
    equation: str,
    operands: Sequence[DeviceArray],
    out: DeviceArray | None = None,
    threads: int | None = None,
    blas: str | None = None,
) -> DeviceArray:
    """What `contract` does, on arrays of one GPU; `threads` and `blas` say nothing there.

    Beside the result it takes a workspace of 32 MB or an eighth of the largest tensor, whichever is more, and only for
    layouts that the matrix library cannot read. The order of all sums depends on sizes, strides and the GPU alone.

    Raises ValueError for an equation, sizes, dtypes or `out` that do not fit; TypeError for arrays of the host among
    the operands; MemoryError.
    """
    if not all(gpu.owns(operand) for operand in operands) or not (out is None or gpu.owns(out)):
        raise TypeError(f"{equation}: some arrays are on the GPU and some are not; bring all to one side first")
    parsed = parse(equation)
    dtype = _common_dtype(operands)
    arrays = [operand.astype(dtype, copy=False) for operand in operands]
    sizes = index_sizes(parsed, [array.shape for array in arrays])
    target = _target(gpu, out, output_shape(parsed, sizes), dtype, arrays)
    if target.size:
        _into(gpu, parsed, arrays, target)
    if out is not None and target is not out:
        _copy(gpu, target, out)
        return out
    return target


def _common_dtype(operands: Sequence[DeviceArray]) -> np.dtype[Any]:
    dtypes = [np.dtype(np.float64) if operand.dtype.kind in "biu" else operand.dtype for operand in operands]
    for dtype in dtypes:
        if dtype.char not in _FLOATING:
            raise ValueError(f"dtype {dtype} cannot be contracted; use float32, float64, complex64 or complex128")
    return np.result_type(*dtypes)


def _target(
    gpu: Gpu, out: DeviceArray | None, shape: tuple[int, ...], dtype: np.dtype[Any], arrays: Sequence[DeviceArray]
) -> DeviceArray:
    """Where to write: a new array, `out` itself, or a new one because `out` may overlap an operand."""
    if out is None:
        return gpu.empty(shape, dtype)
    if out.shape != shape or out.dtype != dtype:
        raise ValueError(f"out is {out.dtype} of shape {out.shape}; the result is {dtype} of shape {shape}")
    reach = 1
    for step, size in sorted(zip(_strides(out, absolute=True), shape, strict=True)):
        if size > 1 and out.size:
            if step < reach:
                raise ValueError("several entries of out share one place in memory")
            reach += step * (size - 1)
    begin, end = _bounds(gpu, out)
    if any(begin < last and first < end for first, last in (_bounds(gpu, array) for array in arrays)):
        return gpu.empty(shape, dtype)
    return out


def _strides(array: DeviceArray, *, absolute: bool = False) -> tuple[int, ...]:
    """In entries. ValueError for a field of records, whose entries lie at other steps."""
    if any(step % array.itemsize for step in array.strides):
        raise ValueError(
            f"strides {array.strides} are no multiples of an entry's {array.itemsize} bytes; copy it first"
        )
    steps = tuple(step // array.itemsize for step in array.strides)
    return tuple(abs(step) for step in steps) if absolute else steps


def _bounds(gpu: Gpu, array: DeviceArray) -> tuple[int, int]:
    """The addresses of an array's first byte and of the one behind its last."""
    if array.size == 0:
        return 0, 0
    reaches = [step * (size - 1) for step, size in zip(array.strides, array.shape, strict=True)]
    at = gpu.pointer(array)
    return at + sum(min(reach, 0) for reach in reaches), at + sum(max(reach, 0) for reach in reaches) + array.itemsize


def _into(gpu: Gpu, equation: Equation, arrays: list[DeviceArray], out: DeviceArray) -> None:
    if len(arrays) == 1:
        _single(gpu, equation.inputs[0], equation.output, arrays[0], out)
    elif len(arrays) == 2:
        _pair(gpu, equation, arrays[0], arrays[1], out)
    else:
        left = list(arrays)
        for places, text in pairwise_path(equation, tuple(array.shape for array in arrays)):
            taken = [left.pop(place) for place in sorted(places, reverse=True)]
            left.append(contract_on_gpu(gpu, text, taken, None if left else out))


def _single(gpu: Gpu, letters: str, output: str, array: DeviceArray, out: DeviceArray) -> None:
    """One operand: its diagonals, its sums, or its modes in another order, in a fresh layout."""
    modes = _operand_modes(letters, output, array, out)
    kept, sums = (tuple(mode for mode in modes if (mode.labels in output) == wanted) for wanted in (True, False))
    if array.size == 0:
        out[...] = 0
    elif not sums:
        copy_block(gpu, array, out, tuple((mode.size, mode.left, mode.out) for mode in kept))
    else:
        one = gpu.to_device(np.ones(1, array.dtype))
        sum_products(gpu, array, one, out, kept, sums)


def _operand_modes(letters: str, output: str, array: DeviceArray, out: DeviceArray) -> list[Mode]:
    """One mode an index; the second operand is a single number."""
    steps, sizes = dict.fromkeys(letters, 0), dict(zip(letters, array.shape, strict=True))
    for letter, step in zip(letters, _strides(array), strict=True):
        steps[letter] += step
    places = dict(zip(output, _strides(out), strict=True))
    return [Mode(letter, sizes[letter], steps[letter], 0, places.get(letter, 0)) for letter in steps]


def _pair(gpu: Gpu, equation: Equation, left: DeviceArray, right: DeviceArray, out: DeviceArray) -> None:
    terms = equation.inputs
    left, first = _without_lonely(gpu, left, terms[0], terms[1] + equation.output)
    right, second = _without_lonely(gpu, right, terms[1], terms[0] + equation.output)
    if left.size == 0 or right.size == 0:
        out[...] = 0
        return
    reduced = f"{first},{second}->{equation.output}"
    strides = _strides(left), _strides(right)
    plan = make_plan(reduced, (left.shape, right.shape), strides, out.dtype.char, _strides(out))
    if plan.swapped:
        left, right = right, left
    if _is_product(plan):
        run_product(gpu, plan, left, right, out)
    else:
        sum_products(gpu, left, right, out, (*plan.rows, *plan.columns, *plan.batches), plan.sums)


def _is_product(plan: Plan) -> bool:
    """Whether the matrix library is to do it: not what is limited by memory, unless it reads it as it lies."""
    if plan.kind in ("flat", "batched", "exotic"):
        return True
    if plan.kind != "vector" or not (plan.rows or plan.columns):
        return False
    product, _ = choose(plan)
    n_kept, n_sums, n_calls = (
        math.prod(mode.size for mode in modes)
        for modes in ((*plan.rows, *plan.columns, *plan.batches), plan.sums, product.loops)
    )
    return n_calls <= _MOST_CALLS and not any(product.packed) and not (n_kept < _FEW and n_sums >= _LONG)


def _without_lonely(gpu: Gpu, array: DeviceArray, letters: str, others: str) -> tuple[DeviceArray, str]:
    """Sum over the indices that occur in this operand alone."""
    if set(letters) <= set(others):
        return array, letters
    kept = "".join(dict.fromkeys(letter for letter in letters if letter in others))
    sizes = dict(zip(letters, array.shape, strict=True))
    total = gpu.empty(tuple(sizes[letter] for letter in kept), array.dtype)
    if total.size:
        _single(gpu, letters, kept, array, total)
    return total, kept


def _copy(gpu: Gpu, source: DeviceArray, target: DeviceArray) -> None:
    steps = zip(source.shape, _strides(source), _strides(target), strict=True)
    copy_block(gpu, source, target, tuple(steps))
