"""Unfolding, and products of a tensor with a matrix on one mode or several, without transposing the tensor.

Letters: N order, I_n size of mode n, J rows of a matrix. float32, float64, complex64 and complex128 stay what they are
(mixed ones meet in the wider); whole numbers become float64.

A tensor of a GPU stays there, and so does what is as large as one; matrices may lie there or on the host, and are best
of the tensor's dtype (a tensor of a narrower one is copied). What is as small as a Gram matrix comes back to the host.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tdtool.kernels.arrays import as_owned, to_host
from tdtool.kernels.device_gpu import owner
from tdtool.kernels.modes_gpu import gram_on_gpu, mode_dot_on_gpu, norm_on_gpu
from tdtool.kernels.operands import checked_mode, floating, memory_order, merged
from tdtool.kernels.skinny import multiply_left, multiply_right
from tdtool.kernels.sparse_tensor import SparseTensor, sparse_gram
from tdtool.kernels.threads import READING, blocks, pays, run_parallel, tree_sum

Array = NDArray[Any]


def unfold(tensor: Array, mode: int) -> Array:
    """The mode-n matrix (I_n, product of the other sizes): columns run over the other modes, the last one fastest.

    A view where the memory allows it, else a copy. ValueError: no such mode.
    """
    tensor = floating(tensor)
    mode = checked_mode(mode, tensor.ndim)
    rest = math.prod(size for other, size in enumerate(tensor.shape) if other != mode)
    return np.moveaxis(tensor, mode, 0).reshape(tensor.shape[mode], rest)


def fold(matrix: Array, mode: int, shape: Sequence[int]) -> Array:
    """The tensor of `shape` whose unfold(., mode) is `matrix` (I_n, product of the others); a view where possible.

    ValueError: no such mode, or a matrix that does not fit the shape.
    """
    matrix = floating(matrix)
    mode = checked_mode(mode, len(shape))
    others = [size for other, size in enumerate(shape) if other != mode]
    if matrix.shape != (shape[mode], math.prod(others)):
        needed = (shape[mode], math.prod(others))
        raise ValueError(f"a matrix of {matrix.shape} does not fold into {tuple(shape)} on mode {mode}; need {needed}")
    return np.moveaxis(matrix.reshape(shape[mode], *others), 0, mode)


def mode_dot(tensor: Array, matrix: Array, mode: int, *, transpose: bool = False, out: Array | None = None) -> Array:
    """tensor x_n matrix: (.., I_n, ..) times (J, I_n) -> (.., J, ..); with `transpose` the matrix is (I_n, J).

    Any strides. The result is laid out in memory like the tensor, or written to `out` (right shape and dtype, no
    overlap with the tensor). ValueError: sizes that do not match, no such mode, a bad `out`.

    Source: Kolda and Bader 2009, "Tensor decompositions and applications", section 2.5.
    """
    tensor, matrix = floating(tensor), floating(matrix, "matrix")
    mode = checked_mode(mode, tensor.ndim)
    if matrix.ndim != 2 or matrix.shape[0 if transpose else 1] != tensor.shape[mode]:
        need = f"({tensor.shape[mode]}, J)" if transpose else f"(J, {tensor.shape[mode]})"
        raise ValueError(
            f"the matrix for mode {mode} has shape {matrix.shape}; a tensor of {tensor.shape} needs {need}"
        )
    matrix = matrix.T if transpose else matrix
    dtype = np.result_type(tensor.dtype, matrix.dtype)
    shape = (*tensor.shape[:mode], matrix.shape[0], *tensor.shape[mode + 1 :])
    gpu = owner(tensor)
    if gpu is not None:
        if out is not None and (out.shape != shape or out.dtype != dtype):
            raise ValueError(f"out is {out.dtype} of shape {out.shape}; the product is {dtype} of shape {shape}")
        wide = tensor.astype(dtype, copy=False)
        return mode_dot_on_gpu(gpu, wide, as_owned(matrix, dtype, tensor), mode, out)
    if out is None:
        out = np.empty_like(tensor, dtype, shape=shape)
    elif out.shape != shape or out.dtype != dtype:
        raise ValueError(f"out is {out.dtype} of shape {out.shape}; the product is {dtype} of shape {shape}")
    elif np.may_share_memory(out, tensor) or np.may_share_memory(out, matrix):
        raise ValueError("out shares memory with the tensor or the matrix; the product needs an array of its own")
    _multiply(tensor, matrix, mode, out)
    return out


def multi_mode_dot(
    tensor: Array,
    matrices: Sequence[Array | None],
    *,
    modes: Sequence[int] | None = None,
    skip: int | None = None,
    transpose: bool = False,
) -> Array:
    """tensor x_m matrix_m for several modes (a TTM chain), in the order that costs the fewest multiplications.

    matrices : one (J_m, I_m) for each of `modes` (default: all modes in turn), or (I_m, J_m) with `transpose`; None
    leaves a mode as it is, and so does skip=mode. The result is a new array unless nothing is multiplied.
    ValueError: sizes that do not match, a mode named twice, another number of matrices than of modes.
    """
    tensor = floating(tensor)
    wanted = range(tensor.ndim) if modes is None else [checked_mode(mode, tensor.ndim) for mode in modes]
    if len(matrices) != len(wanted) or len(set(wanted)) != len(wanted):
        raise ValueError(f"{len(matrices)} matrices for modes {list(wanted)}; need one matrix for each mode, once")
    if skip is not None:
        skip = checked_mode(skip, tensor.ndim)
    given = {m: floating(a, "matrix") for m, a in zip(wanted, matrices, strict=True) if a is not None and m != skip}
    # Of modes that cost the same, the first product is fastest along the memory.
    chain = {mode: given[mode] for mode in sorted(given, key=lambda mode: abs(tensor.strides[mode]))}
    for mode, matrix in chain.items():
        if matrix.ndim != 2 or matrix.shape[0 if transpose else 1] != tensor.shape[mode]:
            raise ValueError(f"the matrix for mode {mode} has shape {matrix.shape}; the tensor has {tensor.shape}")
    sizes = {mode: (tensor.shape[mode], matrix.shape[1 if transpose else 0]) for mode, matrix in chain.items()}
    for mode in chain_order(sizes):
        tensor = mode_dot(tensor, chain[mode], mode, transpose=transpose)
    return tensor


def chain_order(sizes: dict[int, tuple[int, int]]) -> list[int]:
    """The cheapest order of a TTM chain. sizes : mode -> (I, J), size before and after.

    Taking m before n costs J_m + (J_m / I_m) J_n against J_n + (J_n / I_n) J_m, the rest being equal: m goes first
    when 1/J_m - 1/I_m is the larger. That is a total order, so sorting by it is exact for any number of modes. Of modes
    that cost the same, those named first in `sizes` come first.
    """
    return sorted(sizes, key=lambda mode: 1 / sizes[mode][0] - 1 / sizes[mode][1] if min(sizes[mode]) else -math.inf)


def gram(tensor: Array | SparseTensor, mode: int) -> Array:
    """unfold(tensor, mode) times its (conjugate) transpose: (I_n, I_n), the tensor neither copied nor transposed.

    ValueError: no such mode; a sparse tensor whose mode is too large for a dense (I_n, I_n).
    """
    if isinstance(tensor, SparseTensor):
        return sparse_gram(tensor, mode)
    tensor = floating(tensor)
    mode = checked_mode(mode, tensor.ndim)
    gpu = owner(tensor)
    if gpu is not None:
        return to_host(gram_on_gpu(gpu, tensor, mode))
    size = tensor.shape[mode]
    flipped = tensor.strides[mode] < 0
    axes, slices = memory_order(tensor)
    tensor = tensor[slices].transpose(axes)
    shape, place = merged(tensor.shape, axes.index(mode), tensor.strides)
    total = np.zeros((size, size), tensor.dtype)
    if tensor.size:
        stack = np.moveaxis(tensor.reshape(shape), place, -2) if len(shape) > 1 else tensor[:, None]
        _share_gram(stack, total)
    return total[::-1, ::-1] if flipped else total


def norm(tensor: Array | SparseTensor) -> float:
    """The Frobenius norm, summed in float64 piece by piece: no copy of the tensor, whatever its strides."""
    if isinstance(tensor, SparseTensor):
        return tensor.norm()
    tensor = floating(tensor)
    gpu = owner(tensor)
    if gpu is not None:
        return norm_on_gpu(gpu, tensor)
    if not pays(tensor.size * READING):
        return math.sqrt(math.fsum(_squares(tensor)))
    axis = max(range(tensor.ndim), key=lambda axis: abs(tensor.strides[axis]) * (tensor.shape[axis] > 1))
    slices = np.moveaxis(tensor, axis, 0)
    parts = blocks(len(slices), tensor.size * READING)
    sums = run_parallel([functools.partial(_squares, slices[part]) for part in parts])
    return math.sqrt(math.fsum(piece for found in sums for piece in found))


def _squares(tensor: Array) -> list[float]:
    """The squared norms of pieces of a tensor, in double precision."""
    wide = np.dtype(np.complex128 if tensor.dtype.kind == "c" else np.float64)
    pieces = np.nditer(tensor, ["external_loop", "buffered", "zerosize_ok"], op_dtypes=wide, buffersize=1 << 15)
    return [float(np.vdot(piece, piece).real) for piece in pieces]


def _multiply(tensor: Array, matrix: Array, mode: int, out: Array) -> None:
    """out = tensor x_n matrix, as few and as large matrix products as the strides of both allow."""
    if out.size == 0 or tensor.shape[mode] == 0:
        out[...] = 0
        return
    axes, slices = memory_order(tensor)
    outer = tuple(slice(None) if axis == mode else part for axis, part in enumerate(slices))
    tensor, out = tensor[slices].transpose(axes), out[outer].transpose(axes)
    matrix = matrix[:, slices[mode]]
    mode = axes.index(mode)
    shape, place = merged(tensor.shape, mode, tensor.strides, out.strides)
    tensor = tensor.reshape(shape)
    out = out.reshape([*shape[:place], matrix.shape[0], *shape[place + 1 :]], copy=False)
    work = float(tensor.size) * (len(matrix) + READING)
    others = [axis for axis in range(len(shape)) if axis != place]
    if not (others and pays(work)):
        _multiply_part(tensor, matrix, place, out)
        return
    # The slowest other mode that is long enough for its blocks to be rows or columns of whole tiles.
    axis = next((axis for axis in others if shape[axis] >= _LONG), max(others, key=lambda other: shape[other]))
    before = (slice(None),) * axis
    parts = [(*before, part) for part in blocks(shape[axis], work, least=_TILE if shape[axis] >= _LONG else 1)]
    run_parallel([functools.partial(_multiply_part, tensor[part], matrix, place, out[part]) for part in parts])


def _multiply_part(tensor: Array, matrix: Array, place: int, out: Array) -> None:
    """out = tensor x_place matrix, for a tensor whose modes cannot be merged any more."""
    shape = tensor.shape
    if len(shape) == 1:
        np.matmul(matrix, tensor, out=out)
    elif len(shape) == 2 and place == 1:
        multiply_right(tensor[None], matrix.T, out[None])
    elif len(shape) <= 3 and place == len(shape) - 2:
        multiply_left(matrix, tensor if place else tensor[None], out if place else out[None])
    elif place == len(shape) - 1:
        np.matmul(tensor, matrix.T, out=out)
    else:
        np.matmul(matrix, np.moveaxis(tensor, place, -2), out=np.moveaxis(out, place, -2))


#: The size of a mode that is cut in blocks before any faster one is; their places, in whole tiles.
_LONG, _TILE = 64, 8
#: The most partial Gram matrices, and how many times smaller than the tensor they are together.
_GRAMS, _SMALL_SUMS = 8, 4
#: Entries of a slice from which on a Gram matrix is summed slice by slice, and of the blocks packed below that.
_LARGE_SLICE, _PACKED = 2**14, 2**16


def _share_gram(stack: Array, total: Array) -> None:
    """`_add_gram`, a large stack in blocks that threads share."""
    work = float(stack.size) * (len(total) / 4 + READING)
    if not pays(work):
        _add_gram(stack, total)
        return
    # A stack of one matrix is cut through its columns.
    axis = next((axis for axis, size in enumerate(stack.shape) if size > 1 and axis != stack.ndim - 2), stack.ndim - 1)
    parts = [
        (slice(None),) * axis + (part,)
        for part in blocks(stack.shape[axis], work, most=min(_GRAMS, stack.size // (_SMALL_SUMS * total.size)))
    ]
    sums = [total, *(np.zeros_like(total) for _ in parts[1:])]
    run_parallel([functools.partial(_add_gram, stack[part], kept) for part, kept in zip(parts, sums, strict=True)])
    tree_sum(sums)


def _add_gram(stack: Array, total: Array) -> None:
    """total += the sum of S S^H over the slices S (I, Q) of a stack (.., I, Q); small ones are packed side by side."""
    size, columns = stack.shape[-2:]
    if stack.ndim == 2:
        total += stack @ stack.conj().T
    elif size * columns >= _LARGE_SLICE or stack[0].size > _PACKED:
        for part in stack:
            _add_gram(part, total)
    else:
        step = max(_PACKED // stack[0].size, 1)
        for start in range(0, len(stack), step):
            block = np.moveaxis(stack[start : start + step], -2, 0).reshape(size, -1)
            total += block @ block.conj().T
