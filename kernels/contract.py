"""Contract tensors by an einsum equation, of any layouts, without copying or transposing them.

`contract("mk,knp->mnp", a, b)` is what numpy.einsum makes of it. Two tensors become one or many matrix products on
their own strides (plan.py); several are taken two by two, in the order that opt_einsum finds.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from tdtool.kernels.contract_equation import Equation, index_sizes, output_shape, pairwise_path, parse
from tdtool.kernels.contract_explain import explain
from tdtool.kernels.contract_gpu import contract_on_gpu
from tdtool.kernels.contract_pairwise import Step, ready_step
from tdtool.kernels.device_gpu import owner
from tdtool.kernels.gemm_packed import workspace
from tdtool.kernels.plan import make_plan

__all__ = ["contract", "explain"]

Array = NDArray[Any]

#: The most contractions whose plans are kept ready; the oldest makes room.
_MOST_READY = 1024
_ready: dict[Any, Step] = {}
_recent: dict[str, Step] = {}
_lock = threading.Lock()
_FLOATING = "fdFD"
_NUMPY, _empty = np.ndarray, np.empty  # names of this module are found sooner


def contract(
    equation: str, *operands: Array, out: Array | None = None, threads: int | None = None, blas: str | None = None
) -> Array:
    """Sum the product of `operands` over the indices that the output of `equation` does not have.

    operands : arrays of any order and strides, all on the host or all on the GPU: float32, float64, complex64,
    complex128 (mixed ones are converted to the common dtype, whole numbers to float64). An index may occur in any of
    them, also twice in one (its diagonal).
    out : array of the result's shape and dtype, any strides, to write to; it may overlap the operands.
    threads : at most so many; by default as many as BLAS may use (OPENBLAS_NUM_THREADS, threadpoolctl's limits).
    Returns a C-ordered array where the operands are, or `out`. Nothing as large as an operand is allocated beside it,
    unless the operands' dtypes differ, or an intermediate result of three or more operands needs it.

    Raises ValueError for an equation that cannot be read, sizes that differ, a dtype or `out` that does not fit;
    TypeError for arrays of a library that has no kernels here, and for arrays of the host beside arrays of the GPU.

    Source: Shi, Niranjan, Anandkumar, Cecka 2016, "Tensor contractions with extended BLAS kernels on CPU and GPU".
    """
    if out is None and blas is None and len(operands) == 2:
        left, right = operands
        if type(left) is _NUMPY and type(right) is _NUMPY:
            # The usual call has the layouts of the last one: the compiled code itself compares them.
            step = _recent.get(equation)
            if step is not None:
                result = _empty(step.shape, step.dtype)
                first, second = (right, left) if step.swapped else (left, right)
                if step.entry(first, second, result, workspace(), step.checked):
                    return result
            step = _ready.get(_key(equation, left, right))
            if step is not None:
                return _again(equation, step, left, right)
    gpu = next(filter(None, map(owner, operands)), None)
    if gpu is not None:
        return cast(Array, contract_on_gpu(gpu, equation, operands, out, threads, blas))
    return _EXECUTORS[_library(operands)](equation, operands, out, threads, blas)


def _library(operands: Sequence[Any]) -> str:
    """The library that owns the operands; lists and numbers are numpy's."""
    names = {type(operand).__module__.partition(".")[0] for operand in operands} - {"builtins"}
    names = names or {"numpy"}
    if len(names) > 1 or not names <= _EXECUTORS.keys():
        raise TypeError(
            f"no contraction for arrays of {', '.join(sorted(names))}; have {', '.join(sorted(_EXECUTORS))}"
        )
    return names.pop()


def _contract_numpy(
    equation: str, operands: Sequence[Any], out: Array | None, threads: int | None, blas: str | None
) -> Array:
    parsed = parse(equation)
    arrays = [_usable(operand) for operand in operands]
    sizes = index_sizes(parsed, [array.shape for array in arrays])
    dtype = np.result_type(*arrays)
    arrays = [array.astype(dtype, copy=False) for array in arrays]
    target = _target(out, output_shape(parsed, sizes), dtype, arrays)
    if len(arrays) == 1:
        np.einsum(str(parsed), arrays[0], out=target)
    elif len(arrays) == 2:
        step = _pair(parsed, arrays[0], arrays[1], target, threads, blas)
        if step is not None and step.is_small and out is None and blas is None and _same(arrays, operands):
            _remember(_ready, _key(equation, *arrays), step)
            if step.check(*arrays):
                _remember(_recent, equation, step)
    else:
        _several(parsed, arrays, target, threads, blas)
    if out is None or target is out:
        return target
    out[...] = target
    return out


def _usable(operand: Any) -> Array:
    """An array of one of the four dtypes in native byte order, whose strides are whole entries."""
    array = np.asarray(operand)
    if array.dtype.kind in "biu":
        return array.astype(np.float64)
    native = array.dtype.newbyteorder("=")
    if native.char not in _FLOATING:
        raise ValueError(f"dtype {array.dtype} cannot be contracted; use float32, float64, complex64 or complex128")
    if array.dtype != native or not array.flags.aligned or any(step % array.itemsize for step in array.strides):
        return array.astype(native, order="C", copy=True)
    return array


def _target(out: Array | None, shape: tuple[int, ...], dtype: np.dtype[Any], arrays: Sequence[Array]) -> Array:
    """Where to write: a new array, `out` itself, or a new one because `out` overlaps an operand."""
    if out is None:
        return np.empty(shape, dtype)
    if not isinstance(out, np.ndarray) or out.shape != shape or out.dtype != dtype:
        found = f"{out.dtype} of shape {out.shape}" if isinstance(out, np.ndarray) else type(out).__name__
        raise ValueError(f"out is {found}; the result is {dtype} of shape {shape}")
    if not out.flags.writeable or _overlaps_itself(out):
        raise ValueError("out cannot be written to, or several of its entries share one place in memory")
    plain = out.flags.aligned and not any(step % out.itemsize for step in out.strides)
    if not plain or any(np.may_share_memory(out, array) for array in arrays):
        return np.empty(shape, dtype)
    return out


def _overlaps_itself(array: Array) -> bool:
    """Whether strides let two entries meet; what numpy.lib.stride_tricks can make, nothing else does."""
    reach = 0
    if array.size == 0:
        return False
    for step, size in sorted((abs(step), size) for step, size in zip(array.strides, array.shape, strict=True)):
        if size > 1:
            if step <= reach:
                return True
            reach += step * (size - 1)
    return False


def _pair(
    equation: Equation, left: Array, right: Array, out: Array, threads: int | None, blas: str | None
) -> Step | None:
    """Contract two arrays into `out`, after summing each over the indices that nothing else has.

    Returns the step when it would do for the same call again.
    """
    if out.size == 0:
        return None
    terms = equation.inputs
    one, first = _without_lonely(left, terms[0], terms[1] + equation.output)
    two, second = _without_lonely(right, terms[1], terms[0] + equation.output)
    if one.size == 0 or two.size == 0:
        out[...] = 0
        return None
    strides = tuple(tuple(step // array.itemsize for step in array.strides) for array in (one, two, out))
    reduced = f"{first},{second}->{equation.output}"
    step = ready_step(make_plan(reduced, (one.shape, two.shape), strides[:2], out.dtype.char, strides[2]))
    step.run(one, two, out, threads, blas)
    return step if one is left and two is right else None


def _without_lonely(array: Array, letters: str, others: str) -> tuple[Array, str]:
    """Sum over the indices that occur in this operand alone."""
    if set(letters) <= set(others):
        return array, letters
    kept = "".join(dict.fromkeys(letter for letter in letters if letter in others))
    return np.asarray(np.einsum(f"{letters}->{kept}", array)), kept


def _several(equation: Equation, arrays: list[Array], out: Array, threads: int | None, blas: str | None) -> None:
    """Contract three or more arrays two by two; the last pair writes to `out`."""
    left = list(arrays)
    steps = pairwise_path(equation, tuple(array.shape for array in arrays))
    for places, text in steps:
        taken = [left.pop(place) for place in sorted(places, reverse=True)]
        left.append(_contract_numpy(text, taken, None if left else out, threads, blas))


def _same(arrays: Sequence[Array], operands: Sequence[Any]) -> bool:
    """Whether the operands were taken as they are."""
    return all(a is b and type(b) is np.ndarray for a, b in zip(arrays, operands, strict=True))


def _key(equation: str, left: Array, right: Array) -> Any:
    return equation, left.shape, left.strides, left.dtype, right.shape, right.strides, right.dtype


def _again(equation: str, step: Step, left: Array, right: Array) -> Array:
    """Run a step that is ready, and expect the same operands next time."""
    result = np.empty(step.shape, step.dtype)
    step.run(left, right, result, 1, None)
    if step.checked is not None:
        _remember(_recent, equation, step)
    return result


def _remember(table: dict[Any, Step], key: Any, step: Step) -> None:
    """Keep a step for the short ways through `contract`; the oldest makes room."""
    with _lock:
        while len(table) >= _MOST_READY:
            del table[next(iter(table))]
        table[key] = step


_EXECUTORS: dict[str, Callable[..., Array]] = {"numpy": _contract_numpy}
